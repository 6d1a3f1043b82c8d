"""A container engine in memory, with real file descriptors for ends, and a prober that answers as told."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from dataclasses import dataclass, field, replace

from registrator.agent.ports import Ending, Seen, SeenRun
from registrator.errors import EngineAway, EngineFault
from registrator.health.verdict import Probe
from registrator.model.hook import Run
from registrator.model.names import InstanceName
from registrator.model.release import Healthcheck, Release


@dataclass
class FakeEngine:
    """See agent.ports.Engine. `refuse` makes starts fail, for good reason to be repeated after `retry_after_s`; `away`
    makes every call fail; `stubborn` ignores every signal but SIGKILL."""

    refuse: str = ""
    retry_after_s: float | None = None
    away: bool = False
    stubborn: bool = False
    seen: dict[InstanceName, Seen] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    _ends: dict[InstanceName, list[int]] = field(default_factory=dict)
    _count: int = 0

    def _answer(self) -> None:
        if self.away:
            raise EngineAway("nobody answers", retry_after_s=0.02)

    def containers(self) -> list[Seen]:
        self._answer()
        return list(self.seen.values())

    def start(self, instance: InstanceName, release: Release) -> Seen:
        self._answer()
        self.calls.append(f"start {instance}")
        if self.refuse:
            raise EngineFault(self.refuse, retry_after_s=self.retry_after_s)
        self._count += 1
        before = self.seen.get(instance)
        address = before.address if before else f"10.0.0.{self._count}"
        self.seen[instance] = Seen(instance, release, True, address, time.time())
        return self.seen[instance]

    def signal(self, instance: InstanceName, signal: str) -> None:
        self._answer()
        self.calls.append(f"signal {instance} {signal}")
        if not self.stubborn or signal == "SIGKILL":
            self.die(instance)

    def exit_fd(self, instance: InstanceName) -> int | None:
        self._answer()
        if not self.seen[instance].running:
            return None
        reader, writer = os.pipe()
        self._ends.setdefault(instance, []).append(writer)
        return reader

    def remove(self, instance: InstanceName) -> None:
        self._answer()
        self.calls.append(f"remove {instance}")
        self.die(instance)
        self.seen.pop(instance, None)

    def ending(self, instance: InstanceName) -> Ending:
        self._answer()
        return Ending("exit code 3", ("last words",))

    def die(self, instance: InstanceName) -> None:
        """End it, however."""
        if instance in self.seen:
            self.seen[instance] = replace(self.seen[instance], running=False)
        for writer in self._ends.pop(instance, []):
            os.close(writer)


@dataclass
class FakeProber:
    """Answers `good`, or what `answers` has for an instance; `away`: it cannot look."""

    good: bool = True
    away: bool = False
    answers: dict[str, bool] = field(default_factory=dict)

    async def probe(self, instance: InstanceName, address: str, check: Healthcheck) -> Probe:
        await asyncio.sleep(0)
        if self.away:
            raise EngineAway("nobody answers", retry_after_s=0.02)
        good = self.answers.get(instance, self.good)
        return Probe(good, "" if good else "it said no")


@dataclass
class FakeOneOffs(FakeEngine):
    """See agent.ports.OneOffs. A run ends when the test calls `end`."""

    containers_of_runs: dict[str, SeenRun] = field(default_factory=dict)
    endings: dict[str, Ending] = field(default_factory=dict)
    missing_image: str = ""
    slow_image: threading.Event | None = None  # bringing the image takes until it is set
    _alone: threading.RLock = field(default_factory=threading.RLock)  # calls come from several threads

    def runs(self) -> list[SeenRun]:
        self._answer()
        return list(self.containers_of_runs.values())

    def prepare(self, release: Release) -> None:
        self._answer()
        if self.slow_image is not None:
            assert self.slow_image.wait(30)
        if self.missing_image:
            raise EngineFault(self.missing_image)

    def start_run(self, run: Run, release: Release) -> SeenRun:
        self._answer()
        self.calls.append(f"start {run.run}")
        if self.refuse:
            raise EngineFault(self.refuse)
        self.containers_of_runs[run.run] = SeenRun(run, release, True, time.time())
        return self.containers_of_runs[run.run]

    def exit_fd(self, instance: InstanceName) -> int | None:
        self._answer()
        with self._alone:
            if not self.containers_of_runs[instance].running:
                return None
            reader, writer = os.pipe()
            self._ends.setdefault(instance, []).append(writer)
            return reader

    def end(self, name: str, exit_code: int) -> None:
        """It ends by itself."""
        self.endings[name] = Ending(f"exit code {exit_code}", ("last words",), exit_code)
        self.die(InstanceName(name))

    def die(self, instance: InstanceName) -> None:
        with self._alone:
            if instance in self.containers_of_runs:
                self.containers_of_runs[instance] = replace(self.containers_of_runs[instance], running=False)
            super().die(instance)

    def ending(self, instance: InstanceName) -> Ending:
        self._answer()
        return self.endings.get(instance, Ending("killed by SIGTERM", (), 143))

    def remove(self, instance: InstanceName) -> None:
        super().remove(instance)
        self.containers_of_runs.pop(instance, None)
