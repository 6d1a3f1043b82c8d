"""Orders, written to the registry: deploy, scale, roll back, remove, restore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from secrets import token_hex
from typing import Any

from registrator.control.steering import no_way_back
from registrator.errors import HecdError, NotFound
from registrator.model.deed import Deed
from registrator.model.demotion import Demotion
from registrator.model.hold import OPERATOR, Hold
from registrator.model.ledger import Ledger
from registrator.model.lock import Lock
from registrator.model.names import NodeName, ReleaseNumber, ServiceName
from registrator.model.placement import Availability
from registrator.model.rollout import Rollout
from registrator.model.service import MAX_REPLICAS, Service, Traffic
from registrator.model.steering import MAY, Steering
from registrator.orders.known import services, unknown
from registrator.orders.plan import Change, refuse_clashes
from registrator.registry import schema
from registrator.registry.acknowledgement import without_holder
from registrator.registry.store import MOST_AT_ONCE, Absent, Delete, Guard, Put, Store, Unchanged, Write, portions
from registrator.registry.world import World


async def deploy(store: Store, changes: Sequence[Change], *, now: float, who: str, under: Sequence[Guard] = ()) -> int:
    """Write all changes at once, and confirm with them that etcd's records are what is wanted; the revision.

    `under` are further guards, such as those of a lock. Raises Conflict; HecdError where it is too much at once.
    """
    writes: list[Write] = [write for change in changes for write in change.writes]
    writes += [deed(now, who, "deploy", c.service, _deployed(c)) for c in changes if c.kind != "nothing"]
    writes.append(schema.put(Ledger(now, who)))
    guards: list[Guard] = [*(guard for change in changes for guard in change.guards), *under]
    if max(len(writes), len(guards)) > MOST_AT_ONCE:
        hint = "Put its services into several files: each is deployed as a whole, or not at all."
        raise HecdError(f"{len(changes)} services are more than etcd takes at once", hint=hint)
    return await store.commit(writes, guards)


def deed(now: float, who: str, what: str, target: str, detail: str = "") -> Put:
    """The write that enters an order in the audit: it belongs to the order's own transaction."""
    return schema.put(Deed(f"{int(now * 1000):013d}-{token_hex(4)}", now, who, what, target, detail))


def _deployed(change: Change) -> str:
    what = "settings of" if change.kind == "update" else ""
    return f"{what} release {change.release}: {'; '.join(change.reasons)[:300]}".strip()


async def scale(store: Store, world: World, wanted: Mapping[ServiceName, int], *, now: float, who: str) -> int:
    """Set the replicas of services; the revision. Raises NotFound, Conflict."""
    found = {name: service_named(world, name) for name in wanted}
    for name in (name for name, service in found.items() if service.foreign):
        hint = "Start or stop its containers where they run; they announce themselves."
        raise HecdError(f"{name} is not run by HECD", hint=hint)
    for name in (name for name, service in found.items() if service.placement.every_node):
        raise HecdError(f"{name} has one instance on each node", hint="`deploy.mode: replicated` has a number of them.")
    for name in (name for name, count in wanted.items() if count > MAX_REPLICAS):
        raise HecdError(f"{name}: {wanted[name]} replicas are too many", hint=f"At most {MAX_REPLICAS}.")
    changed = [replace(s, replicas=wanted[n], updated_at=now, updated_by=who) for n, s in found.items()]
    told = [deed(now, who, "scale", s.service, f"{found[s.service].replicas} -> {s.replicas}") for s in changed]
    return await store.commit([*(schema.put(s) for s in changed), *told], [_unchanged(s, world) for s in changed])


async def set_availability(store: Store, world: World, name: NodeName, state: str, *, now: float, who: str) -> int:
    """Say whether a node takes instances, keeps them, or is to be emptied; the revision. Raises NotFound."""
    if name not in world.nodes and name not in world.availability and not any(n == name for n, _ in world.assignments):
        raise NotFound(f"there is no node {name!r}", hint=f"Nodes: {_listed(sorted(world.nodes)) or 'none'}.")
    record = Availability(name, state, now, who)
    told = deed(now, who, {"active": "activate", "cordoned": "cordon", "drained": "drain"}[state], name)
    return await store.commit([schema.delete(record) if state == "active" else schema.put(record), told])


async def demote(store: Store, world: World, name: NodeName, *, now: float, who: str) -> int:
    """Let another node lead; the revision. Raises NotFound, HecdError where no other one could, Conflict."""
    _may_lead(world, name)
    others = [n for n, node in sorted(world.nodes.items()) if n != name and "control" in node.roles]
    free = [n for n in others if n not in world.demotions]
    if not free:
        hint = f"hecd promote {others[0]}" if others else "Start `hecd control` on another node first."
        raise HecdError(f"no node but {name} could lead", hint=hint)
    guard = Absent(schema.key_of(Demotion(free[0])))  # two that demote each other's last one
    return await store.commit([schema.put(Demotion(name, now, who)), deed(now, who, "demote", name)], [guard])


