"""Which nodes this one reaches through the overlay. Pure: (records, peers so far, now in doubt?) -> peers.

Absence is never an order: a node whose lease ended is reached on, for as long as its claim of the subnet stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registrator.model.names import NodeName
from registrator.model.node import Node, Vtep
from registrator.registry.world import World


@dataclass(frozen=True)
class Peer:
    """Another node of the overlay: the subnet of its containers, and its tunnel end."""

    node: NodeName
    subnet: str
    vtep: Vtep


@dataclass(frozen=True)
class Decision:
    """The peers by subnet, and why nodes that are there are none."""

    peers: Mapping[str, Peer]
    strangers: tuple[str, ...]


def decide(world: World, known: Mapping[str, Peer], own: Node, *, doubted: bool) -> Decision:
    """The nodes to reach. `known` are those reached so far, by subnet; while etcd's word is `doubted`, what is missing
    in it ends nothing."""
    wanted: dict[str, Peer] = {}
    strangers = []
    for claim in sorted(world.claims.values(), key=lambda c: c.subnet):
        if claim.node == own.node:
            continue
        node, before = world.nodes.get(claim.node), known.get(claim.subnet)
        if node is None and before is not None and (doubted or before.node == claim.node):
            wanted[claim.subnet] = before
        elif node is not None and node.vtep is not None:
            if fault := _mismatch(node.vtep, own.vtep):
                strangers.append(f"{claim.node}: {fault}")
            else:
                wanted[claim.subnet] = Peer(claim.node, claim.subnet, node.vtep)
    claimed = {claim.subnet for claim in world.claims.values()}
    if doubted:
        wanted |= {subnet: peer for subnet, peer in known.items() if subnet not in claimed}
    return Decision(wanted, tuple(strangers))


def _mismatch(theirs: Vtep, ours: Vtep | None) -> str:
    if ours is None:
        return ""
    if bool(theirs.key) != bool(ours.key):
        return f"its tunnels are {'' if theirs.key else 'not '}encrypted, this node's are{' not' if theirs.key else ''}"
    if (theirs.vni, theirs.port) == (ours.vni, ours.port):
        return ""
    return f"it has VNI {theirs.vni} at port {theirs.port}, this node VNI {ours.vni} at port {ours.port}"
