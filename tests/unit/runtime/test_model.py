"""Specs: every mistake at once, and nothing that could harm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import InvalidSpec
from runtime.model import ContainerSpec, Device, Limits, LogLimits, MemoryFile, Mount, PublishedPort, Restart, Ulimit
from runtime.validation import checked

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
        ({"mounts": (Mount("nfs", "/x"),)}, "no kind of mount"),
        ({"mounts": (Mount("volume", "/x", "../up"),)}, "no name of a volume"),
        ({"restart": Restart("sometimes")}, "no restart policy"),
        ({"restart": Restart("always", 3)}, "only on-failure"),
        ({"restart": Restart("on-failure", -1)}, "only on-failure"),
        ({"log": LogLimits(1)}, "below 4 KiB"),
        ({"log": LogLimits(max_files=0)}, "max-file of 0"),
        ({"ulimits": (Ulimit("files", 1, 1),)}, "no ulimit"),
        ({"devices": (Device("/etc/passwd"),)}, "no device"),
        ({"devices": (Device("/dev/fuse", "/dev/../x"),)}, "no device"),
        ({"devices": (Device("/dev/fuse", access="x"),)}, "r, w and m"),
        ({"ulimits": (Ulimit("nofile", 2, 1),)}, "above the hard one"),
        ({"ulimits": (Ulimit("nofile", -1, 1),)}, "above the hard one"),
        ({"ulimits": (Ulimit("nofile", -2, 1),)}, "below 0"),
        ({"sysctls": {"vm.swappiness": "1"}}, "not the container's own"),
        ({"sysctls": {"net.../x": "1"}}, "not the container's own"),
        ({"sysctls": {"net.core.somaxconn": "1\n"}}, "has no value"),
        ({"cap_add": ("net admin",)}, "no capability"),
        ({"cap_drop": ("",)}, "no capability"),
        ({"group_add": ("a:b",)}, "no group"),
        ({"extra_hosts": {"a b": "1.1.1.1"}}, "no host name"),
        ({"extra_hosts": {"a": "there"}}, "no address"),
        ({"dns": ("there",)}, "no address of a name server"),
        ({"dns_search": ("a\nnameserver",)}, "resolv.conf"),
        ({"files": (MemoryFile("/x"),)}, "source or a content"),
        ({"files": (MemoryFile("/x", "/y", "z"),)}, "source or a content"),
        ({"files": (MemoryFile("x", "/y"),)}, "must be absolute"),
        ({"files": (MemoryFile("/x", "/y", mode=0o4755),)}, "not within"),
        ({"mounts": (Mount("tmpfs", "x"),)}, "must be absolute"),
        ({"mounts": (Mount("tmpfs", "//"),)}, "cannot be a mount's target"),
        ({"mounts": (Mount("tmpfs", "/proc/"),)}, "cannot be a mount's target"),
        ({"mounts": (Mount("tmpfs", "/a/../b"),)}, r"'\.\.'"),
        ({"mounts": (Mount("bind", "/a", "rel"),)}, "not absolute"),
        ({"ports": (PublishedPort(0, 80),)}, "0 is no port"),
        ({"ports": (PublishedPort(80, 65536),)}, "65536 is no port"),
        ({"ports": (PublishedPort(80, 80, "sctp"),)}, "no protocol"),
        ({"ports": (PublishedPort(80, 80, address="fd00::1 }"),)}, "no address"),
        ({"ports": (PublishedPort(80, 80, address="0::1"),)}, "port 80 cannot lead in from ::1 alone"),
        ({"ports": (PublishedPort(80, 80, address="1.1.1.1 }"),)}, "no address"),
    ],
)
def test_mistakes(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(InvalidSpec, match=fault):
        checked(replace(GOOD, **change))


def test_every_mistake_at_once() -> None:
    wrong = replace(GOOD, name="/", working_dir="x", limits=Limits(pids=-1), ports=(PublishedPort(0, 0),))
    with pytest.raises(InvalidSpec) as caught:
        checked(wrong)
    assert len(caught.value.faults) == 5
    assert caught.value.details == caught.value.faults
    assert caught.value.hint
