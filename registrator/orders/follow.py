"""How an order is doing: watches the registry until a rollout has ended, or a service is as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from registrator.control import bluegreen, canary
from registrator.control.view import ServiceView
from registrator.errors import HecdError, ReleaseFailed
from registrator.model.names import ReleaseNumber, ServiceName
from registrator.model.rollout import Rollout
from registrator.model.service import Service
from registrator.orders import hooks
from registrator.registry.schema import key_of
from registrator.registry.store import Store
from registrator.registry.world import Reader, World

APPLIED_WITHIN_S = 5.0
NONE = ReleaseNumber(0)


@dataclass(frozen=True)
class Standing:
    """How far a service is: instances of the wanted release that serve, those not yet, those that fail, old ones, those
    leaving."""

    service: ServiceName
    release: ReleaseNumber
    state: str
    ready: int = 0
    starting: int = 0
    old: int = 0
    draining: int = 0
    replicas: int = 0
    reason: str = ""
    hook: str = ""  # the one that is waited for, and how far it is
    kept: int = 0  # old ones that stay for a while without requests
    share: float = 0.0  # of the requests, in percent, while it is on trial
    failing: tuple[str, ...] = ()  # a line for each of the wanted release that is broken or crashes again and again
    lost: int = 0  # of the wanted release, with nodes that are gone
    others: int = 0  # of other releases, that could serve
    left: ReleaseNumber = NONE  # the one that is gone back from: `release` is what serves instead of it

    @property
    def settled(self) -> bool:
        """Whether just the wanted instances run, and all of them serve."""
        return self.ready == self.replicas and not (self._unsettled or self.old)

    @property
    def enough(self) -> bool:
        """Whether as many serve as are wanted; where a release is to stand for a while, of both together."""
        stands = self.state in ("canary", "held", "paused")
        return self.settled or (stands and self.ready + self.others >= self.replicas and not self._unsettled)

    @property
    def _unsettled(self) -> bool:
        return bool(self.starting or self.failing or self.lost or self.draining)

    def line(self) -> str:
        """One line for a person."""
        if self.release == 0:
            return f"{self.service} {self.state}: {self.ready}/{self.replicas} serving"
        parts = [self.hook] if self.hook else []
        parts += [f"{self.ready}/{self.replicas} {'warm' if self.state == 'warming' else 'serving'}"]
        parts += [f"{self.starting} starting"] if self.starting else []
        parts += [f"{len(self.failing)} failing ({self.failing[0]})"] if self.failing else []
        parts += [f"{self.lost} lost with their node"] if self.lost else []
        parts += [f"{self.old} of the old release"] if self.old else []
        parts += [f"{self.kept} of the old release kept"] if self.kept else []
        parts += [f"{self.draining} draining"] if self.draining else []
        share = f" at {self.share:g} %" if self.share else ""
        back = f"{self.left} {self.state} to release " if self.left else ""
        state = "" if self.left else f" {self.state}{share}"
        return f"{self.service} release {back}{self.release}{state}: {', '.join(parts)}"


def standing(world: World, name: ServiceName) -> Standing | None:
    """Where `name` stands in `world`; None when there is no such service."""
    if (service := world.services.get(name)) is None:
        return None
    if service.foreign:
        announced = [i for i in world.instances.values() if i.service == name]
        serving = sum(i.serving for i in announced)
        return Standing(name, service.release, "announced", serving, replicas=len(announced))
    view = ServiceView.of(world, service)
    rollout = view.rollout
    current = rollout is not None and rollout.release == service.release
    target = rollout.target if rollout and current else service.release
    new = [a for a in view.live if a.release == target]
    ready = sum(view.ready(a) for a in new)
    failing = [a for a in new if not view.ready(a) and view.failing(a)]
    lost = [a for a in new if a.node not in view.nodes and a.instance not in view.instances]
    kept = len(bluegreen.kept(view, rollout, 0.0)) if rollout and current else 0
    return Standing(
        name,
        target,
        rollout.state if rollout and current else "waiting for the control loop",
        ready,
        len(new) - ready - len(failing) - len(lost),
        len(view.live) - len(new) + len(view.unclaimed) - kept,
        len(view.draining),
        rollout.wanted if rollout and service.placement.every_node else service.replicas,
        rollout.reason if rollout and current else "",
        hooks.under_way(world, rollout) if rollout and current else "",
        kept,
        canary.step_of(view, rollout.trial).weight if rollout and rollout.trial and rollout.state == "canary" else 0.0,
        tuple(f"{a.instance} on {a.node}: {view.instances[a.instance].trouble}" for a in failing),
        len(lost),
        sum(view.ready(a) for a in view.live if a not in new),
        rollout.release if rollout and current and target != rollout.release else NONE,
    )


def ends(world: World, ended: Mapping[ServiceName, Rollout]) -> list[str]:
    """A line for each release that is done: that it serves, or how much of it, where instances fail."""
    return [_end(r, standing(world, name)) for name, r in ended.items() if r.state == "done"]


def _end(rollout: Rollout, now: Standing | None) -> str:
    told = f"is done, but {now.ready}/{now.replicas} serve" if now and now.failing else "serves"
    return f"{rollout.service}: release {rollout.release} {told}"


async def worlds(store: Store) -> AsyncIterator[World]:
    """The world now, and again after every change."""
    reader = Reader()
    while True:
        snapshot = store.snapshot()
        yield reader.read(snapshot)
        await store.changed(snapshot.mark)


async def until(
    store: Store,
    good: Callable[[World], bool],
    within_s: float | None,
    what: str,
    *,
    watch: ServiceName | None = None,
    show: Callable[[Standing], None] = lambda _: None,
) -> World:
    """The first world that is `good`; `show` is handed each step of the service `watch` meanwhile.

    Raises HecdError when `within_s` passes; None waits for ever.
    """
    shown: Standing | None = None
    try:
        async with asyncio.timeout(within_s):
            async for world in worlds(store):
                if good(world):
                    return world
                now = standing(world, watch) if watch else None
                if now is not None and now != shown:
                    shown = now
                    show(now)
    except TimeoutError:
        pass
    details = (shown.line(), shown.reason) if shown else ()
    raise HecdError(
        f"{what}: not within {within_s:g} s", details=tuple(filter(None, details)), hint="`hecd status` tells more."
    )


async def releases(
    store: Store, wanted: dict[ServiceName, ReleaseNumber], *, after: int, show: Callable[[Standing], None]
) -> dict[ServiceName, Rollout]:
    """Wait until every wanted release has ended and every load balancer has applied it, showing each step.

    `after` is the order's revision. Raises ReleaseFailed when another order overtakes it.
    """
    shown: dict[ServiceName, Standing] = {}
    async for world in worlds(store):
        if world.revision < after:
            continue
        _check_overtaken(world, wanted)
        for name in wanted:
            if (now := standing(world, name)) is not None and shown.get(name) != now:
                shown[name] = now
                show(now)
        ended = {n: r for n, r in world.rollouts.items() if wanted.get(n) == r.release and r.over}
        if len(ended) == len(wanted):
            with suppress(HecdError):  # a load balancer that is away would be waited for without end
                await until(store, partial(_all_there, ended=ended), APPLIED_WITHIN_S, "the end")
            await _applied(store, max(world.revisions[key_of(world.services[name])] for name in wanted))
            return ended
    raise AssertionError("worlds never end")


async def replicas(
    store: Store,
    wanted: Mapping[ServiceName, int],
    within_s: float,
    *,
    after: int,
    show: Callable[[Standing], None] = lambda _: None,
) -> None:
    """Wait until so many instances of each service run, and all of them serve. `after` is the order's revision.

    Raises ReleaseFailed when another order overtakes it, HecdError when `within_s` passes.
    """

    def there(world: World) -> bool:
        if world.revision < after:
            return False
        _check_count(world, wanted)
        now = [standing(world, name) for name in wanted]
        return all(s is not None and s.replicas == wanted[s.service] and s.enough for s in now)

    await until(store, there, within_s, "scaling", watch=next(iter(wanted)), show=show)


def _check_count(world: World, wanted: Mapping[ServiceName, int]) -> None:
    for name, count in wanted.items():
        service = world.services.get(name)
        if service is None:
            raise ReleaseFailed(f"{name} was removed meanwhile")
        if service.replicas != count:
            wanted_now = f"{service.replicas} are wanted now{_by(service)}"
            raise ReleaseFailed(f"scaling {name} to {count} was overtaken: {wanted_now}")


def _check_overtaken(world: World, wanted: dict[ServiceName, ReleaseNumber]) -> None:
    for name, release in wanted.items():
        service = world.services.get(name)
        if service is None or (service.replicas == 0 and service.release != release):
            raise ReleaseFailed(f"{name} was removed meanwhile")
        if service.release != release:
            raise ReleaseFailed(f"release {release} of {name} was overtaken by release {service.release}{_by(service)}")


def _by(service: Service) -> str:
    """Who ordered what is wanted now."""
    return f" ({service.updated_by})" if service.updated_by else ""


async def _applied(store: Store, revision: int) -> None:
    """Wait until every load balancer has applied `revision`. Raises ReleaseFailed with what one of them says.

    One that is held up by an old process acknowledges late: that is not waited for.
    """

    def done(world: World) -> bool:
        return all(e.applied_revision >= revision or e.error for e in world.edges.values())

    try:
        world = await until(store, done, APPLIED_WITHIN_S, "load balancers")
    except HecdError:
        return
    for edge in world.edges.values():
        if edge.error:
            hint = "The configuration before it goes on. Mend the cause and deploy again."
            raise ReleaseFailed(f"load balancer on {edge.node}: {edge.error}", hint=hint)


def _all_there(world: World, ended: dict[ServiceName, Rollout]) -> bool:
    now = {name: standing(world, name) for name, rollout in ended.items() if rollout.state == "done"}
    return all(here is None or here.settled for here in now.values())
