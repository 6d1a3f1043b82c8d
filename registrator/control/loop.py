"""The shell of the control loop: read, decide, act, record, wait. One leader acts, the others wait for its place."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace

from registrator.control import rollout
from registrator.control.actions import (
    Action,
    Assign,
    Conclude,
    Drain,
    ForgetRun,
    HoldBack,
    LetGo,
    OrderRun,
    Progress,
    Unassign,
)
from registrator.control.audit import surplus
from registrator.control.backup import Backup
from registrator.control.grounds import Grounds, Observer
from registrator.control.holding import ended
from registrator.control.placement import Board
from registrator.control.view import ServiceView
from registrator.errors import Conflict, RegistryUnavailable
from registrator.model.names import NodeName, ServiceName
from registrator.model.service import Service
from registrator.registry import schema
from registrator.registry.election import Leadership, campaign
from registrator.registry.store import Absent, Guard, Lease, Store, Write, portions
from registrator.registry.trust import Trust
from registrator.registry.world import Reader, World

log = logging.getLogger(__name__)

TICK_S = 5.0
LOOKED_AT_EVERY_S = 30.0  # a service of which nothing changes


@dataclass
class Control:
    """Makes the registry's orders follow its wishes. Run it on every node with the role control."""

    store: Store
    name: str
    trust: Trust
    backup: Backup
    lease_ttl_s: int = 10
    node_lost_after_s: float = 30.0
    safety_margin_s: float = 2.0
    _reader: Reader = field(default_factory=Reader)
    _missing_since: dict[NodeName, float] = field(default_factory=dict)
    _doubt: str | None = None
    _led_since: float = 0.0  # seconds since the epoch; or since when the store is trusted again
    _observer: Observer = field(default_factory=Observer)
    _quiet: dict[ServiceName, tuple[Grounds, float]] = field(default_factory=dict)  # until then (time.monotonic())
    _acted_at: int = 0  # revision of our last commit: an older snapshot must not be decided on

    async def run(self) -> None:
        """Lead whenever the place is free, until cancelled."""
        while True:
            try:
                lease = await self.store.lease(self.lease_ttl_s)
            except RegistryUnavailable as err:
                log.warning("no lease for leadership reason=%s", err)
                await asyncio.sleep(err.retry_after_s)
                continue
            try:
                await self._reign(lease)
            finally:
                await lease.close(revoke=True)

    async def _reign(self, lease: Lease) -> None:
        """Campaign and lead until the lease is lost, or an operator wants another one to lead."""
        async with asyncio.TaskGroup() as group:
            ends = group.create_task(self._lead(lease)), group.create_task(lease.lost())
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            log.warning("leadership %s lease=%x", "given up" if ends[0].done() else "lost", lease.id)
            for task in ends:
                task.cancel()

    async def _lead(self, lease: Lease) -> None:
        leadership = await campaign(self.store, self.name, lease)
        self._led_since = time.time()
        # What the leader before wrote is older than our leading: nothing is decided on a copy that lacks some of it.
        epoch, self._acted_at = self.store.snapshot().epoch, leadership.guard.revision
        while True:
            snapshot = self.store.snapshot()
            if snapshot.epoch != epoch:
                epoch, self._acted_at = snapshot.epoch, 0  # another history: its revisions say nothing of ours
            world = self._reader.read(snapshot)
            if self.name in world.demotions:
                with suppress(Conflict, RegistryUnavailable):
                    await leadership.resign(self.store)
                return
            wait_s = TICK_S
            if world.revision >= self._acted_at and self._trusted(world) and self._leads(lease):
                wait_s = min(wait_s, await self._pass(world, leadership))
            try:
                async with asyncio.timeout(wait_s):
                    await self.store.changed(snapshot.mark)
            except TimeoutError:
                continue  # a delay or a window ended

    def _leads(self, lease: Lease) -> bool:
        """A leader whose lease may have ended must not act, whether or not it can ask."""
        return time.monotonic() < lease.deadline - self.safety_margin_s

    def _trusted(self, world: World) -> bool:
        reason = self.trust.judge(world, time.monotonic())
        if reason != self._doubt:
            log.warning("trust changed doubt=%s", reason)
            self._doubt = reason
            self._led_since = time.time()
        return reason is None

    async def _pass(self, world: World, leadership: Leadership) -> float:
        """Decide for every service and act; seconds until a timer needs another pass."""
        now = time.time()
        lost = self._lost(world, now)
        board = Board(world.nodes, world.assignments.values(), lost, world.services, world.availability)
        ends = (since + self.node_lost_after_s - now for since in self._missing_since.values())
        waits = [TICK_S, *(end + 0.001 for end in ends if end > 0)]
        if over := ended(world.holds.values(), now):
            await self._act(over, leadership)
        waits += [hold.until - now + 0.001 for hold in world.holds.values() if hold.until > now]
        self._observer.look(world)
        quiet = {}
        for name, service in world.services.items():
            if service.foreign:
                continue
            grounds = self._observer.grounds(world, service, lost, self._led_since)
            known, until = self._quiet.get(name, ((), 0.0))
            if time.monotonic() >= until or known != grounds:
                until = time.monotonic() + await self._see_to(world, service, board, lost, leadership)
            quiet[name] = grounds, until
            waits.append(max(0.0, until - time.monotonic()))
        self._quiet = quiet
        waits.append(self.backup.save(world, time.monotonic()))
        await self._forget(world, leadership)
        return min(waits)

    async def _see_to(
        self, world: World, service: Service, board: Board, lost: frozenset[NodeName], leadership: Leadership
    ) -> float:
        """Decide for one service and act; for how many seconds that holds while nothing changes."""
        now, asked = time.time(), board.asked
        assigned = list(world.assigned(service.service))
        leaving = board.leaving(service, assigned)
        wanted = replace(service, replicas=board.wanted(service, assigned))
        view = ServiceView.of(world, wanted, lost, leaving)
        actions = rollout.decide(view, board, now, self._led_since)
        if actions:
            await self._act(actions, leadership)
        # What found no place, or is held, hangs on others, too; and what was not written has to be written again.
        hangs = actions or view.holds or board.asked != asked
        after_s = rollout.wake_after_s(view, now, self._led_since)
        longest_s = TICK_S if hangs else LOOKED_AT_EVERY_S
        return longest_s if after_s is None else min(longest_s, after_s + 0.001)

    async def _forget(self, world: World, leadership: Leadership) -> None:
        """Keep the audit from growing without end."""
        if (old := surplus(world.audit.values())) and world.revision >= self._acted_at:
            with suppress(Conflict, RegistryUnavailable):
                await self.store.commit([schema.delete(deed) for deed in old], [leadership.guard])

    async def _act(self, actions: list[Action], leadership: Leadership) -> None:
        """Write it down, at once where it fits. Where it does not, first that numbers of instances are taken: what is
        not written after that is decided anew, under other numbers."""
        for action in actions:
            log.info("%s", _line(action))
        writes = [_write(action) for action in sorted(actions, key=lambda a: isinstance(a, Assign | Drain | Unassign))]
        try:
            for number, together in enumerate(portions(writes)):
                guards = [leadership.guard, *(_once(actions) if number == 0 else [])]
                self._acted_at = await self.store.commit(together, guards)
        except Conflict:
            log.warning("no longer the leader; steps dropped count=%d", len(actions))
        except RegistryUnavailable as err:
            log.warning("steps not written count=%d reason=%s", len(actions), err)

    def _lost(self, world: World, now: float) -> frozenset[NodeName]:
        """Nodes that hold assignments or runs and have been without a record for longer than is waited for."""
        busy = {a.node for a in world.assignments.values()} | {run.node for run in world.runs.values()}
        missing = busy - set(world.nodes)
        self._missing_since = {n: self._missing_since.get(n, now) for n in missing}
        return frozenset(n for n, since in self._missing_since.items() if now - since >= self.node_lost_after_s)


