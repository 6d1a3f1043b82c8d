"""A Docker in memory for the announcer: containers that the test changes, and the events that tell of it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from registrator.announce.container import Container
from registrator.announce.seen import Event
from registrator.errors import DockerAway


class FakeEvents:
    """See announce.ports.Events."""

    def __init__(self) -> None:
        self.lines: queue.SimpleQueue[Event | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[Event]:
        while (event := self.lines.get()) is not None:
            yield event

    def close(self) -> None:
        self.lines.put(None)


class FakeDocker:
    """See announce.ports.Docker. `meanwhile` is called in the middle of the next listing or inspection, once."""

    def __init__(self) -> None:
        self.away = False
        self.listings = 0
        self.meanwhile: Callable[[], None] = lambda: None
        self._containers: dict[str, Container] = {}
        self._listeners: list[FakeEvents] = []
        self._lock = threading.RLock()

    def subscribe(self, since: float) -> FakeEvents:
        self._answer()
        events = FakeEvents()
        self._listeners.append(events)
        return events

    def listing(self) -> Mapping[str, str]:
        self._answer()
        self.listings += 1
        found = {name: "running" if c.running else "exited" for name, c in self._containers.items()}
        self._surprise()
        return found

    def inspect(self, container: str) -> Container | None:
        self._answer()
        found = self._containers.get(container)
        self._surprise()
        return found

    def put(self, container: Container, action: str = "start", **attributes: str) -> None:
        """It is so now; and an event says so, unless `action` is ""."""
        with self._lock:
            self._containers[container.id] = container
            self.tell(container.id, action, **attributes)

    def die(self, container: Container, *, told: bool = True) -> None:
        self.put(replace(container, running=False), "die" if told else "", exitCode="137")

    def remove(self, container: Container, *, told: bool = True) -> None:
        with self._lock:
            self._containers.pop(container.id, None)
            self.tell(container.id, "destroy" if told else "")

    def tell(self, name: str, action: str, **attributes: str) -> None:
        for listener in self._listeners if action else ():
            listener.lines.put(Event(action, name, time.time(), attributes))

    def leave(self) -> None:
        """Docker ends: its streams end, and it answers no more."""
        self.away = True
        self.hang_up()

    def hang_up(self) -> None:
        """Its streams end."""
        while self._listeners:
            self._listeners.pop().close()

    def _answer(self) -> None:
        if self.away:
            raise DockerAway("the fake is away")

    def _surprise(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
