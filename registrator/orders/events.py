"""What happened: between two worlds, and of late as far as the records know. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from registrator.model.hook import Result
from registrator.model.instance import Assignment, Instance
from registrator.model.node import Edge
from registrator.model.rollout import Rollout
from registrator.registry.world import World

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Event:
    """`about` is an instance, a service or a node; `service` its service, "" if none. `at`: seconds since the epoch."""

    at: float
    about: str
    text: str
    service: str = ""


def lately(world: World) -> list[Event]:
    """What the records tell with a time: orders, ends of releases, the last change of each instance; oldest first."""
    found = [Event(n.joined_at, str(n.node), f"joined, as {', '.join(n.roles)}") for n in world.nodes.values()]
    found += [Event(i.changed_at, str(i.instance), _instance(i), str(i.service)) for i in world.instances.values()]
    found += [Event(d.at, d.target, f"{d.what} by {d.who} {d.detail}".rstrip(), d.target) for d in world.audit.values()]
    found += [
        Event(o.ended_at, str(o.service), f"release {o.release} ended {o.state}{_why(o.reason)}", str(o.service))
        for o in world.history.values()
    ]
    found += [_run(r, r.ended_at or r.started_at) for r in world.results.values() if r.ended_at or r.started_at]
    return sorted(found, key=lambda event: event.at)


def between(before: World, after: World, now: float) -> list[Event]:
    """What happened from `before` to `after`, orders first; seen at `now`."""
    found = [
        Event(d.at, d.target, f"{d.what} by {d.who} {d.detail}".rstrip(), d.target)
        for d in _new(before.audit, after.audit)
    ]
    if before.leader != after.leader:
        found.append(Event(now, after.leader or "control", "leads" if after.leader else "nobody leads"))
    found += [Event(now, str(n.node), f"joined, as {', '.join(n.roles)}") for n in _new(before.nodes, after.nodes)]
    found += [Event(now, str(n.node), "left: its agent's lease is gone") for n in _new(after.nodes, before.nodes)]
    for rollout in _changed(before.rollouts, after.rollouts):
        found += _rollout(before.rollouts.get(rollout.service), rollout, now)
    for order in _changed(before.assignments, after.assignments):
        found.append(Event(now, str(order.instance), _assignment(order), str(order.service)))
    for instance in _changed(before.instances, after.instances):
        if (text := _instance(instance)) != _instance(before.instances.get(instance.instance)):
            found.append(Event(now, str(instance.instance), text, str(instance.service)))
    for gone in _new(after.instances, before.instances):
        found.append(Event(now, str(gone.instance), f"is gone from {gone.node}", str(gone.service)))
    found += [_run(result, now) for result in _changed(before.results, after.results)]
    for edge in _changed(before.edges, after.edges):
        found += _edge(before.edges.get(edge.node), edge, now)
    return found


def _rollout(before: Rollout | None, after: Rollout, now: float) -> Iterator[Event]:
    name, was = str(after.service), before or Rollout(after.service, after.release, after.stable, state="")
    if (was.release, was.state) != (after.release, after.state):
        yield Event(now, name, f"release {after.release} {after.state}{_why(after.reason)}", name)
    elif was.reason != after.reason and after.reason:
        yield Event(now, name, f"release {after.release}: {after.reason}", name)
    if was.weights != after.weights:
        weights = ", ".join(f"release {release} {weight}" for release, weight in after.weights.items())
        yield Event(now, name, f"weight of each server: {weights or 'as usual'}", name)


def _run(result: Result, at: float) -> Event:
    name = str(result.service)
    text = f"{result.hook} of release {result.release} {result.state} on {result.node}{_why(result.reason)}"
    return Event(at, name, text, name)


def _edge(before: Edge | None, after: Edge, now: float) -> Iterator[Event]:
    was = before or Edge(after.node)
    for word, old, new in (("", was.error, after.error), ("in doubt: ", was.doubt, after.doubt)):
        if old != new:
            yield Event(now, str(after.node), f"load balancer {word}{new}" if new else "load balancer is well again")
    if before is not None and before.reloads < after.reloads:
        yield Event(now, str(after.node), f"load balancer reloaded ({after.reloads})")


def _assignment(order: Assignment) -> str:
    if order.drain:
        return f"to finish on {order.node}{_why(order.reason)}"
    return f"release {order.release} to run on {order.node}{_why(order.reason)}"


def _instance(instance: Instance | None) -> str:
    if instance is None:
        return ""
    health = f", {instance.health}" if instance.state == "running" else ""
    return f"{instance.state}{health} on {instance.node}{_why(instance.reason)}"


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""


def _new(before: Mapping[K, Any], after: Mapping[K, V]) -> list[V]:
    return [value for key, value in after.items() if key not in before]


def _changed(before: Mapping[K, V], after: Mapping[K, V]) -> list[V]:
    return [value for key, value in after.items() if before.get(key) is not value and before.get(key) != value]
