"""Who leads: a key held under a lease. Its creation revision fences every write of the leader."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from registrator.errors import Conflict, RegistryUnavailable
from registrator.model.demotion import Demotion
from registrator.model.names import NodeName
from registrator.registry import schema
from registrator.registry.store import Absent, Created, Delete, Lease, Put, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leadership:
    """Held until the lease dies or somebody removes the key."""

    guard: Created

    async def resign(self, store: Store) -> None:
        """Give it up, so that the next one need not wait for the lease to end."""
        await store.commit([Delete(schema.LEADER)], [self.guard])


async def campaign(store: Store, name: str, lease: Lease) -> Leadership:
    """Wait until the place is free and take it under `lease`. A node that is demoted leaves it to others."""
    demotion = schema.key_of(Demotion(NodeName(name)))
    while True:
        snapshot = store.snapshot()
        if (held := snapshot.get(schema.LEADER)) is None and snapshot.get(demotion) is None:
            place = Put(schema.LEADER, name.encode(), lease.id)
            try:
                revision = await store.commit([place], [Absent(schema.LEADER), Absent(demotion)])
            except Conflict:
                pass
            except RegistryUnavailable as err:
                await asyncio.sleep(err.retry_after_s)
                continue  # nothing need change for the next try
            else:
                log.info("leading name=%s revision=%d", name, revision)
                return Leadership(Created(schema.LEADER, revision))
        elif held is not None and held.lease == lease.id:
            return Leadership(Created(schema.LEADER, held.created))  # ours: the answer to an earlier try was lost
        await store.changed(snapshot.mark, ("control", "demotions"))
