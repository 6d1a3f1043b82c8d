"""What a load balancer counted of one release of one service: totals that only grow, and how it is right now."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


def _bounds_ms() -> tuple[int, ...]:
    """0 to 8 one by one, then four to the octave: a percentile is read at most a quarter too high."""
    octaves = (8 << n for n in range(15))
    return (*range(8), *(octave + octave // 4 * quarter for octave in octaves for quarter in range(4)))


BOUNDS_MS = _bounds_ms()  # up to 229 s
REST = "0"  # of no release: foreign instances, what no server had, and releases long gone


@dataclass(frozen=True)
class Figures:
    """Totals since `Edge.counted_since`. `latency` is upper bound in ms -> requests, of those that were answered."""

    requests: int = 0
    http_5xx: int = 0
    errors: int = 0  # broken off by the server without a 5xx
    latency: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """How many did not get what they asked for, and not by their own fault."""
        return self.http_5xx + self.errors

    @property
    def timeless(self) -> Figures:
        """The same without latencies."""
        return Figures(self.requests, self.http_5xx, self.errors)

    def without(self, failed: int) -> Figures:
        """The same without so many failed requests."""
        if not failed:
            return self
        errors = min(failed, self.errors)
        http_5xx = min(failed - errors, self.http_5xx)
        less = errors + http_5xx
        return Figures(self.requests - less, self.http_5xx - http_5xx, self.errors - errors, self.latency)

    def __add__(self, other: Figures) -> Figures:
        return self._with(other, 1)

    def __sub__(self, other: Figures) -> Figures:
        return self._with(other, -1)

    def _with(self, other: Figures, sign: int) -> Figures:
        bounds = {*self.latency, *other.latency}
        latency = {b: self.latency.get(b, 0) + sign * other.latency.get(b, 0) for b in bounds}
        return Figures(
            self.requests + sign * other.requests,
            self.http_5xx + sign * other.http_5xx,
            self.errors + sign * other.errors,
            {bound: latency[bound] for bound in sorted(latency, key=int) if latency[bound]},
        )


@dataclass(frozen=True)
class Usage:
    """One release behind one load balancer. Rate and percentiles are of the last ten seconds."""

    total: Figures = field(default_factory=Figures)
    rate: float = 0.0  # requests a second
    failed_rate: float = 0.0  # those of them that failed
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    queue: int = 0  # requests that wait for a server right now
    queue_max: int = 0  # the most that did in the last ten seconds
    sessions: int = 0  # requests that its servers have right now, waiting or being worked on
    cut: dict[str, int] = field(default_factory=dict)  # server -> failed ones that it did not answer itself


def bound_of(ms: int) -> str:
    """The upper bound of the bucket that `ms` falls into."""
    return str(BOUNDS_MS[min(bisect_left(BOUNDS_MS, ms), len(BOUNDS_MS) - 1)])


def percentile_ms(latency: Mapping[str, int], percent: float) -> float:
    """The bound below which `percent` of the requests are; 0 of none."""
    wanted, below = sum(latency.values()) * percent / 100, 0
    for bound in sorted(latency, key=int):
        below += latency[bound]
        if below >= wanted:
            return float(bound)
    return 0.0


def slower(latency: Mapping[str, int], than_ms: float) -> int:
    """How many took longer than `than_ms` for certain: whole buckets only."""
    return sum(count for bound, count in latency.items() if _lower_ms(int(bound)) >= than_ms)


def together(usages: Iterable[Usage]) -> Usage:
    """All in one. Percentiles do not add: those of the slowest stand for all."""
    whole = list(usages)
    return Usage(
        sum((u.total for u in whole), Figures()),
        rate=sum(u.rate for u in whole),
        failed_rate=sum(u.failed_rate for u in whole),
        p50_ms=max((u.p50_ms for u in whole), default=0.0),
        p99_ms=max((u.p99_ms for u in whole), default=0.0),
        queue=sum(u.queue for u in whole),
        queue_max=sum(u.queue_max for u in whole),
        sessions=sum(u.sessions for u in whole),
    )


def _lower_ms(bound: int) -> int:
    at = bisect_left(BOUNDS_MS, bound)
    return BOUNDS_MS[at - 1] if at else -1
