"""The overlay of this node: watches who else takes part, and has the runtime reach them. Read, decide, act, wait."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from registrator.agent import peers
from registrator.agent.peers import Peer
from registrator.agent.ports import Tunnel
from registrator.errors import EngineFault
from registrator.model.node import Node
from registrator.registry.rooms import Rooms
from registrator.registry.store import Store
from registrator.registry.trust import Trust, doubt

log = logging.getLogger(__name__)

RESYNC_S = 10.0  # after so long, what somebody else changed in the kernel is put right
RETRY_S = 1.0


@dataclass
class Overlay:
    """Lives without etcd: the peers of before are reached on."""

    store: Store
    tunnel: Tunnel
    own: Node
    trust: Trust
    resync_s: float = RESYNC_S
    _known: Mapping[str, Peer] = field(default_factory=dict)
    _due: float = 0.0  # monotonic time of the next act, whatever was heard
    _strangers: tuple[str, ...] = ()
    _said: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Work until cancelled. What was made stays after that."""
        self._known = {peer.subnet: peer for peer in await asyncio.to_thread(self.tunnel.peers)}
        rooms = Rooms(self.store, "nodes", "claims", "control")
        while True:
            world = rooms.read()
            doubted = doubt(self.trust.memory, world) is not None
            decision = peers.decide(world, self._known, self.own, doubted=doubted)
            self._warn(decision.strangers)
            if decision.peers != self._known or time.monotonic() >= self._due:
                self._known = decision.peers
                await self._act()
            await self._wait(rooms)

    async def _act(self) -> None:
        try:
            changed = await asyncio.to_thread(self.tunnel.apply, self._known.values())
        except EngineFault as err:
            log.warning("overlay not as it should be reason=%s details=%s hint=%s", err.brief, err.details, err.hint)
            self._due = time.monotonic() + RETRY_S
            return
        self._due = time.monotonic() + self.resync_s
        for line in changed:
            if line not in self._said:  # a peer that cannot be is named each time
                log.info("overlay %s", line)
        self._said = frozenset(changed)

    async def _wait(self, rooms: Rooms) -> None:
        try:
            async with asyncio.timeout(max(0.0, self._due - time.monotonic())):
                await rooms.changed()
        except TimeoutError:
            return  # time for another look at the kernel

    def _warn(self, strangers: tuple[str, ...]) -> None:
        for line in set(strangers) - set(self._strangers):
            log.warning("node not reached %s", line)
        self._strangers = strangers
