"""The exact steps of a release as things are: the decider itself, played where all goes well at once. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from registrator.control import rollout
from registrator.control.actions import Action, Assign, Drain, ForgetRun, HoldBack, LetGo, OrderRun, Progress, Unassign
from registrator.control.placement import Board
from registrator.control.view import ServiceView
from registrator.model.hold import HOLD_SERVER
from registrator.model.hook import Result, Run
from registrator.model.instance import USUAL_WEIGHT, Assignment, Instance
from registrator.model.names import InstanceName, backend_name
from registrator.model.node import Edge, ServerReport
from registrator.model.release import Release
from registrator.model.rollout import Rollout
from registrator.model.service import Service
from registrator.registry.world import World

MOST = 40  # lines
_PASSES = 500


def steps(world: World, service: Service, release: Release | None) -> list[str]:
    """One line for each instance that would be started or drained, in order, with what HAProxy is told."""
    found: list[str] = []
    for line in _Play(world, service, release).lines():
        if len(found) == MOST:
            return [*found, "… and so on"]
        found.append(line)
    return found


@dataclass
class _Play:
    """A world in which what is decided has happened before the next look."""

    world: World
    service: Service
    release: Release | None

    def lines(self) -> Iterator[str]:
        name, now = self.service.service, self.service.updated_at
        releases = dict(self.world.releases)
        if self.release is not None:
            releases[name, self.release.number] = self.release
        world = replace(self.world, services={**self.world.services, name: self.service}, releases=releases)
        for _ in range(_PASSES):
            board = Board(world.nodes, world.assignments.values(), (), world.services, world.availability)
            view = ServiceView.of(world, self._wanted(board, world), (), board.leaving(self.service, _of(world, name)))
            actions = rollout.decide(view, board, now)
            for action in actions:
                yield from self._told(action, world)
                world = _after(world, action)
            world = _served(world, self.service)
            if not actions:
                wait_s = rollout.wake_after_s(ServiceView.of(world, self.service), now)
                if wait_s is None:
                    return
                now += wait_s + 0.001

    def _wanted(self, board: Board, world: World) -> Service:
        return replace(self.service, replicas=board.wanted(self.service, _of(world, self.service.service)))

    def _told(self, action: Action, world: World) -> Iterator[str]:
        backends = [backend_name(self.service.service, p.target) for p in self.service.traffic.ports]
        match action:
            case Assign(a, reason):
                told = "".join(f"; HAProxy: add server {b}/{a.instance}" for b in backends)
                yield f"start {a.instance} of release {a.release} on {a.node} ({reason}){told}"
            case Drain(a, reason):
                told = "".join(f"; HAProxy: set server {b}/{a.instance} weight 0, del server" for b in backends)
                yield f"drain {a.instance} of release {a.release} on {a.node} ({reason}){told}"
            case HoldBack(_, reason):
                told = "".join(f"; HAProxy: set server {b}/{HOLD_SERVER} weight 1, of the others 0" for b in backends)
                yield f"let requests wait ({reason}){told}"
            case LetGo(_, reason):
                yield f"let the requests go on ({reason})"
            case OrderRun(run, _) if run.order == "run":
                yield f"run {run.hook} of release {run.release} on {run.node}, once, for {run.timeout_s:g} s at most"
            case Progress(record, reason) if _weighs(world, record):
                told = "".join(
                    f"; HAProxy: set each server of release {r} weight {w}" for r, w in record.weights.items()
                )
                yield f"weigh {self.service.service} ({reason})" + (told or "; HAProxy: set all servers weight 100")


def _weighs(world: World, after: Rollout) -> bool:
    """Whether some server gets another weight: not where only those are forgotten that are gone."""
    known = world.rollouts.get(after.service)
    before = known.weights if known else {}
    forgotten = set(before) - set(after.weights)
    there = {str(a.release) for a in _of(world, after.service)}
    return any(before.get(r) != w for r, w in after.weights.items()) or bool(forgotten & there)


def _of(world: World, name: str) -> list[Assignment]:
    return [a for a in world.assignments.values() if a.service == name]


def _after(world: World, action: Action) -> World:
    match action:
        case Assign(a):
            return replace(world, assignments={**world.assignments, (a.node, a.instance): a})
        case Drain(a) | Unassign(a):
            gone = {k: v for k, v in world.assignments.items() if k != (a.node, a.instance)}
            instances = {k: v for k, v in world.instances.items() if k != a.instance}
            return replace(world, assignments=gone, instances=instances)
        case Progress(record):
            return replace(world, rollouts={**world.rollouts, record.service: record})
        case HoldBack(hold):
            return replace(world, holds={**world.holds, (hold.service, hold.owner): hold})
        case LetGo(hold):
            return replace(world, holds={k: v for k, v in world.holds.items() if k != (hold.service, hold.owner)})
        case OrderRun(run):
            return _ran(world, run)
        case ForgetRun(gone):
            if isinstance(gone, Run):
                return replace(world, runs={k: v for k, v in world.runs.items() if k != gone.run})
            return replace(world, results={k: v for k, v in world.results.items() if k != gone.run})
        case _:
            return world


def _ran(world: World, run: Run) -> World:
    """What is ordered to run has passed; what is ordered to go has gone."""
    results = {name: result for name, result in world.results.items() if name != run.run}
    if run.order != "remove":
        results[run.run] = Result(
            run.run, run.service, run.release, run.hook, run.node, "passed", ordered_at=run.ordered_at
        )
    return replace(world, runs={**world.runs, run.run: run}, results=results)


def _served(world: World, service: Service) -> World:
    """Every assigned instance of the service runs, and every load balancer sends it requests."""
    running: dict[InstanceName, Instance] = dict(world.instances)
    for a in _of(world, service.service):
        ports = {str(p.target): f"{a.node}:{p.target}" for p in service.traffic.ports}
        running[a.instance] = Instance(a.instance, a.service, a.release, a.node, ports, "running", "healthy")
    held = any(name == service.service for name, _ in world.holds)
    known = world.rollouts.get(service.service)
    weights = known.weights if known else {}
    up = {
        str(i.instance): ServerReport("UP", 0 if held else weights.get(str(i.release), USUAL_WEIGHT))
        for i in running.values()
        if i.service == service.service
    }
    up[HOLD_SERVER] = ServerReport("UP", int(held))
    backends = {backend_name(service.service, p.target): up for p in service.traffic.ports}
    edges = {n: _telling(replace(e, servers={**e.servers, **backends}, error=None)) for n, e in world.edges.items()}
    return replace(world, instances=running, edges=edges)


def _telling(edge: Edge) -> Edge:
    """One that tells what it answers: as much as until now."""
    usage = {**{backend: {} for backend in edge.servers}, **edge.usage}
    return replace(edge, usage=usage, counted_since=edge.counted_since or 1.0)
