"""Which release a server of the load balancer is of, also when its instance is gone and it answers its last request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from registrator.model.usage import REST
from registrator.registry.world import World

SPARE = 1000  # names that are kept though they may be gone


@dataclass
class Releases:
    """Learns from the registry. A name is never used twice, so what was learnt stays right."""

    _known: dict[str, str] = field(default_factory=dict)

    def learn(self, world: World, present: Iterable[str]) -> None:
        """Hear of the world's instances; `present` are the names of servers that the load balancer still has."""
        self._known.update({name: str(i.release) for name, i in world.instances.items()})
        if len(self._known) > 2 * len(world.instances) + SPARE:
            kept = {*present, *map(str, world.instances)}
            self._known = {name: release for name, release in self._known.items() if name in kept}

    def of(self, server: str) -> str:
        """Its number as a text; "0" for what is of none or was never heard of."""
        return self._known.get(server, REST)
