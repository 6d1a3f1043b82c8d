"""Go's flag rules, and which setting wins."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confd_py.config import FLAGS, Config, build
from confd_py.errors import ConfdError, ConfigFault, UsageError
from confd_py.flags import parse_flags


@pytest.mark.parametrize(
    ("arguments", "values", "rest"),
    [
        (["-onetime"], {"onetime": True}, []),
        (["--onetime=false", "-onetime"], {"onetime": True}, []),
        (["-onetime", "false", "-watch"], {"onetime": True}, ["false", "-watch"]),
        (["-interval", "0x10"], {"interval": 16}, []),
        (["-interval=5", "--", "-watch"], {"interval": 5}, ["-watch"]),
        (["-node", "a", "-node=b"], {"node": ["a", "b"]}, []),
        (["-prefix", "-x"], {"prefix": "-x"}, []),
        (["-prefix="], {"prefix": ""}, []),
        (["junk", "-watch"], {}, ["junk", "-watch"]),
        (["-h"], {"help": True}, []),
        (["-"], {}, ["-"]),
    ],
)
def test_parse_flags(arguments, values, rest) -> None:
    assert parse_flags(arguments, FLAGS) == (values, rest)


@pytest.mark.parametrize(
    "arguments", [["-nope"], ["-interval"], ["-interval", "abc"], ["-watch=maybe"], ["---watch"], ["-=x"]]
)
def test_parse_flags_refuses(arguments) -> None:
    with pytest.raises(UsageError):
        parse_flags(arguments, FLAGS)


@given(st.lists(st.text(max_size=8) | st.sampled_from([f"-{name}" for name in FLAGS]), max_size=6))
def test_parse_flags_fails_only_by_usage(arguments) -> None:
    with contextlib.suppress(UsageError):
        parse_flags(arguments, FLAGS)


@pytest.mark.parametrize(
    ("flag", "environ", "stored", "prefix"),
    [
        ({}, {}, {}, ""),
        ({}, {}, {"prefix": "/file"}, "/file"),
        ({}, {"CONFD_PREFIX": "/env"}, {"prefix": "/file"}, "/env"),
        ({"prefix": "/flag"}, {"CONFD_PREFIX": "/env"}, {"prefix": "/file"}, "/flag"),
        ({"prefix": ""}, {"CONFD_PREFIX": "/env"}, {}, ""),
    ],
)
def test_flag_beats_environment_beats_file(flag, environ, stored, prefix) -> None:
    assert build(flag, environ, stored).prefix == prefix


def test_lists_and_numbers_from_every_place() -> None:
    assert build({}, {"CONFD_NODE": "a,b", "CONFD_INTERVAL": "7", "CONFD_WATCH": "true"}, {}) == Config(
        node=("a", "b"), interval=7, watch=True
    )
    assert build({"node": ["c"]}, {}, {"nodes": ["x"]}).node == ("c",)
    assert build({}, {}, {"nodes": ["x"]}).node == ("x",)


@pytest.mark.parametrize(
    "values",
    [
        {"backend": "redis"},
        {"backend": "nope"},
        {"log-level": "loud"},
        {"backend": "file"},
        {"backend": "env", "watch": True},
        {"interval": 0},
    ],
)
def test_what_cannot_work_is_refused_with_a_word_of_help(values) -> None:
    with pytest.raises(ConfigFault) as caught:
        build(values, {}, {})
    assert isinstance(caught.value, ConfdError)
    assert caught.value.brief
