"""Containers asked of an engine that is not quite done with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from runtime.docker import ours
from runtime.docker.ours import Ours
from runtime.errors import EngineRefused

ENDING = EngineRefused(500, "read /proc/19496/cgroup: no such process")


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
