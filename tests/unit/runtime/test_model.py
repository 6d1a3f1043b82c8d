"""Specs: every mistake at once, and nothing that could harm."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InvalidSpec
from runtime.model import ContainerSpec, Limits, Mount, PublishedPort, checked

GOOD = ContainerSpec("web.7", "image")


@pytest.mark.parametrize("name", ["web.7", "a", "A-b_c.9", "0", "x" * 63])
def test_names(name: str) -> None:
    assert checked(replace(GOOD, name=name)).name == name


@given(st.text())
def test_no_accepted_name_is_a_path(name: str) -> None:
    try:
        checked(replace(GOOD, name=name))
    except InvalidSpec:
        return
    assert name.isascii() and "/" not in name and name[0] != "." and 0 < len(name) < 64 and "\n" not in name


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"name": ".."}, "no container name"),
        ({"name": "a\n"}, "no container name"),
        ({"hostname": "a b"}, "no host name"),
        ({"stop_signal": "TERM; rm"}, "no signal"),
        ({"environment": {"A=B": ""}}, "no name of an environment variable"),
        ({"environment": {"A": "\0"}}, "NUL"),
        ({"command": ("a\0",)}, "NUL"),
        ({"working_dir": "x"}, "not absolute"),
        ({"limits": Limits(cpus=-1)}, "below 0"),
        ({"limits": Limits(cpus=0.001)}, "below 0.01"),
        ({"limits": Limits(memory_bytes=1)}, "below 4 MiB"),
        ({"mounts": (Mount("volume", "/x"),)}, "no kind of mount"),
        ({"mounts": (Mount("tmpfs", "x"),)}, "must be absolute"),
        ({"mounts": (Mount("tmpfs", "//"),)}, "cannot be a mount's target"),
        ({"mounts": (Mount("tmpfs", "/proc/"),)}, "cannot be a mount's target"),
        ({"mounts": (Mount("tmpfs", "/a/../b"),)}, r"'\.\.'"),
        ({"mounts": (Mount("bind", "/a", "rel"),)}, "not absolute"),
        ({"ports": (PublishedPort(0, 80),)}, "0 is no port"),
        ({"ports": (PublishedPort(80, 65536),)}, "65536 is no port"),
        ({"ports": (PublishedPort(80, 80, "sctp"),)}, "no protocol"),
        ({"ports": (PublishedPort(80, 80, address="::1"),)}, "no IPv4 address"),
        ({"ports": (PublishedPort(80, 80, address="1.1.1.1 }"),)}, "no IPv4 address"),
    ],
)
def test_mistakes(change: dict[str, object], fault: str) -> None:
    with pytest.raises(InvalidSpec, match=fault):
        checked(replace(GOOD, **change))  # type: ignore[arg-type]


def test_every_mistake_at_once() -> None:
    wrong = replace(GOOD, name="/", working_dir="x", limits=Limits(pids=-1), ports=(PublishedPort(0, 0),))
    with pytest.raises(InvalidSpec) as caught:
        checked(wrong)
    assert len(caught.value.faults) == 5
    assert caught.value.details == caught.value.faults
    assert caught.value.hint
