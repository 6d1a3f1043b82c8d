"""How an order is doing: watches the registry until a rollout has ended, or a service is as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass

from registrator.control.view import ServiceView
from registrator.errors import HecdError
from registrator.model.names import ReleaseNumber, ServiceName
from registrator.model.rollout import ENDED, Rollout
from registrator.registry.store import Store
from registrator.registry.world import Reader, World


@dataclass(frozen=True)
class Standing:
    """How far a service is: instances of the wanted release that serve, those not yet, old ones, those leaving."""

    service: ServiceName
    release: ReleaseNumber
    state: str
    ready: int = 0
    starting: int = 0
    old: int = 0
    draining: int = 0
    replicas: int = 0
    reason: str = ""

    @property
    def settled(self) -> bool:
        """Whether just the wanted instances run, and all of them serve."""
        return self.ready == self.replicas and not (self.starting or self.old or self.draining)

    def line(self) -> str:
        """One line for a person."""
        parts = [f"{self.ready}/{self.replicas} serving"]
        parts += [f"{n} {word}" for n, word in ((self.starting, "starting"), (self.old, "of the old release")) if n]
        parts += [f"{self.draining} draining"] if self.draining else []
        return f"{self.service} release {self.release} {self.state}: {', '.join(parts)}"


def standing(world: World, name: ServiceName) -> Standing | None:
    """Where `name` stands in `world`; None when there is no such service."""
    if (service := world.services.get(name)) is None:
        return None
    view = ServiceView.of(world, service)
    rollout = view.rollout
    current = rollout is not None and rollout.release == service.release
    target = rollout.target if rollout and current else service.release
    new = [a for a in view.live if a.release == target]
    ready = sum(view.ready(a) for a in new)
    return Standing(
        name,
        target,
        rollout.state if rollout and current else "waiting for the control loop",
        ready,
        len(new) - ready,
        len(view.live) - len(new) + len(view.unclaimed),
        len(view.draining),
        service.replicas,
        rollout.reason if rollout and current else "",
    )


async def worlds(store: Store) -> AsyncIterator[World]:
    """The world now, and again after every change."""
    reader = Reader()
    while True:
        snapshot = store.snapshot()
        yield reader.read(snapshot)
        await store.changed(snapshot.mark)


async def until(store: Store, good: Callable[[World], bool], within_s: float, what: str) -> World:
    """The first world that is `good`. Raises HecdError when `within_s` passes."""
    try:
        async with asyncio.timeout(within_s):
            async for world in worlds(store):
                if good(world):
                    return world
    except TimeoutError:
        pass
    raise HecdError(f"{what}: not within {within_s:g} s", hint="`hecd status` tells more.")


async def releases(
    store: Store, wanted: dict[ServiceName, ReleaseNumber], *, after: int, show: Callable[[Standing], None]
) -> dict[ServiceName, Rollout]:
    """Wait until the rollout of every wanted release has ended, showing each step. `after` is the order's revision."""
    shown: dict[ServiceName, Standing] = {}
    async for world in worlds(store):
        if world.revision < after:
            continue
        for name in wanted:
            if (now := standing(world, name)) is not None and shown.get(name) != now:
                shown[name] = now
                show(now)
        ended = {n: r for n, r in world.rollouts.items() if wanted.get(n) == r.release and r.state in ENDED}
        if _all_there(wanted, ended, shown):
            return ended
    raise AssertionError("worlds never end")


def _all_there(
    wanted: Collection[ServiceName], ended: dict[ServiceName, Rollout], shown: dict[ServiceName, Standing]
) -> bool:
    return all(n in ended and (ended[n].state != "done" or shown[n].settled) for n in wanted)
