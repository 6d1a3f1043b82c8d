"""A tunnel in memory: what it was told, and a refusal on demand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from registrator.agent.peers import Peer
from registrator.errors import EngineFault


@dataclass
class FakeTunnel:
    """See agent.ports.Tunnel."""

    refuse: str = ""
    told: list[list[Peer]] = field(default_factory=list)
    before: list[Peer] = field(default_factory=list)

    def peers(self) -> list[Peer]:
        return list(self.told[-1] if self.told else self.before)

    def apply(self, wanted: Iterable[Peer]) -> list[str]:
        if self.refuse:
            raise EngineFault(self.refuse)
        self.told.append(sorted(wanted, key=lambda peer: peer.node))
        return []
