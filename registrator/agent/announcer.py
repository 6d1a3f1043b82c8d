"""The agent's voice: its node record and its instance records, under one lease, written only when they change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from registrator.agent import record as records
from registrator.agent.copy import Copy
from registrator.errors import HecdError, RegistryUnavailable
from registrator.model.instance import Assignment, Instance
from registrator.model.names import InstanceName
from registrator.model.node import Node
from registrator.registry import schema
from registrator.registry.held import HeldLease
from registrator.registry.store import Lease, Store, Write, portions
from registrator.registry.world import World

log = logging.getLogger(__name__)


@dataclass
class Announcer:
    """Keeps the lease and brings the records in etcd in line with the agent's copies."""

    store: Store
    node: Node
    lease_file: Path
    lease_ttl_s: int
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _written: dict[InstanceName, tuple[Instance, int]] = field(default_factory=dict)
    _said: dict[InstanceName, Instance] = field(default_factory=dict)  # the last word of each, whatever became of it
    _joined: bool = False

    def __post_init__(self) -> None:
        self._held = HeldLease(self.store, self.lease_ttl_s, self.lease_file)

    @property
    def lease(self) -> Lease | None:
        """The lease of the moment."""
        return self._held.lease

    async def hold_lease(self) -> None:
        """Keep a lease for ever: the old one if it still lives, a new one whenever it is lost."""
        await self._held.run(self.forget)

    def forget(self) -> None:
        """Take nothing for written any more: say all again."""
        self._written.clear()
        self._joined = False
        self.news.set()

    def compare(self, world: World) -> None:
        """Notice records that somebody else removed, or that a wiped etcd lost."""
        gone = [n for n, (_, rev) in self._written.items() if world.revision >= rev and n not in world.instances]
        for name in gone:
            log.warning("record vanished, saying it again instance=%s", name)
            del self._written[name]
        if gone or (self._joined and self.node.node not in world.nodes):
            self._joined = False
            self.news.set()

    async def speak(self, copies: Mapping[InstanceName, Copy], world: World, ended: Sequence[Assignment] = ()) -> None:
        """Write what differs, and take away the orders that have `ended`. On failure all stays as it was, to be tried
        again."""
        if self.lease is None:
            return
        self._take_over(world)
        puts = self._changed(copies)
        here = (i for i in world.instances.values() if i.node == self.node.node and not i.foreign)
        mine = {i.instance for i in here} | set(self._written)
        gone = [n for n in mine if n not in copies]
        writes: list[Write] = [schema.put(record, self.lease.id) for record in puts]
        writes += [schema.delete(self._record_of(n, world)) for n in gone]
        writes += [schema.delete(order) for order in ended]  # after the records: none is ever without its order
        if not self._joined:
            writes.append(schema.put(replace(self.node, joined_at=time.time()), self.lease.id))
        if not writes:
            return
        for name in gone:
            self._said.pop(name, None)
            self._written.pop(name, None)  # before the commit: the mirror may hear of it sooner than we do
        await self._write(writes, {schema.key_of(record): record for record in puts})
        self._joined = True

    async def _write(self, writes: Sequence[Write], records: Mapping[str, Instance]) -> None:
        """In as many commits as etcd wants; what one of them wrote is written, whatever becomes of the next."""
        for together in portions(writes):
            revision = await self.store.commit(together)
            for record in (records[write.key] for write in together if write.key in records):
                self._written[record.instance] = record, revision
                told = (record.instance, record.state, record.health, record.reason)
                log.info("announced %s state=%s health=%s reason=%s", *told)

    def _take_over(self, world: World) -> None:
        """After a restart under the same lease: what stands in etcd need not be said again."""
        if self._joined or self.lease is None:
            return
        for record in world.instances.values():
            key = schema.key_of(record)
            if record.node == self.node.node and world.leases.get(key) == self.lease.id:
                self._written.setdefault(record.instance, (record, world.revisions[key]))
                self._said.setdefault(record.instance, record)

    def _changed(self, copies: Mapping[InstanceName, Copy]) -> list[Instance]:
        changed = []
        for name, copy in copies.items():
            if copy.adopted and copy.phase == "up" and copy.health.verdict == "unknown":
                continue  # what the last agent said of it stands until the first probe
            said = self._said.get(name)
            record = records.of_copy(copy, self.node.node, changed_at=said.changed_at if said else 0.0)
            if said is None or record.state != said.state:
                record = replace(record, changed_at=time.time())
            self._said[name] = record  # said again after a loss, it is the same to the letter
            if name not in self._written or record != self._written[name][0]:
                changed.append(record)
        return changed

    def _record_of(self, name: InstanceName, world: World) -> Instance:
        return self._written[name][0] if name in self._written else world.instances[name]


async def run(
    announcer: Announcer, copies: Mapping[InstanceName, Copy], world: World, ended: Sequence[Assignment] = ()
) -> None:
    """Speak once, and see to it that a failure is tried again soon."""
    try:
        await announcer.speak(copies, world, ended)
    except HecdError as err:
        retry_after_s = err.retry_after_s if isinstance(err, RegistryUnavailable) else 1.0
        log.warning("announcement failed reason=%s retry_after_s=%.1f", err, retry_after_s)
        await asyncio.sleep(retry_after_s)
        announcer.news.set()
