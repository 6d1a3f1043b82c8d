"""What a compose file would change. Pure: (project, world) -> changes, each with its reasons and its writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import product
from typing import Any

from registrator.control.placement import Board, NoPlace
from registrator.errors import HecdError
from registrator.model.hook import HOOKS, Hooks
from registrator.model.names import ReleaseNumber, ServiceName
from registrator.model.release import Release
from registrator.model.service import Project, Service, ServiceSpec
from registrator.model.switch import BLUE_GREEN
from registrator.model.traffic import Port, Traffic
from registrator.registry import schema
from registrator.registry.store import Absent, Delete, Guard, Unchanged, Write
from registrator.registry.world import World

KEPT_RELEASES = 10


@dataclass(frozen=True)
class Change:
    """What happens to one service. kind: "create" | "release" | "update" | "nothing".

    `reloads` tells whether HAProxy has to reload for it (new or other sections) or only servers come and go.
    """

    service: ServiceName
    kind: str
    release: ReleaseNumber
    reasons: tuple[str, ...] = ()
    reloads: bool = False
    places: tuple[str, ...] = ()  # where its instances would go now, and why, or why not
    writes: tuple[Write, ...] = ()
    guards: tuple[Guard, ...] = ()
    service_record: Service | None = None  # what is written; None: nothing
    release_record: Release | None = None


def plan(project: Project, world: World, digests: Mapping[str, str], *, now: float, who: str) -> list[Change]:
    """The changes that bring `world` to `project`. `digests` has the digest of every image that the project names.

    Raises HecdError naming every clash of published ports at once.
    """
    refuse_clashes({spec.name: spec.traffic for spec in project.services}, world)
    return [_change(spec, world, digests[spec.settings.image], now, who) for spec in project.services]


def refuse_clashes(wanted: Mapping[ServiceName, Traffic], world: World) -> None:
    """Raises HecdError naming every published port that two services would share."""
    clashes = list(_clashes(wanted, world))
    if clashes:
        raise HecdError("published ports clash", details=tuple(clashes), hint="Publish another port, hostname or path.")


def _change(spec: ServiceSpec, world: World, digest: str, now: float, who: str) -> Change:
    settings = replace(spec.settings, digest=digest)
    before = world.services.get(spec.name)
    current = world.releases.get((spec.name, before.release)) if before else None
    differences: tuple[str, ...] = ()
    if current is not None:
        differences = (*_differences(current.settings, settings), *_hooks(current.hooks, spec.hooks))
    rollout = world.rollouts.get(spec.name)
    failed = before is not None and rollout is not None and rollout.failed(before.release)
    same = current is not None and not differences and not failed
    number = current.number if current is not None and same else next_release(spec.name, world)
    service = Service(spec.name, number, spec.replicas, spec.update, spec.traffic, spec.placement, now, who)
    reasons, kind = differences, "release"
    if failed and not differences and rollout is not None:
        reasons = (f"release {rollout.release} failed; it is tried again",)
    if before is None or current is None:
        count = "one replica on each node" if spec.placement.every_node else f"{spec.replicas} replicas"
        kind, reasons = "create", (f"{count} of {spec.settings.image}",)
    elif same:
        reasons = _differences(before, replace(service, updated_at=before.updated_at, updated_by=before.updated_by))
        kind = "update" if reasons else "nothing"
    if kind == "nothing":
        return Change(spec.name, kind, number, (f"release {number} is what the file asks for",))
    writes: list[Write] = [schema.put(service)]
    release = None if same else Release(spec.name, number, settings, now, who, spec.hooks)
    if release is not None:
        writes += [schema.put(release), *_forgotten(spec.name, world)]
    reloads = before is None or _structure(before) != _structure(service)
    places = tuple(_unplaced(service, world) if same else _places(service, spec.hooks, world))
    guards = (_guard(service, before, world),)
    return Change(spec.name, kind, number, reasons, reloads, places, tuple(writes), guards, service, release)


def _places(service: Service, hooks: Hooks, world: World) -> Iterator[str]:
    """Each node that would get instances of the release as things are now, and why the first of them."""
    services = {**world.services, service.service: service}
    board = Board(world.nodes, world.assignments.values(), (), services, world.availability)
    count = board.wanted(service, ())
    found: dict[str, list[str]] = {}
    if any(hooks.named(name) for name in HOOKS):
        once = board.place_once(service)
        if isinstance(once, NoPlace):
            yield f"its hooks can't be run: {once.reason}"
    for n in range(count):
        place = board.place(service, service.release)
        if isinstance(place, NoPlace):
            two = "no room for two sets, as strategy blue-green takes: " if _two_sets(service, world) else ""
            yield f"{two}{count - n} can't be placed: {place.reason}"
            break
        found.setdefault(place.node, []).append(place.reason)
    yield from (f"{len(reasons)} on {name}: {reasons[0]}" for name, reasons in sorted(found.items()))


def _unplaced(service: Service, world: World) -> Iterator[str]:
    """What finds no place when only the wishes of a release that runs change: its steps tell the rest."""
    board = Board(
        world.nodes, world.assignments.values(), (), {**world.services, service.service: service}, world.availability
    )
    there = [a for a in world.assigned(service.service) if not a.drain]
    leaving = board.leaving(service, there)
    missing = board.wanted(service, there) - len(there) + len(leaving)
    for n in range(missing):
        place = board.place(service, service.release)
        if isinstance(place, NoPlace):
            stay = f"; {len(leaving)} stay where they are until there is one" if leaving else ""
            yield f"{missing - n} can't be placed: {place.reason}{stay}"
            return


def _two_sets(service: Service, world: World) -> bool:
    return service.update.strategy == BLUE_GREEN and any(world.assigned(service.service))


def next_release(service: ServiceName, world: World) -> ReleaseNumber:
    """A number that no release and no running instance of `service` has."""
    seen = [n for name, n in world.releases if name == service]
    seen += [i.release for i in world.of_service(service)]
    return ReleaseNumber(max(seen, default=0) + 1)


def _guard(service: Service, before: Service | None, world: World) -> Guard:
    key = schema.key_of(service)
    return Unchanged(key, world.revisions[key]) if before else Absent(key)


def _forgotten(service: ServiceName, world: World) -> Iterator[Delete]:
    """Releases beyond those kept; never one that runs, or is to run."""
    used = {i.release for i in world.of_service(service)} | {a.release for a in world.assigned(service)}
    if (rollout := world.rollouts.get(service)) is not None:
        used |= {rollout.release, rollout.stable}
    mine = sorted((r for (name, _), r in world.releases.items() if name == service), key=lambda r: r.number)
    for release in mine[: -(KEPT_RELEASES - 1)]:
        if release.number not in used:
            yield schema.delete(release)
            if (outcome := world.history.get((service, release.number))) is not None:
                yield schema.delete(outcome)


def _clashes(wanted: Mapping[ServiceName, Traffic], world: World) -> Iterator[str]:
    claims: dict[tuple[int, str, str], str] = {}
    modes: dict[int, tuple[str, str]] = {}
    others = [(s.service, s.traffic) for s in world.services.values() if s.service not in wanted]
    for name, traffic in [*others, *wanted.items()]:
        for port in traffic.ports:
            mode, owner = modes.setdefault(port.published, (_spoken(port, traffic), name))
            if mode != _spoken(port, traffic):
                yield f"services.{name}.ports: {port.published} is {mode} already, for {owner}"
            for hostname, path in product(port.hostnames or ("",), port.paths or ("",)):
                owner = claims.setdefault((port.published, hostname, path), name)
                if owner != name:
                    what = [f"host {hostname}"] * bool(hostname) + [f"path {path}"] * bool(path)
                    told = f" with {' and '.join(what)}" if what else ""
                    yield f"services.{name}.ports: {port.published}{told} is published by {owner} already"


def _spoken(port: Port, traffic: Traffic) -> str:
    """What is spoken on a published port: one thing, whoever publishes it."""
    tls = traffic.tls is not None and port.published == traffic.tls.port
    return f"{port.mode} with TLS" if tls else port.mode


def _structure(service: Service) -> Any:
    """What makes sections of haproxy.cfg differ, apart from their servers."""
    return replace(service.traffic, drain_timeout_s=0.0, drain_spread_s=0.0)


def _differences(before: Any, after: Any, at: str = "") -> tuple[str, ...]:
    """Each value that differs, as `path: old -> new`. Environment values are not shown: they may be secrets."""
    if before == after:
        return ()
    if is_dataclass(before) and type(before) is type(after):
        found = (
            _differences(getattr(before, f.name), getattr(after, f.name), _join(at, f.name)) for f in fields(before)
        )
        return tuple(line for lines in found for line in lines)
    if at.endswith("environment"):
        names = sorted(n for n in {*before, *after} if before.get(n) != after.get(n))
        return tuple(f"{at}.{name} changed" for name in names)
    return (f"{at}: {_shown(before)} -> {_shown(after)}",)


def _hooks(before: Hooks, after: Hooks) -> Iterator[str]:
    """Each hook that differs. What it is started with is not shown whole: that may hold secrets."""
    for name in HOOKS:
        old, new = before.named(name), after.named(name)
        if old is None or new is None:
            if old != new:
                yield f"hooks.{name}: {'is new: ' + _shown(' '.join(new.command)) if new else 'is gone'}"
        else:
            yield from _differences(old, new, f"hooks.{name}")


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    if is_dataclass(value):
        text = " ".join(f"{f.name}={_shown(getattr(value, f.name))}" for f in fields(value))
    return text if len(text) <= 80 else text[:77] + "..."
