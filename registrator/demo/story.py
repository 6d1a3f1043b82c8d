"""The steps of the demo, told as they happen and measured."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from registrator.agent.drivers.runtime import Local
from registrator.errors import HecdError, ReleaseFailed
from registrator.model.names import InstanceName, ReleaseNumber, ServiceName, backend_name
from registrator.model.service import Project
from registrator.orders import follow, give
from registrator.orders.plan import plan
from registrator.registry.store import Store
from registrator.registry.world import Reader, World

WEB = ServiceName("web")
WHO = "hecd demo"
KILL_NOTICED_S = 0.3  # requests inside the killed container are answered, or failed, within this time


@dataclass(frozen=True)
class Step:
    """One line of the result."""

    name: str
    seconds: float
    remark: str = ""


@dataclass
class Story:
    """What was done, how long it took, and what the load saw."""

    store: Store
    local: Local
    node: str
    port: int
    say: Callable[[str], None]
    steps: list[Step] = field(default_factory=list)
    killed: str = ""
    killed_at: float = 0.0
    load_at: float = 0.0
    reloaded: int = 0  # reloads of HAProxy while the load ran
    report: dict[str, Any] = field(default_factory=dict)

    async def deploy(self, project: Project, name: str) -> None:
        """Deploy and wait until exactly the new release serves. Raises ReleaseFailed."""
        digests = {spec.settings.image: self.local.digest(spec.settings.image) for spec in project.services}
        changes = plan(project, self.world(), digests, now=time.time(), who=WHO)
        wanted: dict[ServiceName, ReleaseNumber] = {c.service: c.release for c in changes}
        begun = time.monotonic()
        revision = await give.deploy(self.store, changes, now=time.time(), who=WHO)
        settled: list[float] = []

        def show(now: follow.Standing) -> None:
            self.say(now.line())
            if now.settled and now.state in ("monitoring", "done") and not settled:
                settled.append(time.monotonic() - begun)

        ended = await follow.releases(self.store, wanted, after=revision, show=show)
        if ended[WEB].state != "done":
            raise ReleaseFailed(ended[WEB].reason, details=ended[WEB].log_tail)
        self.steps.append(
            Step(name, settled[0], f"{changes[0].release} serves, {sum(s.replicas for s in project.services)} replicas")
        )

    async def kill_one(self) -> None:
        """Kill a container by force; wait until it is out of the load balancer, and until it serves again."""
        victim = min(i.instance for i in self.world().of_service(WEB) if i.serving)
        self.killed, self.killed_at, begun = victim, time.time(), time.monotonic()
        self.local.kill(victim)
        await follow.until(
            self.store, lambda w: not self._served(w, victim), 10.0, f"{victim} leaves the load balancer"
        )
        out_s = time.monotonic() - begun
        await follow.until(self.store, lambda w: self._served(w, victim), 10.0, f"{victim} serves again")
        self.steps.append(
            Step(
                "kill -9 of a container",
                time.monotonic() - begun,
                f"{victim} out of HAProxy after {out_s * 1000:.0f} ms",
            )
        )
        self.say(f"{victim} was killed, taken out after {out_s * 1000:.0f} ms, and serves again")

    async def scale(self, count: int, before: int) -> None:
        """Scale and wait until just so many serve."""
        begun = time.monotonic()
        await give.scale(self.store, self.world(), {WEB: count}, now=time.time(), who=WHO)

        def there(world: World) -> bool:
            now = follow.standing(world, WEB)
            return now is not None and now.replicas == count and now.settled

        await follow.until(self.store, there, 60.0, f"scaling to {count}")
        self.steps.append(Step(f"scale {before} -> {count}", time.monotonic() - begun))
        self.say(f"{count} serve")

    @asynccontextmanager
    async def load(self, kept: int, kept_rate: float, fresh_rate: float) -> AsyncIterator[None]:
        """Requests from a process of their own while the block runs; `report` is what they saw."""
        words = [
            "--port",
            self.port,
            "--kept",
            kept,
            "--kept-rate",
            kept_rate,
            "--fresh-rate",
            fresh_rate,
            "--seconds",
            300,
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "registrator.demo.load", *map(str, words),
            stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL, limit=1 << 24, start_new_session=True,
        )  # fmt: skip
        self.load_at = time.time()
        try:
            yield
        finally:
            if process.returncode is None:
                process.terminate()
            out, _ = await process.communicate()
        if not out:
            raise HecdError("the load generator said nothing")
        self.report = json.loads(out.splitlines()[-1])

    def world(self) -> World:
        """The registry as it is now."""
        return Reader().read(self.store.snapshot())

    def reloads(self) -> int:
        """How often HAProxy has reloaded so far."""
        return self.world().edges[self.node].reloads  # type: ignore[index]

    def inside_killed(self) -> list[dict[str, Any]]:
        """Failures of requests that were in the killed container at that instant and could not be repeated."""
        return [f for f in self.report["failures"] if self._inside(f)]

    def _inside(self, failure: dict[str, Any]) -> bool:
        begun, ended = failure["sent_at"], failure["ended_at"]
        alive = begun <= self.killed_at + KILL_NOTICED_S and ended >= self.killed_at
        return bool(self.killed) and alive and failure["method"] == "POST" and self._named(failure)

    def _named(self, failure: dict[str, Any]) -> bool:
        """Whether the killed instance had it. On a kept connection HAProxy hands the broken one on without a word."""
        return failure["instance"] == self.killed or (failure["kind"] == "reset" and not failure["fresh"])

    def _served(self, world: World, instance: str) -> bool:
        service = world.services[WEB]
        seen = world.instances.get(InstanceName(instance))
        names = [backend_name(WEB, p.target) for p in service.traffic.ports]
        edges = world.edges.values()
        states = [r.open for e in edges for n in names if (r := e.servers.get(n, {}).get(instance)) is not None]
        return seen is not None and seen.serving and bool(states) and all(states)


def at_port(project: Project, port: int) -> Project:
    """The project with its one published port moved."""
    services = tuple(
        replace(s, traffic=replace(s.traffic, ports=tuple(replace(p, published=port) for p in s.traffic.ports)))
        for s in project.services
    )
    return replace(project, services=services)
