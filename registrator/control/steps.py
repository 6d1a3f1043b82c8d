"""Which instances are started and drained now: as a release goes on, and to keep up one that stands. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from registrator.control import bluegreen, canary
from registrator.control.actions import Action, Assign, Drain
from registrator.control.placement import Board, NoPlace
from registrator.control.view import ServiceView
from registrator.model.instance import Assignment
from registrator.model.names import ReleaseNumber, instance_name, instance_number
from registrator.model.rollout import ENDED, Rollout


def rolled(view: ServiceView, rollout: Rollout, board: Board, now: float) -> tuple[list[Action], str]:
    """The steps by which one release takes the place of another, and why some can't be made, "" if all can."""
    new = [a for a in view.of_target(rollout.target) if not was_broken(view, rollout, a)]
    good = {a.instance for a in (*new, *bluegreen.kept(view, rollout, now))}
    old = [a for a in view.live if a.instance not in good]
    starts, drains = _budget(view, rollout, new, old, now)
    actions, blocked = _start(view, rollout, board, starts, rollout.target)
    victims = (
        _victims(view, rollout, old)[:drains]
        if old
        else _victims(view, rollout, new)[: max(0, len(new) - view.service.replicas)]
    )
    for victim in victims:
        reason = f"replaced by release {rollout.target}" if old else f"{view.service.replicas} replicas are wanted"
        reason = view.leaving.get(victim.instance, reason)
        actions.append(_drain(view, victim, reason))
    return actions, blocked


def beside(view: ServiceView, rollout: Rollout, board: Board, now: float) -> tuple[list[Action], str]:
    """The steps while both serve, or are to: the old release stays whole, a canary gets as many as its share takes."""
    stays = rollout.switch.old if rollout.switch else rollout.stable
    new, old = view.of_target(rollout.release), view.of_target(stays)
    new = [a for a in new if not was_broken(view, rollout, a)]
    rest = [a for a in view.live if a not in new and a not in old]
    want = view.service.replicas
    most = canary.wanted(view, rollout) if rollout.state == "canary" else want
    waiting = sum(not view.ready(a) for a in new)
    room = (view.service.update.parallelism or most) - waiting
    actions, blocked = _start(view, rollout, board, max(0, want - len(old)), stays)
    more, short = _start(view, rollout, board, max(0, min(most - len(new), room)), rollout.release, len(actions))
    going = _victims(view, rollout, rest)[: max(0, sum(map(view.ready, old)) + len(rest) - want)]
    for victim in [
        *going,
        *_victims(view, rollout, old)[: max(0, len(old) - want)],
        *_victims(view, rollout, new)[: max(0, len(new) - most)],
    ]:
        reason = view.leaving.get(victim.instance, f"not wanted beside release {rollout.release}")
        more.append(_drain(view, victim, reason))
    return [*actions, *more], blocked or short


def kept_up(view: ServiceView, rollout: Rollout, board: Board) -> Iterator[Action]:
    """A release that is held, or that failed and waits for somebody, makes no step. But what died is replaced, and what
    has to leave its node, by the release that is known to be good; where none is, by nothing."""
    good = _good(view, rollout)
    if rollout.state == "paused" and good not in rollout.proven:
        return
    sound = (a for a in view.live if a.release == good or not view.broken(a))
    staying = [a for a in sound if a.instance not in view.leaving]
    want = view.service.replicas + canary.kept(view, rollout)
    if rollout.switch is not None:
        good, want = bluegreen.serving(rollout), view.service.replicas
        staying = view.of_target(good)
    yield from _start(view, rollout, board, max(0, want - len(staying)), good)[0]
    if len(staying) >= want and all(view.ready(a) or view.broken(a) for a in staying):
        for a in view.live:
            if a.instance in view.leaving:
                yield _drain(view, a, view.leaving[a.instance])


