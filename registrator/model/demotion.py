"""A demotion: an operator's word that a node is not to lead."""

from __future__ import annotations

from dataclasses import dataclass

from registrator.model.names import NodeName


@dataclass(frozen=True)
class Demotion:
    """`/hecd/demotions/<node>`, written by `hecd demote`, removed by `hecd promote`. Outlives the node."""

    node: NodeName
    set_at: float = 0.0  # seconds since the epoch
    set_by: str = ""