def _once(actions: list[Action]) -> list[Guard]:
    """What must not be there yet: nothing is ever ordered to run twice."""
    return [Absent(schema.key_of(a.run)) for a in actions if isinstance(a, OrderRun) and a.run.order == "run"]


def _write(action: Action) -> Write:
    match action:
        case Assign(assignment):
            return schema.put(assignment)
        case Drain(assignment, reason):
            return schema.put(replace(assignment, drain=True, reason=reason))
        case Unassign(assignment):
            return schema.delete(assignment)
        case Progress(record):
            return schema.put(record)
        case Conclude(outcome):
            return schema.put(outcome)
        case HoldBack(hold):
            return schema.put(hold)
        case LetGo(hold):
            return schema.delete(hold)
        case OrderRun(run):
            return schema.put(run)
        case ForgetRun(gone):
            return schema.delete(gone)


def _line(action: Action) -> str:
    match action:
        case Progress(record, reason):
            return f"rollout {record.service} release={record.release} state={record.state} reason={reason}"
        case Conclude(end, reason):
            return f"history {end.service} release={end.release} state={end.state} reason={end.reason or reason}"
        case HoldBack(hold, reason) | LetGo(hold, reason):
            return f"{type(action).__name__.lower()} {hold.service} owner={hold.owner} reason={reason}"
        case OrderRun(run, reason):
            return f"{run.order} {run.run} node={run.node} release={run.release} reason={reason}"
        case ForgetRun(gone, reason):
            return f"forget {type(gone).__name__.lower()} {gone.run} reason={reason}"
        case _:
            a = action.assignment
            verb = type(action).__name__.lower()
            return f"{verb} {a.instance} node={a.node} release={a.release} reason={action.reason}"