def shrunk(view: ServiceView, rollout: Rollout, beside: int) -> Iterator[Action]:
    """What is too much of a paused service may go: it must be possible to remove it.

    `beside` instances are there besides the replicas, to be looked at.
    """
    most = view.service.replicas + beside if view.service.replicas else 0
    here = [a for a in view.live if a.instance not in view.leaving or not most]
    for victim in _victims(view, rollout, here)[: max(0, len(here) - most)]:
        reason = f"{view.service.replicas} replicas are wanted"
        yield _drain(view, victim, reason)


def was_broken(view: ServiceView, rollout: Rollout, assignment: Assignment) -> bool:
    """Whether it is broken, or is started again and again, and was there before the rollout began or was turned back,
    as one of a release that is gone back to may have been: it is replaced, and no failure of this rollout."""
    instance = view.instances.get(assignment.instance)
    if instance is None or rollout.state in ENDED or instance_number(assignment.instance) >= rollout.first_number:
        return False
    return instance.failing


def can_return(view: ServiceView, rollout: Rollout) -> bool:
    """Whether there is another release that is known to be good."""
    return rollout.stable not in (0, rollout.release) and rollout.stable in view.known_releases


def _good(view: ServiceView, rollout: Rollout) -> ReleaseNumber:
    """The release that is known to be good; where none is, the one that is wanted."""
    return rollout.stable if can_return(view, rollout) else rollout.release


def _budget(
    view: ServiceView, rollout: Rollout, new: list[Assignment], old: list[Assignment], now: float
) -> tuple[int, int]:
    """How many instances may be started and how many old ones drained at this moment."""
    want, update = view.service.replicas, view.service.update
    missing = max(0, want - len(new))
    if not old:
        if update.order == "stop-first" and rollout.state in ("rolling", "rolling-back"):
            missing = min(missing, max(0, want - len(new) - len(view.draining)))
        return missing, 0
    at_once = update.parallelism or max(want, 1)
    if rollout.promoted and update.order != "stop-first":
        at_once = max(want, 1)
    ready = sum(view.ready(a) for a in new)
    waiting = len(new) - ready
    paced = bool(new) and not rollout.promoted and now - rollout.progress_at < update.delay_s
    if update.order == "stop-first":
        underway = waiting + len(view.draining)
        room = max(0, want - len(new) - len(old) - len(view.draining))
        return min(missing, room), 0 if paced else max(0, min(at_once - underway, len(old)))
    starts = 0 if paced else max(0, min(missing, at_once - waiting, want + at_once - len(new) - len(old)))
    return starts, max(0, min(len(old), ready + len(old) - want))


def _start(
    view: ServiceView, rollout: Rollout, board: Board, count: int, release: ReleaseNumber, taken: int = 0
) -> tuple[list[Action], str]:
    """Orders for `count` instances of `release`; `taken` numbers have been given out in this pass already."""
    service = view.service
    actions: list[Action] = []
    first = rollout.next_number + taken
    for number in range(first, first + count):
        place = board.place(service, release)
        if isinstance(place, NoPlace):
            return actions, f"{count - len(actions)} can't be placed: {place.reason}"
        name = instance_name(service.service, number)
        order = Assignment(name, service.service, release, place.node, reason=place.reason)
        actions.append(Assign(order, place.reason))
    return actions, ""


def _drain(view: ServiceView, assignment: Assignment, reason: str) -> Drain:
    return Drain(replace(assignment, drain_timeout_s=view.service.traffic.drain_timeout_s), reason)


def _victims(view: ServiceView, rollout: Rollout, candidates: list[Assignment]) -> list[Assignment]:
    """Who goes first: the broken, then those that get no requests, then those not serving yet, then those that are not
    of the release known to be good, then the youngest."""
    good = _good(view, rollout)

    def worth(a: Assignment) -> tuple[bool, bool, bool, bool, int]:
        aside = rollout.weights.get(str(a.release)) == 0
        return not view.broken(a), not aside, view.ready(a), a.release == good, -instance_number(a.instance)

    return sorted(candidates, key=worth)
