"""Go's flag rules, and which setting wins."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confd_py.config import FLAGS, Config, build, read_config_file
from confd_py.errors import ConfigFault, UsageError
from confd_py.flags import parse_flags
from confd_py.notation import parse_go_int


@pytest.mark.parametrize(
    ("arguments", "values", "rest"),
    [
        (["-onetime"], {"onetime": True}, []),
        (["--onetime=false", "-onetime"], {"onetime": True}, []),
        (["-onetime=T", "-noop=0"], {"onetime": True, "noop": False}, []),
        (["-onetime", "false", "-watch"], {"onetime": True}, ["false", "-watch"]),
        (["-interval", "0x10"], {"interval": 16}, []),
        (["-interval=1_000"], {"interval": 1000}, []),
        (["-interval=017"], {"interval": 15}, []),
        (["-interval=5", "--", "-watch"], {"interval": 5}, ["-watch"]),
        (["-node", "a", "-node=b", "--node="], {"node": ["a", "b", ""]}, []),
        (["-prefix", "-x"], {"prefix": "-x"}, []),
        (["-prefix="], {"prefix": ""}, []),
        (["-prefix=a=b"], {"prefix": "a=b"}, []),
        (["junk", "-watch"], {}, ["junk", "-watch"]),
        (["", "-watch"], {}, ["", "-watch"]),
        (["-h"], {"help": True}, []),
        (["--help=x", "-nope"], {"help": True}, ["-nope"]),
        (["-"], {}, ["-"]),
    ],
)
def test_parse_flags(arguments: list[str], values: dict[str, Any], rest: list[str]) -> None:
    assert parse_flags(arguments, FLAGS) == (values, rest)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-nope"], "flag provided but not defined: -nope"),
        (["-nope", "-h"], "flag provided but not defined: -nope"),
        (["-interval"], "flag needs an argument: -interval"),
        (["-interval", "abc"], 'invalid value "abc" for flag -interval: parse error'),
        (["-interval", "9223372036854775808"], 'invalid value "9223372036854775808" for flag -interval: value out of'),
        (["-watch=maybe"], 'invalid boolean value "maybe" for -watch: parse error'),
        (["-watch="], 'invalid boolean value "" for -watch: parse error'),
        (["---watch"], "bad flag syntax: ---watch"),
        (["-=x"], "bad flag syntax: -=x"),
        (["--=x"], "bad flag syntax: --=x"),
    ],
)
def test_parse_flags_refuses(arguments: list[str], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_flags(arguments, FLAGS)
    assert caught.value.brief.startswith(told)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("-0", 0), ("+7", 7), ("0x_1F", 31), ("0X1f", 31), ("0b101", 5), ("0O17", 15), ("0_17", 15),
        ("1_0", 10), ("-0x10", -16), ("08", None), ("1__0", None), ("_1", None), ("1_", None), ("0x", None), ("", None),
        (" 5", None), ("5\n", None), ("1.5", None), ("٣", None), ("0x_", None), ("--1", None), ("+", None),
    ],
)  # fmt: skip
def test_gos_integers(text: str, number: int | None) -> None:
    assert parse_go_int(text) == number


WORDS = st.text(max_size=6) | st.sampled_from(
    [*(f"-{name}" for name in FLAGS), "--watch", "-watch=t", "-watch=no", "-node=a", "--interval=7", "-interval=x", "5",
     "--", "-", "-h", "---x", "-=", "--=y", "-prefix=", "-noop=FALSE"]
)  # fmt: skip


@given(st.lists(WORDS, max_size=7))
def test_flags_are_read_as_by_a_model_of_gos_rules(arguments: list[str]) -> None:
    expected = model(arguments)
    try:
        found: object = parse_flags(arguments, FLAGS)
    except UsageError:
        found = None
    assert found == expected


def model(arguments: list[str]) -> tuple[dict[str, Any], list[str]] | None:
    """What flag.FlagSet.parseOne does, word by word, from its description; None for an error."""
    values: dict[str, Any] = {}
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if len(word) < 2 or word[0] != "-":
            break
        dashes = 2 if word[1] == "-" else 1
        at += 1
        if word == "--":
            break
        name, has_value, value = word[dashes:], False, ""
        if not name or name[0] in "-=":
            return None
        if "=" in name:
            name, value = name.split("=", 1)
            has_value = True
        flag = FLAGS.get(name)
        if flag is None:
            return ({"help": True}, arguments[at:]) if name in ("h", "help") else None
        if flag.kind == "bool":
            truths, lies = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
            if has_value and value not in truths + lies:
                return None
            values[name] = not has_value or value in truths
            continue
        if not has_value:
            if at == len(arguments):
                return None
            value, at = arguments[at], at + 1
        if flag.kind == "int":
            if (number := parse_go_int(value)) is None or abs(number) >= 1 << 63:
                return None
            values[name] = number
        elif flag.kind == "list":
            values[name] = [*values.get(name, []), value]
        else:
            values[name] = value
    return values, arguments[at:]


# -- which setting wins ---------------------------------------------------------------------------

# A setting's names as confd has them, where they are not the flag's.
TOML_KEYS = {
    "client_ca_keys": "client_cakeys", "node": "nodes", "log_level": "log-level", "keep_stage_file": "keepstagefile",
    "sync_only": "sync-only",
}  # fmt: skip
VARIABLES = {"client_ca_keys": "CONFD_CLIENT_CAKEYS"}
SPECIAL = {"backend": ("env", "file", "etcdv3"), "log_level": ("warn", "error", "debug"), "interval": (11, 12, 13)}


def three_values(name: str) -> tuple[Any, Any, Any]:
    """One for the file, one for the environment, one for the flag."""
    default = getattr(Config(), name)
    if name in SPECIAL:
        return SPECIAL[name]
    if isinstance(default, bool):
        return True, False, True
    return (("a",), ("b",), ("c",)) if isinstance(default, tuple) else ("a", "b", "c")


def as_text(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value).lower() if value in (True, False) else str(value)


@pytest.mark.parametrize("name", [f.name for f in fields(Config) if f.name != "secret_keyring"])
def test_flag_beats_environment_beats_file_beats_default(name: str, tmp_path: Path) -> None:
    in_file, in_environment, in_flag = three_values(name)
    config_file = tmp_path / "confd.toml"
    listed = list(in_file) if isinstance(in_file, tuple) else in_file
    written = as_text(listed) if isinstance(listed, bool) else repr(listed).replace("'", '"')
    config_file.write_text(f"{TOML_KEYS.get(name, name).upper()} = {written}\n")
    stored = read_config_file(str(config_file))
    environ = {VARIABLES.get(name, f"CONFD_{name.upper()}"): as_text(in_environment)}
    flags, rest = parse_flags([f"-{name.replace('_', '-')}={as_text(in_flag)}"], FLAGS)
    assert not rest
    assert getattr(build({}, {}, {}), name) == getattr(Config(), name)
    assert getattr(build({}, {}, stored), name) == in_file
    assert getattr(build({}, environ, stored), name) == in_environment
    assert getattr(build({}, dict.fromkeys(environ, ""), stored), name) == in_file
    assert getattr(build(flags, environ, stored), name) == in_flag


def test_an_empty_flag_is_a_value() -> None:
    assert build({"prefix": ""}, {"CONFD_PREFIX": "/env"}, {}).prefix == ""


@pytest.mark.parametrize(
    "values",
    [{"backend": "vault"}, {"backend": "nope"}, {"log-level": "loud"}, {"interval": 0}, {"secret-keyring": "/k"}],
)
def test_what_cannot_work_is_refused_with_a_word_of_help(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigFault) as caught:
        build(values, {}, {})
    assert caught.value.brief
    assert values.keys() == {"interval"} or caught.value.hint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('interval = "5"', ":1: interval has to be a whole number, not '5'"),
        ("\nnodes = 'a'", ":2: nodes has to be a list of strings, not 'a'"),
        ("noop = 1", ":1: noop has to be true or false, not 1"),
        ("interval = true", ":1: interval has to be a whole number, not True"),
        ("backend = 1", ":1: backend has to be a string, not 1"),
        ("noop = ", ":1:8: this is not TOML: Invalid value"),
    ],
)
def test_faults_of_confd_toml_name_file_and_line(text: str, told: str, tmp_path: Path) -> None:
    config_file = tmp_path / "confd.toml"
    config_file.write_text(text)
    with pytest.raises(ConfigFault) as caught:
        read_config_file(str(config_file))
    assert caught.value.brief.startswith(f"{config_file}{told}")


@pytest.mark.parametrize("environ", [{"CONFD_INTERVAL": "5s"}, {"CONFD_NOOP": "maybe"}])
def test_faults_of_the_environment_name_the_variable(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigFault, match=f"^{next(iter(environ))} has to be "):
        build({}, environ, {})


def test_a_config_file_that_is_not_there_or_has_unknown_keys_is_no_fault(tmp_path: Path) -> None:
    assert read_config_file(str(tmp_path / "none.toml")) == {}
    (tmp_path / "confd.toml").write_text("bogus = 1\nsync_only = true\n[other]\nx = 1\n")
    assert read_config_file(str(tmp_path / "confd.toml")) == {}
    with pytest.raises(ConfigFault, match="cannot be read"):
        read_config_file(str(tmp_path))
