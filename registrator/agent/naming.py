"""The name server of this node, told of every service that comes, goes or moves. Read, decide, act, wait."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace

from registrator.agent import names
from registrator.agent.names import Names
from registrator.agent.ports import Directory
from registrator.errors import EngineFault
from registrator.registry import schema
from registrator.registry.store import Snapshot, Store
from registrator.registry.trust import Trust, doubt
from registrator.registry.world import Reader

log = logging.getLogger(__name__)

RESYNC_S = 10.0  # after so long, a name server that somebody ended is started again
_ROOMS = tuple(f"{schema.ROOT}{room}/" for room in ("services", "instances", "rollouts", "control"))


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
        reader = Reader()
        while True:
            snapshot = self.store.snapshot()
            world = reader.read(_about_names(snapshot))
            wanted = names.decide(world, self._known, doubted=doubt(self.trust.memory, world) is not None)
            if wanted != self._known or time.monotonic() >= self._due:
                self._known = wanted
                await self._act()
            await self._wait(snapshot.mark)

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

    async def _wait(self, mark: tuple[int, int]) -> None:
        try:
            async with asyncio.timeout(max(0.0, self._due - time.monotonic())):
                await self.store.changed(mark)
        except TimeoutError:
            return  # time to see whether it still answers


def _about_names(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, entries={k: snapshot.entries[k] for k in snapshot.entries if k.startswith(_ROOMS)})
