"""Where instances of a service may run, and what an operator says of a node."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registrator.model.names import NodeName
from registrator.model.node import ROLES, Node

# active: takes instances · cordoned: keeps those it has, and takes no more · drained: they move elsewhere
AVAILABILITIES = ("active", "cordoned", "drained")

CONSTRAINT = re.compile(r"node\.(hostname|role|labels\.([A-Za-z0-9._/-]{1,63})) ?(==|!=) ?([A-Za-z0-9._/-]{1,63})")
SPREAD = re.compile(r"node\.labels\.([A-Za-z0-9._/-]{1,63})")


@dataclass(frozen=True)
class Placement:
    """Compose's deploy.placement, resources.reservations and mode. 0 is no limit, or nothing reserved."""

    constraints: tuple[str, ...] = ()  # node.labels.disk==ssd, node.hostname!=h3, node.role==edge
    spread: tuple[str, ...] = ()  # names of labels: evenly over the values of the first, within it of the second, …
    max_per_node: int = 0
    cpus: float = 0.0
    memory_bytes: int = 0
    every_node: bool = False  # mode: global


@dataclass(frozen=True)
class Availability:
    """`/hecd/availability/<node>`, written by `hecd drain`, `cordon`, `activate`; none: active. Outlives the node."""

    node: NodeName
    state: str = "active"
    set_at: float = 0.0  # seconds since the epoch
    set_by: str = ""


def unmet(placement: Placement, node: Node) -> str:
    """The first constraint that `node` does not meet; "" if it meets all."""
    return next((text for text in placement.constraints if not _holds(text, node)), "")


def is_constraint(text: str) -> bool:
    """Whether it is one that can be judged."""
    found = CONSTRAINT.fullmatch(text)
    return found is not None and (found[1] != "role" or found[4] in ROLES)


def _holds(text: str, node: Node) -> bool:
    found = CONSTRAINT.fullmatch(text)
    if found is None:
        return False  # a newer HECD wrote it: better nowhere than where it must not be
    attribute, label, operator, value = found.groups()
    if attribute == "role":
        same = value in node.roles
    elif attribute == "hostname":
        same = value == node.node
    else:
        same = node.labels.get(label) == value
    return same == (operator == "==")