async def promote(store: Store, world: World, name: NodeName, *, now: float, who: str) -> int:
    """Let a node lead again if it comes to that; the revision. Raises NotFound, HecdError."""
    if name not in world.demotions:
        _may_lead(world, name)
    return await store.commit([schema.delete(Demotion(name)), deed(now, who, "promote", name)])


def _may_lead(world: World, name: NodeName) -> None:
    node = world.nodes.get(name)
    if node is None:
        raise NotFound(f"there is no node {name!r}", hint=f"Nodes: {_listed(sorted(world.nodes)) or 'none'}.")
    if "control" not in node.roles:
        raise HecdError(f"{name} has no control loop", hint=f"Its roles: {', '.join(node.roles)}.")


async def serve(store: Store, world: World, name: ServiceName, traffic: Traffic, *, now: float, who: str) -> int:
    """Let the load balancers serve what announcers tell of `name`; the revision. Raises HecdError, Conflict."""
    before = world.services.get(name)
    if before is not None and not before.foreign:
        hint = "Set its ports there; containers that announce themselves as it are served with its own."
        raise HecdError(f"{name} was deployed from a compose file", hint=hint)
    refuse_clashes({name: traffic}, world)
    service = Service(name, ReleaseNumber(0), 0, traffic=traffic, updated_at=now, updated_by=who)
    guard = _unchanged(before, world) if before else Absent(schema.key_of(service))
    return await store.commit([schema.put(service), deed(now, who, "serve", name)], [guard])


async def rollback(
    store: Store,
    world: World,
    name: ServiceName,
    to: ReleaseNumber | None,
    *,
    now: float,
    who: str,
    under: Sequence[Guard] = (),
) -> tuple[ReleaseNumber, int]:
    """Want an earlier release again: `to`, else the newest before the one that serves that has served before.

    The release and the order's revision. Raises NotFound, Conflict.
    """
    service = service_named(world, name)
    rollout = world.rollouts.get(name)
    serving = rollout.target if rollout else service.release
    numbers = sorted(n for s, n in world.releases if s == name)
    if to is None:
        earlier = [n for n in numbers if n < serving and rollout and n in rollout.proven]
        if not earlier:
            raise NotFound(f"{name} has no release before {serving} that has served", hint=_others(world, service))
        to = earlier[-1]
    elif to not in numbers:
        raise NotFound(f"{name} has no release {to}", hint=f"Known releases: {_listed(numbers)}.")
    elif rollout is not None and rollout.failed(to) and service.release == to:
        hint = "Mend the cause and deploy again: the same file gets a new release."
        raise HecdError(f"release {to} of {name} did not succeed: {rollout.reason}", hint=hint)
    changed = replace(service, release=to, updated_at=now, updated_by=who)
    told = deed(now, who, "rollback", name, f"release {serving} -> {to}")
    return to, await store.commit([schema.put(changed), told], [_unchanged(service, world), *under])


def _others(world: World, service: Service) -> str:
    """What `rollback` takes, if it is named, with what became of each; not the one that serves, nor one that failed."""
    name, rollout = service.service, world.rollouts.get(service.service)
    serving = rollout.target if rollout else service.release
    failed = service.release if rollout and rollout.failed(service.release) else None
    numbers = sorted(n for s, n in world.releases if s == name and n not in (serving, failed))
    if not numbers:
        return "`hecd deploy` of what is wanted makes another one."
    ends = {n: world.history[name, n].state for n in numbers if (name, n) in world.history}
    told = ", ".join(f"{n} ({ends[n]})" if n in ends else f"{n}" for n in numbers)
    return f"`hecd rollback {name} RELEASE` takes {told}; `hecd history {name}` tells more."


async def steer(
    store: Store, world: World, name: ServiceName, order: str, message: str = "", *, now: float, who: str
) -> Steering:
    """Say something about the rollout of `name`: one of model.steering.MAY. Raises HecdError where there is nothing to
    say it about, NotFound, Conflict."""
    service = service_named(world, name)
    rollout = world.rollouts.get(name)
    if rollout is None or rollout.release != service.release or rollout.state not in MAY[order]:
        raise _nothing_to(order, service, rollout)
    if order == "abort" and rollout.state == "paused" and _is_the_first(rollout):
        hint = f"Mend the cause and deploy again, or `hecd rm {name}`."
        known = {number for s, number in world.releases if s == name}
        raise HecdError(f"{no_way_back(rollout, known)}: {rollout.reason}", hint=hint)
    wish = Steering(name, rollout.release, order, now, who, message)
    told = deed(now, who, f"rollout {order}", name, f"release {rollout.release} {message}".strip())
    await store.commit([schema.put(wish), told], [_unchanged(service, world)])
    return wish


