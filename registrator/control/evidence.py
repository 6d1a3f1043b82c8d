"""What all live load balancers counted of a new release and of the old one, in the same window, and before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from registrator.control.lost import lost
from registrator.control.view import ServiceView
from registrator.model.canary import Mark
from registrator.model.names import InstanceName
from registrator.model.node import Edge
from registrator.model.rollout import Rollout
from registrator.model.usage import Figures


def given(view: ServiceView, edge: Edge) -> bool:
    """Whether the edge tells what it answered."""
    return edge.counted_since > 0 and all(backend in edge.usage for backend in view.backends)


def marks(view: ServiceView, rollout: Rollout) -> dict[str, Mark]:
    """What each has counted until now: where the next window begins."""
    return {
        str(e.node): Mark(
            e.counted_since,
            _figures(view, e, rollout.old),
            _figures(view, e, rollout.release),
            {**_cut(view, e, rollout.old), **_cut(view, e, rollout.release)},
        )
        for e in view.edges
    }


def window(view: ServiceView, rollout: Rollout, besides: Collection[InstanceName] = ()) -> tuple[Figures, Figures]:
    """What all live edges counted of both releases since the marks of the rollout's trial: old, new. Not what was cut
    between an edge and an instance on another node that is lost, or `besides` in question."""
    pairs = list(_since_marks(view, rollout, lost(view, rollout) | set(besides)))
    return sum((old for old, _ in pairs), Figures()), sum((new for _, new in pairs), Figures())


def before(rollout: Rollout) -> Figures:
    """What the old release had answered, as far as load balancers know, until the rollout began."""
    trial = rollout.trial
    if trial is None:
        return Figures()
    return _grown(sum((mark.old for mark in trial.marks.values()), Figures()), trial.old)


def under_way(view: ServiceView, rollout: Rollout, besides: Collection[InstanceName] = ()) -> tuple[int, int]:
    """How many requests both releases have right now: old, new. Not those that an edge waits for of an instance on
    another node that is lost, or `besides` in question."""
    left_out = lost(view, rollout) | set(besides)
    found = [
        sum(
            edge.usage[backend][str(release)].sessions - _waiting(view, edge, backend, release, left_out)
            for edge in view.edges
            for backend in view.backends
            if str(release) in edge.usage.get(backend, {})
        )
        for release in (rollout.old, rollout.release)
    ]
    return max(0, found[0]), max(0, found[1])


def cut(view: ServiceView, rollout: Rollout) -> set[InstanceName]:
    """The instances of the new release of which some edge on another node has no answer that it waited for, or waits
    for one."""
    found = set()
    for edge in view.edges:
        names = _cut(view, edge, rollout.release).keys()
        busy = {n for b in view.backends for n, report in edge.servers.get(b, {}).items() if report.sessions}
        found |= {InstanceName(name) for name in {*names, *busy} if _apart(view, edge, name)}
    return {name for name in found if _release_of(view, name) == rollout.release}


def _waiting(view: ServiceView, edge: Edge, backend: str, release: int, left_out: Collection[InstanceName]) -> int:
    servers = edge.servers.get(backend, {})
    here = (name for name in left_out if name in servers and _release_of(view, name) == release)
    return sum(servers[name].sessions for name in here if _apart(view, edge, name))


def _cut(view: ServiceView, edge: Edge, release: int) -> dict[str, int]:
    """Server -> requests that it did not answer, of all backends."""
    found: dict[str, int] = {}
    for backend in view.backends:
        usage = edge.usage.get(backend, {}).get(str(release))
        for name, count in usage.cut.items() if usage is not None else ():
            found[name] = found.get(name, 0) + count
    return found


def _forgiven(view: ServiceView, edge: Edge, release: int, then: Mark, left_out: Collection[InstanceName]) -> int:
    """How many requests were cut with instances that are `left_out` since then."""
    found = {name: count for name, count in _cut(view, edge, release).items() if name in left_out}
    return sum(max(0, n - then.cut.get(name, 0)) for name, n in found.items() if _apart(view, edge, name))


def _apart(view: ServiceView, edge: Edge, name: str) -> bool:
    """Whether the instance may be gone while the edge is not: one on the edge's own node goes with it."""
    order = view.orders.get(InstanceName(name))
    return order is None or order.node != edge.node


def _release_of(view: ServiceView, name: str) -> int | None:
    order = view.orders.get(InstanceName(name))
    return order.release if order is not None else None


def _since_marks(
    view: ServiceView, rollout: Rollout, left_out: Collection[InstanceName]
) -> Iterator[tuple[Figures, Figures]]:
    marks = rollout.trial.marks if rollout.trial else {}
    for edge in view.edges:
        mark = marks.get(str(edge.node), Mark())
        if mark.counted_since != edge.counted_since:
            mark = Mark()  # it counts anew, or is new here
        old, new = _figures(view, edge, rollout.old), _figures(view, edge, rollout.release)
        yield (
            _grown(old, mark.old).without(_forgiven(view, edge, rollout.old, mark, left_out)),
            _grown(new, mark.new).without(_forgiven(view, edge, rollout.release, mark, left_out)),
        )


def _grown(now: Figures, then: Figures) -> Figures:
    """What came since `then`. A release that has been gone for long is counted no more: of it nothing came."""
    return now - then if now.requests >= then.requests else Figures()


def _figures(view: ServiceView, edge: Edge, release: int) -> Figures:
    found = (edge.usage.get(backend, {}).get(str(release)) for backend in view.backends)
    return sum((usage.total for usage in found if usage is not None), Figures())
