"""A canary: a new release gets a few requests first, and more as long as it does as well as the old one."""

from __future__ import annotations

from dataclasses import dataclass, field

from registrator.model.usage import Figures

FIRST_REQUESTS = -1  # the step before the first that was asked for


@dataclass(frozen=True)
class Step:
    """`weight` percent of the requests go to the new release, for so long."""

    weight: float
    for_s: float


@dataclass(frozen=True)
class Mark:
    """What one edge had counted of both releases when a step began."""

    counted_since: float = 0.0
    old: Figures = field(default_factory=Figures)
    new: Figures = field(default_factory=Figures)


@dataclass(frozen=True)
class Trial:
    """How far a canary is. `step` counts from 0 in Update.canary; as many as there are: it was promoted."""

    step: int = FIRST_REQUESTS
    open_since: float = 0.0  # seconds since the epoch: since when every edge has the step's weights; 0: not yet
    marks: dict[str, Mark] = field(default_factory=dict)  # edge -> its counts when the step began
    old: Figures = field(default_factory=Figures)  # what both answered in the steps before, latencies aside
    new: Figures = field(default_factory=Figures)
