"""Commands that an engine begins later than it says."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runtime.docker import inside
from runtime.docker.inside import DockerInside

CREATED: dict[str, dict[str, Any]] = {
    "docker": {"Running": False, "ExitCode": None, "Pid": 0},
    "podman": {"Running": False, "ExitCode": 0, "Pid": 0},
}
RUNS, ENDED = {"Running": True, "ExitCode": None, "Pid": 77}, {"Running": False, "ExitCode": 3, "Pid": 0}


class FakeConnection:
    """Tells of the states of a command, one after the other; of the last one ever after."""

    def __init__(self, engine: str, *states: dict[str, Any]) -> None:
        self.is_podman = engine == "podman"
        self._states = list(states)

    @contextmanager
    def asking(self) -> Iterator[FakeConnection]:
        yield self

    def exec_inspect(self, command: str) -> dict[str, Any]:
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]


def of(engine: str, *states: dict[str, Any]) -> DockerInside:
    return DockerInside(FakeConnection(engine, *states), lambda _: pytest.fail("asked"))  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_what_has_not_begun_has_not_ended(engine: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        exec_ = of(engine, CREATED[engine], CREATED[engine], RUNS, ENDED)
        assert exec_._collected(ours, "c", time.monotonic() + 30.0) == ("", 3)


def test_podman_is_believed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command has ended between two looks, and left something that holds its output open."""
    monkeypatch.setattr(inside, "BEGIN_WITHIN_S", 0.3)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert of("podman", CREATED["podman"])._collected(ours, "c", time.monotonic() + 30.0) == ("", 0)


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_what_is_about_to_begin_is_killed_when_it_has(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(inside, "kill_tree", killed.append)
    of(engine, CREATED[engine], CREATED[engine], RUNS)._kill("c")
    assert killed == [77]


def test_what_has_ended_needs_no_killing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "kill_tree", lambda pid: pytest.fail("nothing to kill"))
    of("docker", ENDED)._kill("c")
