"""The holder: requests that HAProxy hands over wait here, until HAProxy says that their backend no longer holds.

It survives reloads of HAProxy, and HAProxy's word is all it goes by: the weight of the server behind which they wait. A
request goes on through whichever HAProxy process listens then, so also one that an old process still answers.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from registrator.holder.places import Place, places_of, question, released
from registrator.holder.waiting import Onward, Waiting

log = logging.getLogger(__name__)

LOOK_S = 0.1  # between looks whether the configuration has other places
ASK_S = 0.01  # between questions while something waits
# A service is not hit by all in one moment, or connections beyond its backlog would time out: so many are let in that
# have no answer yet, not counting those that have taken long, which may be meant to.
AT_ONCE = 64
LONG_S = 0.25
PACE_S = 0.005
BACKLOG = 4096
ANSWER_WITHIN_S = 1.0


@dataclass
class Holder:
    """`run_dir` is HAProxy's: admin.sock and haproxy.cfg stand there, or `configuration` elsewhere."""

    run_dir: Path
    configuration: Path
    _places: dict[str, Place] = field(default_factory=dict)
    _servers: dict[str, asyncio.Server] = field(default_factory=dict)
    _waiting: dict[str, dict[Waiting, None]] = field(default_factory=dict)
    _going: dict[str, deque[Onward]] = field(default_factory=dict)
    _come: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Hold until cancelled."""
        most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
        (self.run_dir / "hold").mkdir(parents=True, exist_ok=True)
        await self._listen(str(self.run_dir / "hold" / "alive.sock"), asyncio.Protocol)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._let_go())

    async def _follow(self) -> None:
        """Be where the configuration says."""
        read = -1
        while True:
            with suppress(OSError):
                if (now := self.configuration.stat().st_mtime_ns) != read:
                    read = now
                    await self._move(places_of(self.configuration.read_text()))
            await asyncio.sleep(LOOK_S)

    async def _move(self, places: dict[str, Place]) -> None:
        for backend in self._servers.keys() - places.keys():
            self._servers.pop(backend).close()
        self._places.update(places)  # what waits for one that is gone still finds out
        for backend, place in places.items():
            if backend not in self._servers:
                self._servers[backend] = await self._listen(place.arrivals, lambda name=backend: self._guest(name))
                log.info("requests may wait here backend=%s", backend)

    async def _listen(self, path: str, protocol: object) -> asyncio.Server:
        _free(path)
        loop = asyncio.get_running_loop()
        return await loop.create_unix_server(protocol, path, backlog=BACKLOG)  # type: ignore[arg-type]

    def _guest(self, backend: str) -> Waiting:
        guests = self._waiting.setdefault(backend, {})

        def arrived(guest: Waiting) -> None:
            guests[guest] = None
            self._come.set()

        return Waiting(arrived, lambda guest: guests.pop(guest, None))

    async def _let_go(self) -> None:
        while True:
            backends = sorted(name for name, guests in self._waiting.items() if guests)
            if not backends:
                self._come.clear()
                await self._come.wait()
                continue
            for backend in released(await self._ask(question(backends)), backends):
                await self._send_on(backend)
            await asyncio.sleep(ASK_S if not any(self._going.values()) else PACE_S)

    async def _send_on(self, backend: str) -> None:
        """Of those that wait, the first that there is room for."""
        guests, going = self._waiting[backend], self._going.setdefault(backend, deque())
        late = time.monotonic() - LONG_S
        while going and (going[0].over or going[0].since < late):
            going.popleft()
        room = AT_ONCE - sum(not one.over for one in going)
        log.debug("requests go on backend=%s waiting=%d room=%d", backend, len(guests), room)
        for guest in list(guests)[: max(0, room)]:
            if guests.pop(guest, 0) is None and (sent := await self._send(self._places[backend], guest)):
                going.append(sent)

    async def _send(self, place: Place, guest: Waiting) -> Onward | None:
        if place.http and guest.ended:
            guest.give_up()
            return None
        onward = Onward(guest, time.monotonic())
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: onward, place.onward)
        except OSError as err:
            log.warning("a request could not go on backend=%s reason=%s", place.backend, err)
            guest.give_up()
        return onward

    async def _ask(self, command: str) -> str:
        """HAProxy's answer; "" while it does not answer."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reader, writer = await asyncio.open_unix_connection(str(self.run_dir / "admin.sock"))
                try:
                    writer.write(f"{command}\n".encode())
                    return (await reader.read()).decode(errors="replace")
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return ""


def _free(path: str) -> None:
    """An earlier holder left its socket."""
    Path(path).unlink(missing_ok=True)
