"""A lease held for good: the one of an earlier run if it still lives, and a new one whenever it is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from registrator.errors import HecdError
from registrator.registry.store import Lease, Store

log = logging.getLogger(__name__)


@dataclass
class HeldLease:
    """`lease` is that of the moment, None while there is none. `file` keeps its number over a restart."""

    store: Store
    ttl_s: int
    file: Path
    lease: Lease | None = None
    _given_up: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, renewed: Callable[[], None]) -> None:
        """Hold it until cancelled; it then lives on for its time. `renewed` is called whenever there is another."""
        resume = self._remembered()
        while True:
            try:
                self.lease = await self.store.lease(self.ttl_s, resume)
            except HecdError as err:
                log.warning("no lease reason=%s", err)
                await asyncio.sleep(1.0)
                continue
            log.info("lease held id=%x resumed=%s", self.lease.id, self.lease.id == resume)
            self._remember(self.lease.id)
            renewed()
            await self._lost(self.lease)
            log.warning("lease lost id=%x", self.lease.id)
            await self.lease.close(revoke=False)
            self.lease, resume = None, 0

    def give_up(self, lease: Lease) -> None:
        """A write under `lease` was told that it is gone: do not wait for the next renewal to hear so."""
        if self.lease is lease:
            self._given_up.set()

    async def _lost(self, lease: Lease) -> None:
        self._given_up.clear()
        waits = [asyncio.ensure_future(lease.lost()), asyncio.ensure_future(self._given_up.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _remembered(self) -> int:
        try:
            return int(self.file.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _remember(self, lease_id: int) -> None:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(str(lease_id))
        except OSError as err:  # after a restart all is said again under a new lease; nothing else is lost
            log.warning("the lease can't be remembered file=%s reason=%s", self.file, err)
