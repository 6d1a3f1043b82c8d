"""A trial: how a new release is judged by what load balancers answer. With a canary, it gets a few requests first."""

from __future__ import annotations

from dataclasses import dataclass, field

from registrator.model.usage import Figures

FIRST_REQUESTS = -1  # the step before the first that was asked for
NO_STEP = 1_000  # more than there can be: it is watched without a canary
FAILURES, P99, QUEUE = JUDGED_BY = ("failures", "p99", "queue")  # x-hecd.judge


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
    cut: dict[str, int] = field(default_factory=dict)  # server of either -> requests that it did not answer


@dataclass(frozen=True)
class Trial:
    """How far a canary is. `step` counts from 0 in Update.canary; as many as there are: it was promoted.

    Without a canary, the release is watched from its rollout's begin, or from its switch on.
    """

    step: int = FIRST_REQUESTS
    open_since: float = 0.0  # seconds since the epoch: since when every edge has the step's weights; 0: not yet
    marks: dict[str, Mark] = field(default_factory=dict)  # edge -> its counts when the step began
    old: Figures = field(default_factory=Figures)  # what both answered before the marks; of a canary, latencies aside
    new: Figures = field(default_factory=Figures)
    under_way: int = 0  # requests that the old release had when the other began to take them
    stuck_since: float = 0.0  # seconds since the epoch: since when it looks as if it hangs; 0: it does not
    guilty: bool = False  # the figures spoke against it
    away: tuple[str, ...] = ()  # instances that were lost with their node: what was cut there is not held against it
    doubted_since: float = 0.0  # seconds since the epoch: since when all that speaks against it is of one node; 0: not

    @property
    def watched(self) -> bool:
        """Whether it is no canary's."""
        return self.step >= NO_STEP
