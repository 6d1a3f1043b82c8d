"""What of the part of the world that a plan read has changed since. Pure.

A plan reads, of its services, what is wanted, their releases and how their rollouts stand; and what operators said
about nodes. It does not read which nodes and instances are alive: where an instance goes is decided when it is started.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from registrator.model.names import ServiceName
from registrator.registry.schema import ROOT
from registrator.registry.store import Absent, Guard, Unchanged
from registrator.registry.world import World


def moved(world: World, services: Collection[ServiceName], since: int) -> list[str]:
    """Each change after the revision `since`, in words; what was removed shows by who ordered it."""
    found = [f"{key.removeprefix(ROOT)} changed at revision {world.revisions[key]}" for key in _read(world, services)
             if world.revisions[key] > since]  # fmt: skip
    for id_, deed in sorted(world.audit.items()):
        revision = world.revisions.get(f"{ROOT}audit/{id_}", 0)
        if revision > since and (deed.target in services or deed.what in ("drain", "cordon", "activate", "restore")):
            found.append(f"{deed.who} at revision {revision}: {deed.what} {deed.target} {deed.detail}".rstrip())
    return found


def unmoved(world: World, services: Collection[ServiceName]) -> list[Guard]:
    """The guards that let a write through only while nothing of that part is another than in `world`."""
    keys = [f"{ROOT}{room}/{name}" for name in services for room in ("services", "rollouts")]  # releases go with these
    return [Unchanged(key, world.revisions[key]) if key in world.revisions else Absent(key) for key in keys]


def _read(world: World, services: Collection[ServiceName]) -> Iterator[str]:
    for key in sorted(world.revisions):
        room, _, rest = key.removeprefix(ROOT).partition("/")
        if room in ("services", "releases", "rollouts") and rest.partition("/")[0] in services:
            yield key