def _nothing_to(order: str, service: Service, rollout: Rollout | None) -> HecdError:
    name = service.service
    if rollout is None or rollout.release != service.release:
        hint = "Has it just been ordered? Then try again in a second; else `hecd status` tells what is missing."
        return HecdError(f"there is nothing to {order}: no rollout of {name} has begun", hint=hint)
    told = f"release {rollout.release} of {name} is {rollout.state}"
    hints = {
        "done": f"`hecd rollback {name}` goes back to an earlier release.",
        "rolled-back": f"Release {rollout.stable} serves. Deploy again to try again.",
        "rolling-back": f"It goes back to release {rollout.stable}; `hecd rollout status -f {name}` follows it.",
        "preparing": f"Its pre_deploy hook runs; `hecd rollout abort {name}` stops it.",
        "held": f"`hecd rollout resume {name}` goes on, `promote` finishes it, `abort` goes back.",
        "paused": f"It failed. `hecd rollout resume {name}` tries on, {_way_back(rollout)}.",
    }
    usual = f"It goes on by itself; `hecd rollout status -f {name}` follows it."
    return HecdError(f"there is nothing to {order}: {told}", hint=hints.get(rollout.state, usual))


def _is_the_first(rollout: Rollout) -> bool:
    """Whether there is no other release that it could be aborted to."""
    return rollout.stable in (0, rollout.release)


def _way_back(rollout: Rollout) -> str:
    return "a deploy of what is mended replaces it" if _is_the_first(rollout) else "`abort` goes back"


async def hold(
    store: Store, world: World, name: ServiceName, kind: str, for_s: float, message: str = "", *, now: float, who: str
) -> int:
    """Let the requests of a service wait ("wait", `for_s` seconds at most) or be told to come again ("sorry"); the
    revision. Raises HecdError where that can't be, NotFound, Conflict."""
    service = service_named(world, name)
    before = world.holds.get((name, OPERATOR))
    if before is not None:
        undo = f"hecd resume {name}" if before.kind == "wait" else f"hecd maintenance {name} off"
        told = {"wait": "paused", "sorry": "under maintenance"}[before.kind]
        raise HecdError(f"{name} is {told} already, by {before.by}: {before.message or 'no reason given'}", hint=undo)
    _refuse_hold(service, world, kind)
    wanted = Hold(name, OPERATOR, kind, now, now + for_s if for_s else 0.0, who, message)
    words = {"wait": f"for {for_s:g} s at most", "sorry": "on"}[kind]
    entry = deed(now, who, {"wait": "pause", "sorry": "maintenance"}[kind], name, f"{words} {message}".strip())
    guards: list[Guard] = [_unchanged(service, world), Absent(schema.key_of(wanted))]
    return await store.commit([schema.put(wanted), entry], guards)


def _refuse_hold(service: Service, world: World, kind: str) -> None:
    name = service.service
    if not service.traffic.ports:
        raise HecdError(f"{name} gets no requests from load balancers: it publishes no port")
    if kind == "sorry" and not any(port.mode == "http" for port in service.traffic.ports):
        raise HecdError(f"{name} speaks no HTTP: nobody could be told to come again", hint=f"hecd pause {name}")
    if not world.edges:
        raise HecdError("no load balancer is alive", hint="`hecd status` tells more.")
    if kind == "wait" and (lacking := without_holder(service, world.edges.values())):
        hint = "`hecd up` starts one; elsewhere run `hecd holder` beside HAProxy. `hecd maintenance` needs none."
        raise HecdError(f"nothing runs in which requests could wait, on {_listed(lacking)}", hint=hint)


async def let_go(store: Store, world: World, name: ServiceName, kind: str, *, now: float, who: str) -> int:
    """End the operator's hold of that kind; the revision. Raises HecdError where there is none, NotFound, Conflict."""
    service_named(world, name)
    found = world.holds.get((name, OPERATOR))
    if found is None or found.kind != kind:
        told = {"wait": "paused", "sorry": "under maintenance"}[kind]
        raise HecdError(f"{name} is not {told}", hint=_other_hold(name, found))
    entry = deed(now, who, {"wait": "resume", "sorry": "maintenance off"}[kind], name)
    guard = Unchanged(schema.key_of(found), world.revisions[schema.key_of(found)])
    return await store.commit([schema.delete(found), entry], [guard])


