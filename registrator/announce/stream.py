"""Docker's events, read in a thread of their own: reading blocks, and so does subscribing to a Podman that is idle."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

from registrator.announce.ports import Docker, Events
from registrator.announce.seen import Event
from registrator.errors import DockerAway


class Stream:
    """`take` is called in the loop with each event, `news` when the stream has begun and when it has ended."""

    def __init__(self, docker: Docker, take: Callable[[Event], None], news: Callable[[], None]) -> None:
        self.ended = False
        self._docker = docker
        self._take = take
        self._news = news
        self._loop = asyncio.get_running_loop()
        self._settled = asyncio.Event()
        self._fault: DockerAway | None = None
        self._events: Events | None = None
        self._closed = False

    async def open(self, since: float, within_s: float) -> None:
        """Begin to listen, and wait until that is so, or until `within_s` passed: it then goes on trying.

        Raises DockerAway.
        """
        threading.Thread(target=self._read, args=(since,), daemon=True, name="docker events").start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._settled.wait()
        self.check()

    def check(self) -> None:
        """Raises DockerAway if it could not begin or has ended."""
        if self._fault is not None or self.ended:
            raise self._fault or DockerAway("Docker ended its events")

    def close(self) -> None:
        """End it."""
        self._closed = True
        if self._events is not None:
            self._events.close()

    def _read(self, since: float) -> None:
        fault = None
        with contextlib.suppress(RuntimeError):  # the loop has ended
            try:
                events = self._docker.subscribe(since)
                self._loop.call_soon_threadsafe(self._begun, events)
                for event in events:
                    self._loop.call_soon_threadsafe(self._take, event)
            except DockerAway as err:
                fault = err
            self._loop.call_soon_threadsafe(self._end, fault)

    def _begun(self, events: Events) -> None:
        self._events = events
        if self._closed:
            events.close()
        self._settled.set()
        self._news()

    def _end(self, fault: DockerAway | None) -> None:
        self.ended, self._fault = True, fault
        self._settled.set()
        self._news()
