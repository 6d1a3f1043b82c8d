"""Names that somebody typed: whether there is such a thing, and what was meant where there is none. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from registrator.errors import NotFound
from registrator.registry.world import World

LISTED = 12


def services(world: World) -> set[str]:
    """What is deployed or served, and what runs though nobody orders it any more."""
    left = {i.service for i in world.instances.values()} | {a.service for a in world.assignments.values()}
    return {*map(str, world.services), *map(str, left)}


def ordered(world: World) -> set[str]:
    """Whatever orders are kept about: services and nodes, those that are gone, too."""
    return services(world) | _nodes(world) | {deed.target for deed in world.audit.values()}


def anything(world: World) -> set[str]:
    """Whatever events are about: services, nodes and instances."""
    instances = {*map(str, world.instances), *(str(a.instance) for a in world.assignments.values())}
    return ordered(world) | instances | {str(service) for service, _ in world.history}


def need(names: Iterable[str], known: Collection[str], what: str, offered: Collection[str] | None = None) -> None:
    """Raises NotFound for the first of `names` that is not `known`; the `offered` are listed, all by default."""
    for name in names:
        if name not in known:
            raise unknown(name, known, what, offered)


def unknown(name: str, known: Collection[str], what: str, offered: Collection[str] | None = None) -> NotFound:
    """There is no `what` of that name; the hint says which there are."""
    near = get_close_matches(name, sorted(known), 1)
    listed = sorted(known if offered is None else offered)
    more = f", and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    there = ", ".join(listed[:LISTED]) + more if listed else "none yet; `hecd deploy -f compose.yaml` makes some"
    meant = f"Did you mean {near[0]}? " if near else ""
    return NotFound(f"there is no {what} {name!r}", hint=f"{meant}Known: {there}.")


def _nodes(world: World) -> set[str]:
    assigned = {str(node) for node, _ in world.assignments}
    return {*map(str, world.nodes), *map(str, world.availability), *assigned}
