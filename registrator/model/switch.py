"""A switch: how a release of a service with strategy blue-green takes over, all requests at once."""

from __future__ import annotations

from dataclasses import dataclass

from registrator.model.names import ReleaseNumber

BLUE_GREEN = "blue-green"


@dataclass(frozen=True)
class Switch:
    """`old` serves until then, and is kept without requests after it. Times are seconds since the epoch; 0: not yet."""

    old: ReleaseNumber
    at: float = 0.0  # since when all requests are to go to the new release
    taken_at: float = 0.0  # since when they do, as every load balancer said
