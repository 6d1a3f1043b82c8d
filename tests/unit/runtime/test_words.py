"""What people type to hecd-runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest

from runtime.cli import COMMANDS, cli
from runtime.cli.described import (
    device,
    extra_host,
    log_limits,
    memory_file,
    published,
    restart,
    security,
    size_bytes,
    tmpfs,
    ulimit,
    volume,
)
from runtime.cli.session import ago, size, subnets
from runtime.model import Device, LogLimits, MemoryFile, Mount, PublishedPort, Restart, Ulimit


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("8080:80", (PublishedPort(8080, 80),)),
        ("127.0.0.1:8080:80", (PublishedPort(8080, 80, address="127.0.0.1"),)),
        ("0.0.0.0:53:53/udp", (PublishedPort(53, 53, "udp"),)),
        ("[fd00::1]:8080:80", (PublishedPort(8080, 80, address="fd00::1"),)),
        ("[::]:8080:80", (PublishedPort(8080, 80),)),
        ("8000-8001:80-81/udp", (PublishedPort(8000, 80, "udp"), PublishedPort(8001, 81, "udp"))),
        ("80-80:90", (PublishedPort(80, 90),)),
    ],
)
def test_ports(text: str, found: tuple[PublishedPort, ...]) -> None:
    assert published(text) == found


@pytest.mark.parametrize(
    "text",
    ["80", "a:b", ":80", "80:", "1:2:3:4", "", "80-81:80", "81-80:81-80", "1-x:1-2", "-1:1", "::1:80:80", "[::1]:80"],
)
def test_no_ports(text: str) -> None:
    with pytest.raises(click.UsageError):
        published(text)


def test_mounts() -> None:
    assert volume("/a:/b") == Mount("bind", "/b", "/a")
    assert volume("/a:/b:ro") == Mount("bind", "/b", "/a", read_only=True)
    assert tmpfs("/t:1m") == Mount("tmpfs", "/t", size_bytes=1 << 20)
    assert volume("data:/b") == Mount("volume", "/b", "data")
    assert volume("./data:/b").source == str(Path("data").absolute())
    assert volume("/a") == Mount("volume", "/a")
    for text in ("a", "/a:", "/a:/b:x"):
        with pytest.raises(click.UsageError):
            volume(text)


def test_devices() -> None:
    assert device("/dev/fuse") == Device("/dev/fuse")
    assert device("/dev/a:/dev/b") == Device("/dev/a", "/dev/b")
    assert device("/dev/a:r") == Device("/dev/a", access="r")
    assert device("/dev/a:/dev/b:rw") == Device("/dev/a", "/dev/b", "rw")
    with pytest.raises(click.UsageError):
        device("/dev/a:/dev/b:rw:x")


def test_what_else_describes_a_container() -> None:
    assert restart("on-failure:3") == Restart("on-failure", 3)
    assert restart("always") == Restart("always")
    assert ulimit("nofile=1:-1") == Ulimit("nofile", 1, -1) and ulimit("core=0") == Ulimit("core", 0, 0)
    assert extra_host("db:10.0.0.9") == ("db", "10.0.0.9") and extra_host("db=[::1]") == ("db", "::1")
    assert memory_file("secret", "/a/b") == MemoryFile("/run/secrets/b", "/a/b")
    assert memory_file("config", "/a/b:/c") == MemoryFile("/c", "/a/b")
    assert security([]) == {} and security(["no-new-privileges"]) == {"no_new_privileges": True}
    both = security(["no-new-privileges=false", "seccomp:calls.json"])
    assert both == {"no_new_privileges": False, "seccomp": str(Path("calls.json").absolute())}
    assert security(["seccomp=unconfined"]) == {"seccomp": "unconfined"}
    assert log_limits(["max-size=1m", "max-file=3"]) == LogLimits(1 << 20, 3)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (restart, "on-failure:x"), (ulimit, "nofile"), (ulimit, "nofile=a"), (extra_host, "db"),
        (lambda text: memory_file("config", text), "/a"), (lambda text: security([text]), "seccomp="),
        (lambda text: security([text]), "apparmor=x"), (lambda text: security([text]), "no-new-privileges=yes"),
        (lambda text: log_limits([text]), "max-file=x"), (lambda text: log_limits([text]), "mode=blocking"),
    ],
)  # fmt: skip
def test_what_describes_nothing(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(click.UsageError):
        read(text)


@pytest.mark.parametrize(
    ("text", "found"), [("10", 10), ("64m", 64 << 20), ("64MiB", 64 << 20), ("1.5g", 3 << 29), ("2KB", 2048)]
)
def test_sizes(text: str, found: int) -> None:
    assert size_bytes(text) == found


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 29, "1.5 GiB"), (1 << 60, "1048576.0 TiB")],
)
def test_sizes_in_words(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0 s"), (5, "5 s"), (125, "2 min"), (8000, "2 h"), (200000, "2 d")])
def test_spans(seconds: float, text: str) -> None:
    assert ago(seconds) == text


def test_every_command_is_there_and_explained() -> None:
    context = click.Context(cli)
    for name, (_, _, line) in COMMANDS.items():
        command = cli.get_command(context, name)
        assert command is not None and command.help and line.endswith(".")
    assert cli.get_command(context, "nothing") is None


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ((), (None, None)),
        (("10.0.0.0/24",), ("10.0.0.0/24", None)),
        (("fd00::/64", "10.0.0.0/24"), ("10.0.0.0/24", "fd00::/64")),
        (("none",), (None, "")),
    ],
)
def test_subnets(given: tuple[str, ...], found: tuple[str | None, str | None]) -> None:
    assert subnets(given) == found


@pytest.mark.parametrize("given", [("10.0.0.0/24", "10.0.1.0/24"), ("fd00::/64", "none")])
def test_two_subnets_of_a_kind(given: tuple[str, ...]) -> None:
    with pytest.raises(click.BadParameter):
        subnets(given)
