"""What the nodes have already: counted once from the assignments, and on with each place that is given. Pure.

Of most services nothing is asked, so only what all share is counted of all of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from registrator.model.instance import Assignment
from registrator.model.names import NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Node
from registrator.model.placement import Placement
from registrator.model.service import Service

Group = tuple[str, ...]  # values of the labels to spread over, or the first of them


def group_of(placement: Placement, node: Node) -> Group:
    """What the node has of the labels to spread over."""
    return tuple(node.labels.get(label, "") for label in placement.spread)


@dataclass
class Tally:
    """Where the instances of one service are. Those that drain are none of their release any more."""

    of: Counter[NodeName] = field(default_factory=Counter)
    of_release: Counter[tuple[ReleaseNumber, NodeName]] = field(default_factory=Counter)
    in_group: Counter[tuple[ReleaseNumber, Group]] = field(default_factory=Counter)


class Stock:
    """What is taken on each node."""

    def __init__(
        self, nodes: Mapping[NodeName, Node], orders: Iterable[Assignment], services: Mapping[ServiceName, Service]
    ) -> None:
        self._nodes = nodes
        self._services = services
        self._orders: defaultdict[ServiceName, list[Assignment]] = defaultdict(list)
        for order in orders:
            self._orders[order.service].append(order)
        self._tallies: dict[ServiceName, Tally] = {}
        self.instances: Counter[NodeName] = Counter()
        self.cpus: defaultdict[NodeName, float] = defaultdict(float)
        self.memory_bytes: Counter[NodeName] = Counter()
        self._used: dict[NodeName, float] = {}
        for service, its in self._orders.items():
            self._take(service, Counter([order.node for order in its]))

    def add(self, name: NodeName, service: ServiceName, release: ReleaseNumber) -> None:
        """One more instance there."""
        tally = self.of(service)
        self._take(service, {name: 1})
        self._count(tally, service, name, release, live=True)

    def of(self, service: ServiceName) -> Tally:
        """Of one service."""
        if (known := self._tallies.get(service)) is None:
            known = self._tallies[service] = Tally()
            for order in self._orders.get(service, ()):
                self._count(known, service, order.node, order.release, live=not order.drain)
        return known

    def used(self, name: NodeName) -> float:
        """The largest part of the node's capacity that is taken."""
        if (known := self._used.get(name)) is None:
            capacity = self._nodes[name].capacity
            known = self._used[name] = max(
                self.instances[name] / max(capacity.instances, 1),
                self.cpus[name] / capacity.cpus if capacity.cpus else 0.0,
                self.memory_bytes[name] / capacity.memory_bytes if capacity.memory_bytes else 0.0,
            )
        return known

    def _take(self, service: ServiceName, counts: Mapping[NodeName, int]) -> None:
        known = self._services.get(service)
        asked = known.placement if known is not None else Placement()
        for name, count in counts.items():
            self.instances[name] += count
            self._used.pop(name, None)
            if asked.cpus:
                self.cpus[name] += count * asked.cpus
            if asked.memory_bytes:
                self.memory_bytes[name] += count * asked.memory_bytes

    def _count(self, tally: Tally, service: ServiceName, name: NodeName, release: ReleaseNumber, *, live: bool) -> None:
        tally.of[name] += 1
        if not live:
            return
        tally.of_release[release, name] += 1
        known = self._services.get(service)
        if known is not None and known.placement.spread and name in self._nodes:
            values = group_of(known.placement, self._nodes[name])
            for n in range(len(values)):
                tally.in_group[release, values[: n + 1]] += 1
