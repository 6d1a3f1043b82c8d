"""The shell of the announcer: read, decide, act, record, wait."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from registrator.announce.conventions import Rules
from registrator.announce.decide import Action, Deregister, Leave, Register, decide
from registrator.announce.layout import Layout
from registrator.announce.ports import Docker, Prober
from registrator.announce.probing import Probing
from registrator.announce.survey import survey
from registrator.announce.watch import DockerWatch
from registrator.errors import Conflict, HecdError, LeaseLost, RegistryUnavailable
from registrator.registry.held import HeldLease
from registrator.registry.store import Absent, Delete, Guard, Lease, Put, Store, Unchanged, Write, portions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How the announcer behaves. `resync_s` is between two looks at everything."""

    rules: Rules
    keep_failed: bool = False
    cleanup: bool = False
    resync_s: float = 60.0


@dataclass
class Announcer:
    """Keeps the registry in line with what Docker runs and with how it is."""

    store: Store
    docker: Docker
    layout: Layout
    held: HeldLease
    prober: Prober
    settings: Settings
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _epoch: int = 0
    _acted_at: int = 0  # revision of our last commit: an older snapshot must not be decided on
    _taken_over: bool = False
    _said: frozenset[str] = frozenset()  # faults that were told
    _trouble: str = ""

    def __post_init__(self) -> None:
        self._watch = DockerWatch(self.docker, self._bell.set, resync_s=self.settings.resync_s)
        self._probing = Probing(self.prober, self._bell.set)

    async def run(self) -> None:
        """Announce until cancelled. What stands then, stands for the time of the lease: the next run takes it over."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.held.run(self._bell.set))
            group.create_task(self._watch.run())
            group.create_task(self._listen())
            group.create_task(self._keep())

    async def _listen(self) -> None:
        while True:
            mark = self.store.snapshot().mark
            self._bell.set()
            await self.store.changed(mark)

    async def _keep(self) -> None:
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                await self._pass()
                self._trouble = ""
            except Conflict:
                continue  # what changed rings the bell when it is here
            except LeaseLost:
                continue  # so does the next lease
            except HecdError as err:
                if self._trouble != err.brief:
                    log.warning("not announced, will be tried again reason=%s", err.brief)
                self._trouble = err.brief
                await asyncio.sleep(err.retry_after_s if isinstance(err, RegistryUnavailable) else 1.0)
                self._bell.set()

    async def _pass(self) -> None:
        """Look at everything and write what differs. Raises HecdError."""
        snapshot, lease = self.store.snapshot(), self.held.lease
        if snapshot.epoch != self._epoch:
            self._epoch, self._acted_at = snapshot.epoch, 0
        if lease is None or not self._watch.listed or snapshot.revision < self._acted_at:
            return
        if not self._taken_over:
            self._take_over()
        found = survey(
            self._watch.seen, self.settings.rules, self._probing.verdict, keep_failed=self.settings.keep_failed
        )
        self._probing.follow(found.targets)
        page = self.layout.page(found.announced, snapshot.entries, time.time())
        actions = decide(page.records, snapshot.entries, self.layout, lease.id, cleanup=self.settings.cleanup)
        left = [f"{a.key} is not written: {a.reason}" for a in actions if isinstance(a, Leave)]
        self._say([*found.faults, *page.faults, *left])
        writes = [a for a in actions if not isinstance(a, Leave)]
        for together in portions(writes):
            await self._act(together, lease)

    def _take_over(self) -> None:
        """What an earlier run of ours marked as draining still is."""
        entries = self.store.snapshot().entries
        for name, seen in self._watch.seen.items():
            if (reason := self.layout.ending(seen.container, entries)) and not seen.ending:
                self._watch.seen[name] = replace(seen, ending=reason)
        self._taken_over = True

    def _say(self, faults: Collection[str]) -> None:
        """Each fault once, until it is mended."""
        for fault in dict.fromkeys(faults):
            if fault not in self._said:
                log.warning("%s", fault)
        self._said = frozenset(faults)

    async def _act(self, actions: Sequence[Action], lease: Lease) -> None:
        writes: list[Write] = []
        guards: list[Guard] = []
        for action in actions:
            if isinstance(action, Register):
                writes.append(Put(action.key, action.value, lease.id))
                guards.append(Unchanged(action.key, action.revision) if action.revision else Absent(action.key))
            elif isinstance(action, Deregister):
                writes.append(Delete(action.key))
                guards.append(Unchanged(action.key, action.revision))
        try:
            self._acted_at = await self.store.commit(writes, guards)
        except LeaseLost:
            self.held.give_up(lease)
            raise
        for action in actions:
            log.info("%s %s reason=%s", type(action).__name__.lower(), action.key, action.reason)
