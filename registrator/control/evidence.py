"""What all live load balancers counted of a new release and of the old one, in the same window, and before. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from registrator.control.view import ServiceView
from registrator.model.canary import Mark
from registrator.model.names import backend_name
from registrator.model.node import Edge
from registrator.model.rollout import Rollout
from registrator.model.usage import Figures


def backends(view: ServiceView) -> list[str]:
    """The backends of the service, one for each port that its instances serve on."""
    targets = dict.fromkeys(port.target for port in view.service.traffic.ports)
    return [backend_name(view.service.service, target) for target in targets]


def given(view: ServiceView, edge: Edge) -> bool:
    """Whether the edge tells what it answered."""
    return edge.counted_since > 0 and all(backend in edge.usage for backend in backends(view))


def marks(view: ServiceView, rollout: Rollout) -> dict[str, Mark]:
    """What each has counted until now: where the next window begins."""
    return {
        str(e.node): Mark(e.counted_since, _figures(view, e, rollout.old), _figures(view, e, rollout.release))
        for e in view.edges
    }


def window(view: ServiceView, rollout: Rollout) -> tuple[Figures, Figures]:
    """What all live edges counted of both releases since the marks of the rollout's trial: old, new."""
    pairs = list(_since_marks(view, rollout))
    return sum((old for old, _ in pairs), Figures()), sum((new for _, new in pairs), Figures())


def before(rollout: Rollout) -> Figures:
    """What the old release had answered, as far as load balancers know, until the rollout began."""
    trial = rollout.trial
    if trial is None:
        return Figures()
    return _grown(sum((mark.old for mark in trial.marks.values()), Figures()), trial.old)


def under_way(view: ServiceView, rollout: Rollout) -> tuple[int, int]:
    """How many requests both releases have right now: old, new."""
    found = [
        sum(
            edge.usage[backend][str(release)].sessions
            for edge in view.edges
            for backend in backends(view)
            if str(release) in edge.usage.get(backend, {})
        )
        for release in (rollout.old, rollout.release)
    ]
    return found[0], found[1]


def _since_marks(view: ServiceView, rollout: Rollout) -> Iterator[tuple[Figures, Figures]]:
    marks = rollout.trial.marks if rollout.trial else {}
    for edge in view.edges:
        mark = marks.get(str(edge.node), Mark())
        if mark.counted_since != edge.counted_since:
            mark = Mark()  # it counts anew, or is new here
        old, new = _figures(view, edge, rollout.old), _figures(view, edge, rollout.release)
        yield _grown(old, mark.old), _grown(new, mark.new)


def _grown(now: Figures, then: Figures) -> Figures:
    """What came since `then`. A release that has been gone for long is counted no more: of it nothing came."""
    return now - then if now.requests >= then.requests else Figures()


def _figures(view: ServiceView, edge: Edge, release: int) -> Figures:
    found = (edge.usage.get(backend, {}).get(str(release)) for backend in backends(view))
    return sum((usage.total for usage in found if usage is not None), Figures())
