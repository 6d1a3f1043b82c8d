"""Containers asked of an engine that is not quite done with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runtime.docker import body, ours
from runtime.docker.ours import Ours
from runtime.errors import EngineRefused

ENDING = EngineRefused(500, "read /proc/19496/cgroup: no such process")
RUNNING = {"Pid": 9, "StartedAt": "2026-01-01T00:00:00Z", "Status": "running"}
EXITED = {"Pid": 0, "StartedAt": "2026-01-01T00:00:00Z", "Status": "exited"}


class FakeConnection:
    """Refuses as `answers` say, one after the other, and then tells of a container."""

    def __init__(self, *answers: EngineRefused) -> None:
        self._answers = list(answers)
        self.asked = 0

    @contextmanager
    def asking(self) -> Iterator[FakeConnection]:
        yield self

    def inspect_container(self, name: str) -> dict[str, Any]:
        self.asked += 1
        if self._answers:
            raise self._answers.pop(0)
        return {"Name": f"/{name}", "Id": "a" * 64}


def test_podman_is_asked_again_while_a_process_ends() -> None:
    connection = FakeConnection(ENDING, ENDING)
    found = Ours(connection, "root").find("web")  # type: ignore[arg-type]
    assert found is not None
    assert connection.asked == 3


def test_other_refusals_are_told_at_once() -> None:
    connection = FakeConnection(EngineRefused(500, "database is locked"))
    with pytest.raises(EngineRefused, match="database is locked"):
        Ours(connection, "root").find("web")  # type: ignore[arg-type]
    assert connection.asked == 1


def test_an_engine_that_never_learns_of_it_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "_ENDS_WITHIN_S", 0.05)
    with pytest.raises(EngineRefused, match="no such process"):
        Ours(FakeConnection(*[ENDING] * 1000), "root").find("web")  # type: ignore[arg-type]


def test_a_container_that_is_gone_is_none() -> None:
    assert Ours(FakeConnection(EngineRefused(404, "no such container")), "root").find("web") is None  # type: ignore[arg-type]


class Ending(FakeConnection):
    """Refuses every signal, and tells of these states, one after the other; of the last one ever after."""

    def __init__(self, *states: dict[str, Any]) -> None:
        super().__init__()
        self._states = list(states)

    def kill(self, name: str, number: int) -> None:
        raise EngineRefused(500, "unable to signal init: permission denied")

    def inspect_container(self, name: str) -> dict[str, Any]:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        labels = {"Labels": {body.ROOT_LABEL: "root"}}
        return {**super().inspect_container(name), "State": state, "Config": labels}


@pytest.mark.parametrize("states", [(EXITED,), (RUNNING, RUNNING, RUNNING, EXITED)])
def test_a_signal_to_what_ends_is_fine_though_the_engine_learns_of_it_later(states: tuple[dict[str, Any], ...]) -> None:
    Ours(Ending(*states), "root").kill("web", 15)  # type: ignore[arg-type]


def test_a_signal_that_is_refused_to_what_runs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "_ENDS_WITHIN_S", 0.05)
    with pytest.raises(EngineRefused, match="permission denied"):
        Ours(Ending(RUNNING), "root").kill("web", 15)  # type: ignore[arg-type]
