"""The shell around the runs of hooks on this node: read, decide, act, record, wait."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from registrator.agent import run as decider
from registrator.agent.patience import asked
from registrator.agent.ports import Ending, Engine, OneOffs, SeenRun
from registrator.agent.run import Action, Begin, Conclude, Remove, Watch
from registrator.errors import Conflict, EngineFault, HecdError
from registrator.model.hook import Result, Run
from registrator.model.names import InstanceName, NodeName
from registrator.registry import schema
from registrator.registry.rooms import Rooms
from registrator.registry.store import Absent, Guard, Store, Unchanged
from registrator.registry.trust import Trust, doubt
from registrator.registry.world import World

log = logging.getLogger(__name__)


@dataclass
class Runner:
    """Runs the hooks that its node is told to. Lives without etcd: one that runs goes on, and its end is told later."""

    store: Store
    engine: Engine
    once: OneOffs
    node: NodeName
    trust: Trust
    world: World = field(default_factory=World)
    seen: dict[str, SeenRun] = field(default_factory=dict)
    _said: dict[str, tuple[int, Result | None]] = field(default_factory=dict)  # until the world has it; None: deleted
    _stops: dict[str, asyncio.Event] = field(default_factory=dict)  # of those that are watched
    _why: dict[str, str] = field(default_factory=dict)  # why they are to stop
    _busy: set[str] = field(default_factory=set)
    _bell: asyncio.Event = field(default_factory=asyncio.Event)
    _rooms: Rooms = field(init=False)

    def __post_init__(self) -> None:
        self._rooms = Rooms(self.store, "runs", "results", "releases", "control")

    async def run(self) -> None:
        """Work until cancelled. Containers run on after that."""
        self.seen = {seen.run.run: seen for seen in await asked(self.once.runs)}
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            while True:
                await self._bell.wait()
                self._bell.clear()
                self._read()  # trust may remember a later revision than that of our last change
                for name, action in self._decided():
                    self._act(group, name, action)

    async def _listen(self) -> None:
        while True:
            self._read()
            self._bell.set()
            await self._rooms.changed()

    def _read(self) -> None:
        epoch, self.world = self.world.epoch, self._rooms.read()
        if epoch != self.world.epoch:
            self._said.clear()
        self._said = {n: said for n, said in self._said.items() if said[0] > self.world.revision}

    def _decided(self) -> list[tuple[str, Action]]:
        if doubt(self.trust.memory, self.world) is not None:  # what runs goes on to its end, or its time
            return [(name, Watch(seen.run)) for name, seen in self.seen.items() if seen.running]
        orders = {name: run for name, run in self.world.runs.items() if run.node == self.node}
        results = {name: result for name in self._names() if (result := self._result(name)) is not None}
        found = []
        for name in sorted({*orders, *results, *self.seen}):
            order = orders.get(name)
            result = results.get(name)
            if order is not None and result is not None and result.ordered_at != order.ordered_at:
                result = None
            if (action := decider.decide(order, result, self.seen.get(name))) is not None:
                found.append((name, action))
        return found

    def _names(self) -> set[str]:
        return {*(name for name, r in self.world.results.items() if r.node == self.node), *self._said}

    def _result(self, name: str) -> Result | None:
        return self._said[name][1] if name in self._said else self.world.results.get(name)

    # -- acting ---------------------------------------------------------------------------------------------------

    def _act(self, group: asyncio.TaskGroup, name: str, action: Action) -> None:
        if name in self._busy:
            if isinstance(action, Watch) and action.stop and name in self._stops:
                self._why[name] = action.stop
                self._stops[name].set()
            return
        log.info("%s %s", type(action).__name__.lower(), name)
        match action:
            case Begin(run):
                work = self._begin(run)
            case Watch(run, stop):
                work = self._watch(run, stop)
            case Conclude(run, reason):
                work = self._conclude(run, reason)
            case Remove():
                work = self._remove(name)
        self._busy.add(name)
        group.create_task(self._guarded(name, work))

    async def _guarded(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except HecdError as err:
            log.warning("run failed name=%s reason=%s", name, err)
            await asyncio.sleep(1.0)
        finally:
            self._busy.discard(name)
            self._bell.set()

    async def _begin(self, run: Run) -> None:
        release = self.world.releases.get((run.service, run.release))
        if release is None or release.hooks.named(run.hook) is None:
            await self._say(run, "failed", f"release {run.release} has no {run.hook}")
            return
        guard = Unchanged(schema.key_of(run), self.world.revisions[schema.key_of(run)])
        try:
            await self._say(run, "preparing", guard=guard)
            await asked(self.once.prepare, release)
            await self._say(run, "starting", guard=guard)
        except EngineFault as err:
            await self._say(run, "failed", _brief(err))
            return
        except Conflict:
            return  # the order is another one by now
        try:
            self.seen[run.run] = await asked(self.once.start_run, run, release)
        except EngineFault as err:
            await self._say(run, "failed", _brief(err))

    async def _watch(self, run: Run, stop: str) -> None:
        """Wait for its end, or for its time; then stop it as an instance is stopped."""
        seen = self.seen[run.run]
        stopped = self._stops[run.run] = asyncio.Event()
        over, told = asyncio.create_task(self._exit(run.run)), asyncio.create_task(stopped.wait())
        saying = asyncio.create_task(self._say_running(run))
        try:
            if stop:
                self._why[run.run] = stop
                stopped.set()
            left_s = max(0.0, seen.started_at + run.timeout_s - time.time())
            await asyncio.wait({over, told}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if not over.done():
                why = self._why.setdefault(run.run, f"it took longer than {run.timeout_s:g} s")
                saying.cancel()
                saying = asyncio.create_task(self._say_running(run, why))  # before it may end well, all the same
                await self._stop(seen, over)
            await over
        finally:
            for task in (over, told, saying):
                task.cancel()
            await asyncio.wait({over, told, saying})
            del self._stops[run.run]
        self.seen[run.run] = replace(seen, running=False)

    async def _say_running(self, run: Run, why: str = "") -> None:
        result = self._result(run.run)
        if run.run not in self.world.runs or (result is not None and result.state == "running" and not why):
            return
        with suppress(Conflict):  # what was given up on the way must not arrive after its end
            await self._say(run, "running", why, guard=self._as_it_is(run))

    def _as_it_is(self, run: Run) -> Guard:
        """That nobody has written its result since."""
        key = schema.key_of(Result(run.run, run.service, run.release, run.hook, self.node))
        said = self._said.get(run.run)
        revision = said[0] if said and said[1] else self.world.revisions.get(key, 0)
        return Unchanged(key, revision) if revision else Absent(key)

    async def _stop(self, seen: SeenRun, over: asyncio.Task[None]) -> None:
        name, settings = InstanceName(seen.run.run), seen.release.settings
        with suppress(EngineFault):
            await asked(self.engine.signal, name, settings.stop_signal)
        await asyncio.wait({over}, timeout=settings.stop_grace_s)
        if not over.done():
            await asked(self.engine.signal, name, "SIGKILL")

    async def _exit(self, name: str) -> None:
        """Return when its container has ended."""
        try:
            fd = await asked(self.engine.exit_fd, InstanceName(name))
        except EngineFault:
            return  # somebody took the container away
        if fd is None:
            return
        ended, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(fd, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(fd)
            os.close(fd)

    async def _conclude(self, run: Run, reason: str) -> None:
        if reason:
            await self._say(run, "failed", reason)
            return
        try:
            ending = await asked(self.engine.ending, InstanceName(run.run))
        except EngineFault as err:
            ending = Ending(err.brief)
        before = self._result(run.run)
        why = self._why.pop(run.run, "") or (run.reason if run.order == "stop" else before.reason if before else "")
        good = ending.exit_code == 0 and not why
        told = ": ".join(filter(None, (why, ending.reason)))
        await self._say(run, "passed" if good else "failed", "" if good else told, ending.log_tail)

    async def _remove(self, name: str) -> None:
        await asked(self.engine.remove, InstanceName(name))
        self.seen.pop(name, None)
        self._why.pop(name, None)
        if (result := self._result(name)) is not None:
            self._said[name] = (await self.store.commit([schema.delete(result)]), None)

    async def _say(
        self, run: Run, state: str, reason: str = "", tail: tuple[str, ...] = (), guard: Guard | None = None
    ) -> None:
        """Write the result, however long etcd is away. Raises Conflict where `guard` does not hold."""
        before, seen = self._result(run.run), self.seen.get(run.run)
        begun_at = seen.started_at if seen else before.started_at if before else 0.0
        over_at = time.time() if state in ("passed", "failed") else 0.0
        result = Result(
            *(run.run, run.service, run.release, run.hook, self.node, state, reason, tail, begun_at, over_at),
            ordered_at=run.ordered_at,
        )
        while True:
            try:
                revision = await self.store.commit([schema.put(result)], [guard] if guard else [])
            except Conflict:
                raise
            except HecdError as err:
                log.warning("result not written run=%s reason=%s", run.run, err)
                await asyncio.sleep(getattr(err, "retry_after_s", 1.0))
                continue
            self._said[run.run] = (revision, result)
            log.info("%s %s reason=%s", state, run.run, reason)
            return


def _brief(err: EngineFault) -> str:
    return " ".join([err.brief, *err.details[:1]])
