"""Where a new instance goes, and which must leave where they are. Pure and deterministic; nothing moves that need not.

The node is chosen, of those that fit, by: fewest of the release in its group (placement.preferences.spread), fewest of
the release, fewest of the service, least of its capacity used, name.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from registrator.control.stock import Group, Stock, group_of
from registrator.model.hook import FEATURE
from registrator.model.instance import Assignment
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Node
from registrator.model.placement import Availability, Placement, unmet
from registrator.model.service import Service

Key = tuple[int, int, float, NodeName]  # of the release, of the service, used, name


@dataclass(frozen=True)
class Place:
    """A node that was chosen, and why."""

    node: NodeName
    reason: str


@dataclass(frozen=True)
class NoPlace:
    """No node takes it; `reason` is what the user reads."""

    reason: str


@dataclass(order=True)
class _Group:
    """Nodes with the same values of the labels to spread over, as a heap; a single one where nothing is spread."""

    values: Group
    heap: list[Key] = field(default_factory=list, compare=False)


GroupKey = tuple[tuple[int, ...], Key, _Group]


class Board:
    """How full the nodes are; placing on it counts, so that a batch spreads out.

    Counts only grow. So the candidates of a release stand in a heap whose keys may be too small and never too large:
    the first whose key is still right is the best of all, and not every node is looked at for each instance.
    """

    def __init__(
        self,
        nodes: Mapping[NodeName, Node],
        assignments: Collection[Assignment],
        lost: Collection[NodeName] = (),
        services: Mapping[ServiceName, Service] | None = None,
        availability: Mapping[NodeName, Availability] | None = None,
    ) -> None:
        self._nodes = nodes
        self._lost = lost
        self._services = services or {}
        self._states = {name: record.state for name, record in (availability or {}).items()}
        self._heaps: dict[tuple[ServiceName, ReleaseNumber], list[GroupKey]] = {}
        self._fitting: dict[tuple[str, ...], list[NodeName]] = {}  # by constraints
        self._assignments = assignments
        self._counted: Stock | None = None
        self.asked = 0  # how often somebody wanted a place

    def place(self, service: Service, release: ReleaseNumber) -> Place | NoPlace:
        """The node for one more instance of `release`, counted as placed from now on."""
        self.asked += 1
        heap = self._candidates(service, release)
        while heap:
            counts, (of, *_, name), group = heap[0]
            key = self._group_key(service, release, group)
            if key is None:
                heapq.heappop(heap)  # it only gets fuller
            elif key != heap[0]:
                heapq.heapreplace(heap, key)
            else:
                reason = self._why(service, zip(service.placement.spread, group.values, counts, strict=True), of)
                self._stock.add(name, service.service, release)
                return Place(name, reason)
        return NoPlace(self._refusals(service, release))

    def place_once(self, service: Service) -> Place | NoPlace:
        """The node for a container that serves nothing: the one with the most room of those whose agents can."""
        self.asked += 1
        alone = replace(service, placement=replace(service.placement, every_node=False, max_per_node=0))
        reasons: dict[str, list[NodeName]] = {}
        for name, node in sorted(self._nodes.items()):
            why = "lost" if name in self._lost else self._unfit(service.placement, node)
            why = why or ("" if FEATURE in node.features else "its agent is too old to run hooks")
            reasons.setdefault(why or self._short(alone, service.release, node), []).append(name)
        if free := reasons.pop("", []):
            best = min(free, key=lambda name: (self._stock.used(name), name))
            return Place(best, f"most room, among {len(free)} of {len(self._nodes)} nodes")
        return NoPlace(_listed(reasons) or "no node is alive")

    def leaving(self, service: Service, assignments: Iterable[Assignment]) -> dict[InstanceName, str]:
        """Those that must not stay where they are, and why. A node that is away says nothing."""
        found = {}
        for assignment in assignments:
            node = self._nodes.get(assignment.node)
            if node is not None and (why := self._unfit(service.placement, node, staying=True)):
                found[assignment.instance] = f"{assignment.node}: {why}"
        return found

    def wanted(self, service: Service, assignments: Iterable[Assignment]) -> int:
        """How many instances are wanted: of a service that is on every node, one for each that fits, or has it and is
        only away or cordoned."""
        if not service.placement.every_node or service.replicas == 0:
            return service.replicas
        fit = set(self._fit(service.placement))
        kept = {a.node for a in assignments if not a.drain and a.node not in self._lost}
        gone = {n for n in kept if n in self._nodes and self._unfit(service.placement, self._nodes[n], staying=True)}
        return len(fit | kept - gone)

    def _candidates(self, service: Service, release: ReleaseNumber) -> list[GroupKey]:
        """The groups of nodes that fit, as a heap by their best nodes; without a spread it is one group."""
        if (known := self._heaps.get((service.service, release))) is None:
            groups: dict[Group, _Group] = {}
            for name in self._fit(service.placement):
                values = group_of(service.placement, self._nodes[name])
                groups.setdefault(values, _Group(values)).heap.append(self._key(service, release, name))
            for group in groups.values():
                heapq.heapify(group.heap)
            keys = (self._group_key(service, release, group) for group in groups.values())
            known = self._heaps[service.service, release] = [key for key in keys if key is not None]
            heapq.heapify(known)
        return known

    def _group_key(self, service: Service, release: ReleaseNumber, group: _Group) -> GroupKey | None:
        """How many of the release are in it, and its best node as things are; None where no node has room."""
        heap = group.heap
        while heap:
            name = heap[0][-1]
            if self._short(service, release, self._nodes[name]):
                heapq.heappop(heap)
            elif (key := self._key(service, release, name)) != heap[0]:
                heapq.heapreplace(heap, key)
            else:
                values, counted = group.values, self._stock.of(service.service).in_group
                return tuple(counted[release, values[: n + 1]] for n in range(len(values))), key, group
        return None

    def _key(self, service: Service, release: ReleaseNumber, name: NodeName) -> Key:
        tally = self._stock.of(service.service)
        return tally.of_release[release, name], tally.of[name], self._stock.used(name), name

    @property
    def _stock(self) -> Stock:
        """Counted when a place is asked for first, as most looks at a fleet ask for none."""
        if self._counted is None:
            self._counted = Stock(self._nodes, self._assignments, self._services)
        return self._counted

    def _fit(self, placement: Placement) -> list[NodeName]:
        """The nodes that are for such a service, full or not."""
        if (known := self._fitting.get(placement.constraints)) is None:
            fit = (n for n, node in self._nodes.items() if not self._unfit(placement, node))
            known = self._fitting[placement.constraints] = [n for n in fit if n not in self._lost]
        return known

    def _unfit(self, placement: Placement, node: Node, *, staying: bool = False) -> str:
        """Why the node is not for this service, however empty; "" if it is. What is on a cordoned one may stay."""
        state = self._states.get(node.node, "active")
        if "worker" not in node.roles:
            return "no worker"
        if state == "drained" or (state == "cordoned" and not staying):
            return state
        constraint = unmet(placement, node)
        return f"not {constraint}" if constraint else ""

    def _short(self, service: Service, release: ReleaseNumber, node: Node) -> str:
        """What the node has not enough of; "" if nothing."""
        stock, name, capacity, asked = self._stock, node.node, node.capacity, service.placement
        most = 1 if asked.every_node else asked.max_per_node
        if most and stock.of(service.service).of_release[release, name] >= most:
            return f"has {most} already"
        if stock.instances[name] >= capacity.instances:
            return f"full ({capacity.instances} instances)"
        if asked.cpus and capacity.cpus and stock.cpus[name] + asked.cpus > capacity.cpus + 1e-9:
            return f"short of CPUs ({asked.cpus:g} asked)"
        room_bytes = capacity.memory_bytes - stock.memory_bytes[name]
        if asked.memory_bytes and capacity.memory_bytes and asked.memory_bytes > room_bytes:
            return f"short of memory ({asked.memory_bytes >> 20} MiB asked)"
        return ""

    def _why(self, service: Service, groups: Iterable[tuple[str, str, int]], of_release: int) -> str:
        where = ", ".join(f"{label}={value} ({count})" for label, value, count in groups)
        fitting = len(self._fit(service.placement))
        of = f"fewest of {service.service} ({of_release})" + (f", in {where}" if where else "")
        return f"{of}, among {fitting} of {len(self._nodes)} nodes"

    def _refusals(self, service: Service, release: ReleaseNumber) -> str:
        """Each reason with how many nodes it holds for; who it is where it is one."""
        reasons: dict[str, list[NodeName]] = {}
        for name, node in sorted(self._nodes.items()):
            why = "lost" if name in self._lost else self._unfit(service.placement, node)
            reasons.setdefault(why or self._short(service, release, node), []).append(name)
        return _listed(reasons) or "no node is alive"


def _listed(reasons: Mapping[str, list[NodeName]]) -> str:
    return "; ".join(f"{who[0] if len(who) == 1 else f'{len(who)} nodes'}: {why}" for why, who in reasons.items())
