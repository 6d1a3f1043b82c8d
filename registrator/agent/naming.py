"""The name server of this node, told of every service that comes, goes or moves. Read, decide, act, wait."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from registrator.agent import names
from registrator.agent.names import Names
from registrator.agent.ports import Directory
from registrator.errors import EngineFault
from registrator.registry.rooms import Rooms
from registrator.registry.store import Store
from registrator.registry.trust import Trust, doubt

log = logging.getLogger(__name__)

RESYNC_S = 10.0  # after so long, a name server that somebody ended is started again


@dataclass
class Naming:
    """Lives without etcd: the names of before are answered on."""

    store: Store
    directory: Directory
    trust: Trust
    resync_s: float = RESYNC_S
    _known: Names = field(default_factory=dict)
    _fault: str = ""
    _due: float = 0.0

    async def begin(self) -> None:
        """Go on with the names of before, so that the first container that starts finds a name server."""
        self._known = await asyncio.to_thread(self.directory.names)
        await self._act()

    async def run(self) -> None:
        """Work until cancelled. Names are answered after that, too."""
        rooms = Rooms(self.store, "services", "instances", "rollouts", "control")
        while True:
            world = rooms.read()
            wanted = names.decide(world, self._known, doubted=doubt(self.trust.memory, world) is not None)
            if wanted != self._known or time.monotonic() >= self._due:
                self._known = wanted
                await self._act()
            await self._wait(rooms)

    async def _act(self) -> None:
        self._due = time.monotonic() + self.resync_s
        fault = ""
        try:
            await asyncio.to_thread(self.directory.serve_names, self._known)
        except EngineFault as err:
            fault = err.brief
        if fault != self._fault:
            log.warning("names of services are %s reason=%s", "not answered" if fault else "answered again", fault)
        self._fault = fault

    async def _wait(self, rooms: Rooms) -> None:
        try:
            async with asyncio.timeout(max(0.0, self._due - time.monotonic())):
                await rooms.changed()
        except TimeoutError:
            return  # time to see whether it still answers
