"""A claim: an overlay subnet reserved for one node, so that no two nodes give out one address."""

from __future__ import annotations

from dataclasses import dataclass

from registrator.model.names import NodeName


@dataclass(frozen=True)
class Claim:
    """`/hecd/claims/<subnet>`, written by the agent that owns it; kept without a lease."""

    subnet: str
    node: NodeName
