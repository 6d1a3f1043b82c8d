"""Ends of containers from events: nothing is lost between subscribing and looking, nor while the engine is away."""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterator

import pytest

from runtime.docker.watch import Watch
from runtime.errors import EngineAway, EngineRefused
from runtime.process import readable


class FakeAnswer:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine
        self.events: queue.Queue[bytes | None] = queue.Queue()

    def begin(self) -> None:
        self._engine.begun.wait(5.0)

    def lines(self) -> Iterator[bytes]:
        while (line := self.events.get()) is not None:
            yield line

    def interrupt(self) -> None:
        self.events.put(None)

    def close(self) -> None:
        return None


class FakeEngine:
    """`runs` is what runs; `order` what was asked."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}
        self.order: list[str] = []
        self.answers: list[FakeAnswer] = []
        self.away = False
        self.begun = threading.Event()
        self.begun.set()

    def stream(self, path: str, **parameters: object) -> FakeAnswer:
        if self.away:
            raise EngineAway("/sock", "refused")
        self.order.append("subscribe")
        self.answers.append(FakeAnswer(self))
        return self.answers[-1]

    def run_of(self, container: str) -> str:
        if self.away:
            raise EngineAway("/sock", "refused")
        if container == "refused":
            raise EngineRefused(500, "database is locked")
        self.order.append("look")
        return self.runs.get(container, "")

    def say(self, action: str, container: str = "one") -> None:
        line = json.dumps({"Type": "container", "Action": action, "Actor": {"ID": container}})
        self.answers[-1].events.put(line.encode())


@pytest.fixture
def engine() -> FakeEngine:
    found = FakeEngine()
    found.runs["one"] = "run 1"
    return found


@pytest.fixture
def watch(engine: FakeEngine) -> Iterator[Watch]:
    found = Watch(engine, engine.run_of)  # type: ignore[arg-type]
    yield found
    found.close()


def subscribed(engine: FakeEngine, count: int = 1) -> None:
    for _ in range(3000):
        if len(engine.answers) >= count and engine.order[-1] == "look":
            return
        threading.Event().wait(0.01)
    raise AssertionError(engine.order)


def test_an_event_is_a_doorbell(engine: FakeEngine, watch: Watch) -> None:
    fd = watch.fd("one", "run 1")
    subscribed(engine)
    assert engine.order.index("subscribe") < len(engine.order) - 1, "it looks after it has subscribed"
    for action in ("pause", "exec_die", "health_status: healthy"):
        engine.say(action)
    engine.say("die", "another")
    assert not readable(fd, 0.2)
    engine.runs.clear()
    engine.say("die")
    assert readable(fd, 30.0)
    os.close(fd)


def test_an_end_between_subscribing_and_looking_is_seen(engine: FakeEngine, watch: Watch) -> None:
    engine.begun.clear()  # an idle Podman: no header comes
    fd = watch.fd("one", "run 1")
    subscribed(engine)
    other = watch.fd("one", "run 0")  # that run is over already
    assert readable(other, 30.0)
    engine.begun.set()
    os.close(fd)
    os.close(other)


def test_an_end_while_the_engine_was_away_is_seen_when_it_is_back(engine: FakeEngine, watch: Watch) -> None:
    fd = watch.fd("one", "run 1")
    subscribed(engine)
    engine.away = True
    engine.answers[-1].interrupt()
    engine.runs.clear()
    assert not readable(fd, 0.3), "nobody knows yet"
    assert not readable(watch.fd("one", "run 1"), 0.0)
    engine.away = False
    assert readable(fd, 30.0)
    os.close(fd)


def test_who_is_restarted_has_ended(engine: FakeEngine, watch: Watch) -> None:
    fd = watch.fd("one", "run 1")
    subscribed(engine)
    engine.runs["one"] = "run 2"
    engine.say("restart")
    assert readable(fd, 30.0)
    again = watch.fd("one", "run 2")
    assert not readable(again, 0.1)
    os.close(fd)
    os.close(again)


def test_nonsense_does_no_harm(engine: FakeEngine, watch: Watch) -> None:
    fd = watch.fd("one", "run 1")
    subscribed(engine)
    for line in (b"{", b"[]", b"null", b'{"Actor": 5}'):
        engine.answers[-1].events.put(line)
    engine.runs.clear()
    engine.say("die")
    assert readable(fd, 30.0)
    os.close(fd)


def test_what_an_engine_refuses_to_tell_leaves_no_descriptor(engine: FakeEngine, watch: Watch) -> None:
    os.close(watch.fd("one", "run 1"))
    subscribed(engine)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        with pytest.raises(EngineRefused):
            watch.fd("refused", f"run {number}")
    assert len(os.listdir("/proc/self/fd")) == before + 1, "the bell of the last run, which is still to be heard"
