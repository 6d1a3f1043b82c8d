"""Counts what the load balancer answered, by service and release. Pure: the time is handed in."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from registrator.agent.ports import Answered
from registrator.model.node import ServerReport
from registrator.model.usage import REST, Figures, Usage, bound_of, percentile_ms

WINDOW_S = 10.0
STEP_S = 1.0
FORGOTTEN_AFTER_S = 600.0
MOST_CUT = 200  # servers of a release whose cut requests are told

Place = tuple[str, str]  # backend, release


@dataclass
class Counts:
    """Totals by backend and release since `since` (seconds since the epoch), and how they were in the last seconds.

    A reload of the load balancer does not touch them. They begin anew with the agent: `since` tells.
    """

    since: float
    _totals: dict[Place, Figures] = field(default_factory=dict)
    _cut: dict[Place, dict[str, int]] = field(default_factory=dict)  # by server
    _changed_at: dict[Place, float] = field(default_factory=dict)
    _past: deque[tuple[float, dict[Place, Figures]]] = field(default_factory=deque)  # one a second
    _queues: deque[tuple[float, dict[Place, int]]] = field(default_factory=deque)

    def add(self, answers: Iterable[Answered], release_of: Callable[[str], str], now: float) -> None:
        """Count answers; `release_of` knows the release of a server, "0" of one that has none."""
        heard: dict[Place, list[Answered]] = {}
        for answer in answers:
            place = answer.backend, release_of(answer.server) if answer.server else REST
            heard.setdefault(place, []).append(answer)
        for place, of_place in heard.items():
            self._totals[place] = self._totals.get(place, Figures()) + _sum(of_place)
            self._changed_at[place] = now
            for answer in of_place:
                if answer.cut:
                    self._note_cut(place, answer.server, answer.count)

    def usage(
        self,
        servers: Mapping[str, Mapping[str, ServerReport]],
        queues: Mapping[str, Mapping[str, int]],
        release_of: Callable[[str], str],
        now: float,
    ) -> dict[str, dict[str, Usage]]:
        """Backend -> release -> usage, for all that serve or have served of late. Every backend has at least "0"."""
        sessions = {(backend, REST): 0 for backend in servers if "." in backend}
        for backend, found in servers.items():
            for name, report in found.items():
                _count(sessions, backend, name, report.sessions, release_of)
        waiting: dict[Place, int] = {}
        for backend, named in queues.items():
            for name, count in named.items():
                _count(waiting, backend, name, count, release_of)
        self._forget(sessions, now)
        self._remember(waiting, now)
        usage: dict[str, dict[str, Usage]] = {}
        for place in sorted({*sessions, *self._totals}):
            usage.setdefault(place[0], {})[place[1]] = self._of(place, sessions, waiting, now)
        return usage

    def _of(self, place: Place, sessions: Mapping[Place, int], waiting: Mapping[Place, int], now: float) -> Usage:
        total = self._totals.get(place, Figures())
        then, before = self._past[0]
        lately = total - before.get(place, Figures())
        seconds = max(now - then, STEP_S)
        return Usage(
            total,
            rate=round(lately.requests / seconds, 1),
            failed_rate=round(lately.failed / seconds, 2),
            p50_ms=percentile_ms(lately.latency, 50),
            p99_ms=percentile_ms(lately.latency, 99),
            queue=waiting.get(place, 0),
            queue_max=max((seen.get(place, 0) for _, seen in self._queues), default=0),
            sessions=sessions.get(place, 0),
            cut=dict(self._cut.get(place, {})),
        )

    def _note_cut(self, place: Place, server: str, count: int) -> None:
        """What was cut longest ago is forgotten: of a release that judges nobody any more."""
        found = self._cut.setdefault(place, {})
        found[server] = found.pop(server, 0) + count
        for name in list(found)[: max(0, len(found) - MOST_CUT)]:
            del found[name]

    def _remember(self, waiting: dict[Place, int], now: float) -> None:
        self._queues.append((now, waiting))
        while self._queues[0][0] < now - WINDOW_S:
            self._queues.popleft()
        if not self._past:
            self._past.append((self.since, {}))
        if now - self._past[-1][0] >= STEP_S:
            self._past.append((now, dict(self._totals)))
        while len(self._past) > 1 and self._past[1][0] <= now - WINDOW_S:
            self._past.popleft()

    def _forget(self, present: Collection[Place], now: float) -> None:
        """Let releases that are long gone count as the rest, so that a service's total never shrinks; and services."""
        backends = {backend for backend, _ in present}
        for place, changed_at in list(self._changed_at.items()):
            if place in present or now - changed_at < FORGOTTEN_AFTER_S:
                continue
            backend, release = place
            gone = self._totals.pop(place)
            del self._changed_at[place]
            self._cut.pop(place, None)
            if backend in backends and release != REST:
                rest = backend, REST
                self._totals[rest] = self._totals.get(rest, Figures()) + gone
                self._changed_at.setdefault(rest, changed_at)
                for _, before in self._past:
                    before[rest] = before.get(rest, Figures()) + before.pop(place, Figures())


def _count(found: dict[Place, int], backend: str, server: str, count: int, release_of: Callable[[str], str]) -> None:
    if "." in backend:  # HAProxy's own pages are no service
        place = backend, release_of(server) if server else REST
        found[place] = found.get(place, 0) + count


def _sum(answers: Iterable[Answered]) -> Figures:
    requests = http_5xx = errors = 0
    latency: Counter[str] = Counter()
    for answer in answers:
        requests += answer.count
        http_5xx += answer.count * answer.http_5xx
        errors += answer.count * answer.error
        if answer.ms is not None:
            latency[bound_of(answer.ms)] += answer.count
    return Figures(requests, http_5xx, errors, dict(latency))