def _other_hold(name: str, found: Hold | None) -> str:
    if found is None:
        return f"`hecd audit {name}` tells what was ordered; a pause ends by itself."
    return f"hecd {'resume ' + name if found.kind == 'wait' else 'maintenance ' + name + ' off'}"


async def unlock(store: Store, world: World, name: ServiceName, *, now: float, who: str) -> Lock:
    """Take the lock on `name` away, whoever has it; which one it was. Raises NotFound, Conflict."""
    found = world.locks.get(name)
    if found is None:
        raise NotFound(f"{name} is not locked", hint="`hecd audit` tells who locked what.")
    told = deed(now, who, "unlock", name, f"held by {found.holder} {found.message}".strip())
    guard = Unchanged(schema.key_of(found), world.revisions[schema.key_of(found)])
    await store.commit([schema.delete(found), told], [guard])
    return found


async def retire(
    store: Store, world: World, name: ServiceName, *, now: float, who: str, under: Sequence[Guard] = ()
) -> int:
    """First half of a removal: no replicas are wanted any more; the revision. Also ends what lost its service."""
    service = known(world, name)
    guard: Guard
    if service is None:
        service = Service(name, max((i.release for i in world.of_service(name)), default=ReleaseNumber(1)))
        guard = Absent(schema.key_of(service))
    else:
        guard = _unchanged(service, world)
    retired = replace(service, replicas=0, retiring=True, updated_at=now, updated_by=who)
    return await store.commit([schema.put(retired), deed(now, who, "rm", name)], [guard, *under])


def known(world: World, name: ServiceName) -> Service | None:
    """The service of that name; None where only instances are left of it. Raises NotFound where nothing is."""
    if name not in world.services and not any(world.of_service(name)) and not any(world.assigned(name)):
        raise unknown(name, services(world), "service")
    return world.services.get(name)


async def forget(store: Store, world: World, name: ServiceName) -> None:
    """Second half of a removal, when nothing runs any more: delete its records. Raises HecdError if it still runs."""
    if any(world.of_service(name)) or any(world.assigned(name)):
        raise HecdError(f"{name} still has instances", hint="`hecd ps` lists them.")
    if world.runs_of(name):
        raise HecdError(f"a hook of {name} still runs", hint="It is stopped; try again in a moment.")
    service = service_named(world, name)
    gone: list[Write] = [schema.delete(service)]
    gone += [schema.delete(r) for (s, _), r in world.releases.items() if s == name]
    gone += [schema.delete(r) for s, r in world.rollouts.items() if s == name]
    gone += [schema.delete(r) for (s, _), r in world.history.items() if s == name]
    gone += [schema.delete(r) for s, r in world.steering.items() if s == name]
    gone += [schema.delete(r) for (s, _), r in world.holds.items() if s == name]
    await store.commit(gone, [_unchanged(service, world)])


async def restore(store: Store, world: World, kept: Sequence[Put], *, now: float, who: str) -> int:
    """Bring back the kept orders and confirm them; records newer than the backup are overwritten. How many.

    In as many commits as etcd wants, the confirmation in the last: after a loss nobody obeys any of them before it.
    """
    stale = {schema.key_of(r) for room in (world.assignments, world.rollouts) for r in _values(room)}
    gone: list[Write] = [Delete(key) for key in sorted(stale - {put.key for put in kept})]
    told = deed(now, who, "restore", "all", f"{len(kept)} records")
    writes: list[Write] = [*kept, *gone, told, schema.put(Ledger(now, who))]
    for together in portions(writes):
        await store.commit(together)
    return len(kept)


def chosen(world: World, name: str | None) -> Service:
    """The service of that name, or the only one there is. Raises NotFound, HecdError."""
    if name is not None:
        return service_named(world, ServiceName(name))
    if len(world.services) == 1:
        return next(iter(world.services.values()))
    if not world.services:
        raise NotFound("there are no services", hint="`hecd deploy -f compose.yaml` makes some.")
    raise HecdError("which service?", hint=f"Name one of: {_listed(sorted(world.services))}.")


def service_named(world: World, name: ServiceName) -> Service:
    """The service of that name. Raises NotFound."""
    if (service := world.services.get(name)) is None:
        raise unknown(name, world.services, "service")
    return service


def _unchanged(service: Service, world: World) -> Guard:
    key = schema.key_of(service)
    return Unchanged(key, world.revisions[key])


def _listed(items: Sequence[object]) -> str:
    return ", ".join(str(item) for item in items)


def _values(room: Mapping[Any, schema.Record]) -> list[schema.Record]:
    return list(room.values())
