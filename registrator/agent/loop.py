"""The shell of the agent: read, decide, act, record, wait."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from registrator.agent import announcer as voice
from registrator.agent import converge
from registrator.agent.announcer import Announcer
from registrator.agent.converge import Action, BeginDrain, Kill, Remove, Start, Stop
from registrator.agent.copy import Copy
from registrator.agent.patience import asked
from registrator.agent.ports import Ending, Engine, Prober, Seen
from registrator.errors import EngineAway, EngineFault
from registrator.health.verdict import Health, check_of, judge, pace_s
from registrator.model.instance import Assignment
from registrator.model.names import InstanceName
from registrator.registry import acknowledgement
from registrator.registry.rooms import Rooms
from registrator.registry.schema import key_of
from registrator.registry.store import Store
from registrator.registry.trust import Trust
from registrator.registry.world import World

log = logging.getLogger(__name__)

STABLE_AFTER_S = 60.0  # an instance that ran so long starts its back-off anew


class Agent:
    """Runs what its node is assigned. Lives without etcd: what runs goes on, what dies is started again."""

    def __init__(self, store: Store, engine: Engine, prober: Prober, announcer: Announcer, trust: Trust) -> None:
        self.store = store
        self.engine = engine
        self.prober = prober
        self.announcer = announcer
        self.trust = trust
        self.copies: dict[InstanceName, Copy] = {}
        self.world = World()
        self._assigned: dict[InstanceName, Assignment] = {}  # to this node
        self._node = announcer.node.node
        self._rooms = Rooms(store, "nodes", "assignments", "releases", "instances", "control")
        self._edges = Rooms(store, "edges", "servers")  # they speak often: heard only while something here drains
        self._bell = asyncio.Event()
        self._drains = asyncio.Event()  # something here does
        self._busy: set[InstanceName] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._doubt: str | None = None

    async def run(self) -> None:
        """Work until cancelled. Containers run on after that."""
        self._read()
        for seen in await asked(self.engine.containers):
            self._adopt(seen)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.announcer.hold_lease())
            group.create_task(self._announce())
            group.create_task(self._listen())
            group.create_task(self._listen_to_edges())
            group.create_task(self._converge())

    async def _listen(self) -> None:
        while True:
            epoch = self.world.epoch
            self._read()
            if epoch != self.world.epoch:
                self.announcer.forget()
            self.announcer.compare(self.world)
            self._bell.set()
            await self._rooms.changed()

    def _read(self) -> None:
        before, self.world = self.world, self._rooms.read()
        if self.world.assignments is not before.assignments:  # of all nodes
            orders = self.world.assignments.items()
            self._assigned = {name: order for (node, name), order in orders if node == self._node}

    async def _listen_to_edges(self) -> None:
        while True:
            await self._drains.wait()
            self._edges.read()
            self._bell.set()
            await self._edges.changed()

    async def _announce(self) -> None:
        while True:
            await self.announcer.news.wait()
            self.announcer.news.clear()
            await voice.run(self.announcer, self.copies, self.world, self._ended_orders())

    async def _converge(self) -> None:
        while True:
            self._bell.clear()
            orders = self._orders()
            if self._ended_orders():
                self.announcer.news.set()
            if any(copy.phase == "draining" for copy in self.copies.values()):
                self._drains.set()
            else:
                self._drains.clear()
            now = time.monotonic()
            for name in {*orders, *self.copies} - self._busy:
                action = self._decide(name, orders.get(name), now)
                if action is not None:
                    self._act(action)
            await self._wait(orders)

    def _orders(self) -> dict[InstanceName, Assignment]:
        """What this node must run; nothing while etcd's word is in doubt."""
        doubt = self.trust.judge(self.world, time.monotonic())
        if doubt != self._doubt:
            log.warning("trust changed doubt=%s", doubt)
            self._doubt = doubt
        if doubt is not None:
            return {}
        return self._assigned

    def _ended_orders(self) -> list[Assignment]:
        """Orders to finish an instance of which nothing is here: it is gone, or never began. Nobody else knows that."""
        return [order for name, order in self._orders().items() if order.drain and name not in self.copies]

    def _decide(self, name: InstanceName, order: Assignment | None, now: float) -> Action | None:
        release = self.world.releases.get((order.service, order.release)) if order else None
        copy = self.copies.get(name)
        released = copy is not None and copy.phase == "draining" and self._released(name)
        return converge.decide(order, copy, release, released=released, now=now)

    def _released(self, name: InstanceName) -> bool:
        record = self.world.instances.get(name)
        if record is None or record.state != "draining":
            return False  # not yet announced
        revision = self.world.revisions[key_of(record)]
        return acknowledgement.released(record, revision, self._edges.read().edges.values())

    async def _wait(self, orders: dict[InstanceName, Assignment]) -> None:
        wakes = [converge.wake_at(orders.get(n), c) for n, c in self.copies.items() if n not in self._busy]
        soonest = min((w for w in wakes if w is not None), default=time.monotonic() + 5.0)
        try:
            async with asyncio.timeout(max(0.0, soonest - time.monotonic())):
                await self._bell.wait()
        except TimeoutError:
            return  # a deadline was reached

    # -- acting ---------------------------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        name, now = action.instance, time.monotonic()
        log.info("%s %s reason=%s", type(action).__name__.lower(), name, action.reason)
        match action:
            case Start(_, release):
                before = self.copies.get(name)
                self.copies[name] = converge.started(before, name, release, now)
                self._begin(name, self._start(name))
            case BeginDrain():
                self._update(name, phase="draining", since=now, reason=action.reason)
            case Stop():
                self._update(name, phase="stopping", since=now, stopped=True, reason=action.reason)
                self._begin(name, self._signal(name, self.copies[name].release.settings.stop_signal))
            case Kill():
                self._update(name, killed=True)
                self._begin(name, self._signal(name, "SIGKILL"))
            case Remove():
                self._begin(name, self._remove(name))

    def _begin(self, name: InstanceName, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside the loop; nothing else is decided about `name` meanwhile."""
        self._busy.add(name)

        async def guarded() -> None:
            try:
                await work
            finally:
                self._busy.discard(name)
                self._ring()

        self._spawn(guarded())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (err := task.exception()) is not None:
            log.error("task failed", exc_info=err)

    async def _start(self, name: InstanceName) -> None:
        copy = self.copies[name]
        try:
            seen = await asked(self.engine.start, name, copy.release)
        except EngineFault as err:
            reason, wait_s = " ".join([err.brief, *err.details[:1]]), err.retry_after_s or 0.0
            self._fell(name, reason, (), restarts=copy.restarts + 1, at_least_s=wait_s)
            return
        self._update(name, phase="up", since=time.monotonic(), address=seen.address)
        await self._watch(name)

    async def _signal(self, name: InstanceName, signal: str) -> None:
        try:
            await asked(self.engine.signal, name, signal)
        except EngineFault as err:
            log.warning("signal failed instance=%s reason=%s", name, err)

    async def _remove(self, name: InstanceName) -> None:
        try:
            await asked(self.engine.remove, name)
        except EngineFault as err:
            log.warning("remove failed instance=%s reason=%s", name, err)
            self._update(name, retry_at=time.monotonic() + 1.0)
            await asyncio.sleep(1.0)
            return
        del self.copies[name]

    # -- what happens by itself -----------------------------------------------------------------------------------

    def _adopt(self, seen: Seen) -> None:
        """Go on with a container that an earlier agent started."""
        age_s = max(0.0, time.time() - seen.started_at)
        copy = Copy(
            seen.instance,
            seen.release,
            "up" if seen.running else "down",
            time.monotonic() - age_s,
            address=seen.address,
            was_healthy=True,
            adopted=True,
            reason="" if seen.running else "it ended while no agent ran",
        )
        self.copies[seen.instance] = copy
        log.info("adopted %s running=%s", seen.instance, seen.running)
        if seen.running:
            self._spawn(self._watch(seen.instance))

    async def _watch(self, name: InstanceName) -> None:
        """Hear of its end, and probe it until then."""
        try:
            fd = await asked(self.engine.exit_fd, name)
        except EngineFault as err:
            log.warning("container can't be watched instance=%s reason=%s", name, err)
            fd = None
        if fd is None:
            self._spawn(self._ended(name))
            return
        asyncio.get_running_loop().add_reader(fd, self._on_exit, name, fd)
        self._spawn(self._probe(name))

    def _on_exit(self, name: InstanceName, fd: int) -> None:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)
        self._spawn(self._ended(name))

    async def _ended(self, name: InstanceName) -> None:
        copy, now = self.copies[name], time.monotonic()
        stable = copy.phase == "up" and now - copy.since > STABLE_AFTER_S
        self._update(name, phase="ending", health=Health(), since=now)  # out of the load balancers at once
        try:
            ending = await asked(self.engine.ending, name)
        except EngineFault as err:  # somebody took the container away
            ending = Ending(err.brief)
        self._fell(name, ending.reason, ending.log_tail, restarts=1 if stable else copy.restarts + 1)

    def _fell(
        self, name: InstanceName, reason: str, log_tail: tuple[str, ...], *, restarts: int, at_least_s: float = 0.0
    ) -> None:
        """Note that it does not run, and when it may be started again: at once the first time, if it ever served, and
        not before `at_least_s` have passed."""
        usual_s = converge.backoff_s(restarts if self.copies[name].was_healthy else restarts + 1)
        wait_s = max(usual_s, at_least_s)
        if self.copies[name].stopped:
            log.info("ended %s reason=%s", name, reason)
        else:
            log.warning("ended %s reason=%s restart_in_s=%.1f", name, reason, wait_s)
        retry_at = time.monotonic() + wait_s
        self._update(name, phase="down", restarts=restarts, retry_at=retry_at, reason=reason, log_tail=log_tail)

    async def _probe(self, name: InstanceName) -> None:
        first = self.copies[name]
        check = check_of(first.release.settings)
        while (copy := self._probed(name, first)) is not None:
            try:
                probe = await self.prober.probe(name, copy.address, check)
            except EngineAway as err:  # nothing is known: the last verdict stands
                await asyncio.sleep(err.retry_after_s)
                continue
            age_s = time.monotonic() - first.since
            if (copy := self._probed(name, first)) is None:
                return
            health = judge(copy.health, probe, check, age_s)
            if health != copy.health:
                self._update(name, health=health, was_healthy=copy.was_healthy or health.verdict == "healthy")
            await asyncio.sleep(pace_s(health, check, age_s))

    def _probed(self, name: InstanceName, first: Copy) -> Copy | None:
        """The copy, while it is the same run as `first` and still to be probed."""
        copy = self.copies.get(name)
        same = copy is not None and copy.restarts == first.restarts and copy.phase in ("up", "draining")
        return copy if same else None

    def _update(self, name: InstanceName, **changes: Any) -> None:
        self.copies[name] = replace(self.copies[name], **changes)
        self._ring()

    def _ring(self) -> None:
        self._bell.set()
        self.announcer.news.set()
