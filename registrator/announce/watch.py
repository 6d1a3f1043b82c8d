"""The watch over Docker: what is known of every container, kept up to date by events and by looking again.

It listens first and lists second, so that nothing that happens in between is missed. While Docker is away, what was
known stays known: absence is no order.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable

from registrator.announce.ports import Docker
from registrator.announce.seen import GONE, NEWS, Event, Seen, after, refreshed
from registrator.announce.stream import Stream
from registrator.errors import DockerAway

log = logging.getLogger(__name__)

LIVE = frozenset({"running", "paused", "restarting", ""})  # "": an old Docker does not say, a look tells
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 2.0  # between two attempts to reach it
REMEMBERED_S = 2.0  # how far back the first subscription asks
SUBSCRIBED_WITHIN_S = 1.0  # else it is listed all the same: what happens meanwhile is told later, from `since` on
AGAIN_AFTER_S = 2.0  # Podman loses what happens between those events that it remembers and those that it sends live


class DockerWatch:
    """`seen` is what is known, by container id; `listed` whether all of it was read once. `ring` is called on news."""

    def __init__(self, docker: Docker, ring: Callable[[], None], *, resync_s: float) -> None:
        self.seen: dict[str, Seen] = {}
        self.listed = False
        self._docker = docker
        self._ring = ring
        self._resync_s = resync_s
        self._since = time.time() - REMEMBERED_S
        self._moves: Counter[str] = Counter()  # events of each container: a look that one overtook is stale
        self._early: dict[str, list[Event]] = {}  # events of containers that were not looked at yet
        self._to_look: set[str] = set()
        self._work = asyncio.Event()
        self._away = False

    async def run(self) -> None:
        """Watch until cancelled, through any number of Docker's restarts."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                await self._follow()
            except DockerAway as err:
                if not self._away:
                    log.warning("docker is away, what is known stays reason=%s", err.brief)
                    wait_s = FIRST_WAIT_S
                self._away = True
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)

    async def _follow(self) -> None:
        """Listen, list, and keep looking until the events end. Raises DockerAway."""
        stream = Stream(self._docker, self.take, self._work.set)
        try:
            await stream.open(self._since, SUBSCRIBED_WITHIN_S)
            wait_s = min(AGAIN_AFTER_S, self._resync_s)
            while True:
                await self._read_all()
                await self._look_until(time.monotonic() + wait_s, stream)
                wait_s = self._resync_s
        finally:
            stream.close()

    def take(self, event: Event) -> None:
        """Learn from an event at once; what it does not say is looked up."""
        name = event.container
        self._since = max(self._since, event.at)
        self._moves[name] += 1
        if event.action in GONE:
            self.seen.pop(name, None)
        elif name in self.seen:
            self.seen[name] = after(self.seen[name], event)
        else:
            self._early.setdefault(name, []).append(event)
        if event.action in NEWS:
            self._to_look.add(name)
            self._work.set()
        self._ring()

    async def _read_all(self) -> None:
        """Bring everything in line with Docker's list."""
        listing = await asyncio.to_thread(self._docker.listing)
        for name in [n for n in self.seen if n not in listing]:
            del self.seen[name]
        running = {name for name, known in self.seen.items() if known.container.running and name in listing}
        await self._look({name for name, state in listing.items() if state in LIVE} | running)
        self._moves = Counter({name: count for name, count in self._moves.items() if name in listing})
        self._early = {name: events for name, events in self._early.items() if name in self._to_look}
        if self._away or not self.listed:
            log.info("docker is there containers=%d running=%d", len(listing), len(self.seen))
        self._away, self.listed = False, True
        self._ring()

    async def _look_until(self, deadline: float, stream: Stream) -> None:
        """Look at what events named, until `deadline` (monotonic). Raises DockerAway when the events end."""
        while True:
            stream.check()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self._work.wait()
            except TimeoutError:
                return
            self._work.clear()
            names, self._to_look = self._to_look, set()
            await self._look(names)
            self._ring()

    async def _look(self, names: Iterable[str]) -> None:
        await asyncio.gather(*(self._look_at(name) for name in names))

    async def _look_at(self, name: str) -> None:
        while True:
            moves = self._moves[name]
            container = await asyncio.to_thread(self._docker.inspect, name)
            if self._moves[name] == moves:
                break
        early = self._early.pop(name, [])
        if container is None:
            self.seen.pop(name, None)
        elif container.running or container.id in self.seen:
            found = refreshed(self.seen.get(container.id), container)
            self.seen[container.id] = functools.reduce(after, early, found)
