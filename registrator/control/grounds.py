"""What a decision about a service rested on. While that is as it was, and no timer has ended, so is the decision. Pure.

Load balancers tell each second how many sessions each server has: of that, only who judges a release wants to know.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from registrator.model.names import NodeName, backend_name
from registrator.model.node import Edge
from registrator.model.rollout import JUDGED
from registrator.model.service import Service
from registrator.registry.world import World

Grounds = tuple[Any, ...]
Words = dict[str, dict[str, tuple[str, int, str]]]  # backend -> server -> state, weight, check


@dataclass
class Observer:
    """Tells grounds apart. What a load balancer said is gone through once."""

    _words: dict[NodeName, tuple[Edge, Words]] = field(default_factory=dict)

    def look(self, world: World) -> None:
        """Hear what the load balancers of `world` say."""
        self._words = {name: self._heard(edge) for name, edge in world.edges.items()}

    def grounds(self, world: World, service: Service, lost: Collection[NodeName], since: float) -> Grounds:
        """All that rollout.decide looks at for `service`, but the board and the time. `since`: when this leader began.

        Equal ones compare quickly, as what did not change is the same object.
        """
        name = service.service
        rollout = world.rollouts.get(name)
        shared = (world.nodes, world.availability, world.releases, world.holds, world.runs, world.results, lost, since)
        own = (service, rollout, world.part(name), world.steering.get(name))
        backends = [backend_name(name, port.target) for port in service.traffic.ports]
        judged = rollout is not None and rollout.trial is not None and rollout.state in JUDGED
        heard = tuple(
            edge if judged else (edge.node, edge.error, *(words.get(backend) for backend in backends))
            for edge, words in self._words.values()
        )
        return own, heard, shared

    def _heard(self, edge: Edge) -> tuple[Edge, Words]:
        known = self._words.get(edge.node)
        if known is not None and known[0] is edge:
            return known
        was, said = known or (None, {})
        return edge, {
            backend: said[backend]
            if was is not None and was.servers.get(backend) is servers
            else {name: (r.state, r.weight, r.check) for name, r in servers.items()}
            for backend, servers in edge.servers.items()
        }
