"""The hooks of a release: what runs once, in a container of its own, before it begins and after it is done. Pure.

  preparing ──pre_deploy passed──> canary, warming, rolling ... done ──post_deploy──> its end is written down
      └───── it failed: exit code, time, no node, node lost ─────> as any release that failed; nothing was touched

  of each:  waiting ──a node has room, no other run of the service is under way──> ordered ──its agent says──> passed
                                                                                      └────> failed

A run is never ordered twice, and none beside another one of its service. What became of one whose node is lost is not
known: it counts as failed, as it may have been half done, or be running still. It is for a person to order it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from registrator.control.actions import Action, Conclude, ForgetRun, OrderRun
from registrator.control.placement import Board, NoPlace
from registrator.control.view import ServiceView
from registrator.model.hook import HOOKS, POST_DEPLOY, PRE_DEPLOY, Hooks, Passage, Run, run_name
from registrator.model.outcome import Outcome
from registrator.model.rollout import Rollout

NO_WORD_S = 30.0  # so much longer than it may take is waited for its agent's word
_MORE = {"run": 0, "stop": 1, "remove": 2}  # orders only grow


def begun(view: ServiceView, rollout: Rollout, now: float) -> Rollout:
    """A fresh rollout with what its hooks are owed. One that has served before is owed none: nothing is new."""
    owed = {name: Passage(since=now) for name in HOOKS if _hooks(view).named(name)}
    if rollout.release in rollout.proven:
        return replace(rollout, hooks=dict.fromkeys(owed, Passage("skipped", since=now)))
    if PRE_DEPLOY in owed and rollout.release in rollout.prepared:
        owed[PRE_DEPLOY] = Passage("skipped", since=now)
    first = owed.get(PRE_DEPLOY)
    return replace(rollout, hooks=owed, state="preparing" if first and first.state == "waiting" else rollout.state)


def steered(rollout: Rollout, now: float) -> Rollout:
    """A rollout that is tried on though its pre_deploy hook failed: the hook is tried once more."""
    before = rollout.hooks.get(PRE_DEPLOY)
    if rollout.state != "rolling" or before is None or before.state != "failed":
        return rollout
    again = Passage(since=now, attempt=before.attempt + 1)
    return replace(rollout, state="preparing", hooks={**rollout.hooks, PRE_DEPLOY: again})


def advance(
    view: ServiceView, rollout: Rollout, board: Board, now: float, since: float
) -> tuple[Rollout, list[Action], str]:
    """The rollout with the next step of its hook, what is to be done for that, and why."""
    name = _due(view, rollout)
    before = rollout.hooks.get(name) or Passage(since=now)
    after, actions = before, list[Action]()
    if name and before.state == "waiting":
        after, actions = _order(view, rollout, name, before, board, now, since)
    elif name:
        after = _heard(view, before, now, since)
    if (first := rollout.hooks.get(PRE_DEPLOY)) and first.state in ("waiting", "ordered") and name != PRE_DEPLOY:
        given_up = replace(first, state="failed", reason=rollout.reason)
        rollout = replace(rollout, hooks={**rollout.hooks, PRE_DEPLOY: given_up})
    if after == before:
        return rollout, [*actions, *_tidy(view, rollout)], ""
    rollout = replace(rollout, hooks={**rollout.hooks, name: after})
    if name == POST_DEPLOY and after.state == "failed":
        actions.append(_told(view, rollout, after))
    return rollout, [*actions, *_tidy(view, rollout)], _said(rollout, name, after)


def tail(view: ServiceView, rollout: Rollout) -> tuple[str, ...]:
    """The last lines that the pre_deploy hook wrote."""
    passage = rollout.hooks.get(PRE_DEPLOY)
    result = view.results.get(passage.run) if passage else None
    return result.log_tail if result else ()


def ends(view: ServiceView, rollout: Rollout, since: float) -> list[float]:
    """When something is due though nothing changes."""
    deadline_s = view.service.update.deadline_s
    found = []
    for passage in rollout.hooks.values():
        run = view.runs.get(passage.run)
        if passage.state == "waiting":
            found += [max(passage.since, since) + deadline_s]
            found += [_given_up_at(view, other, since) for other in view.runs.values()]
        elif passage.state == "ordered" and run is not None:
            found += [max(run.ordered_at, since) + deadline_s, _given_up_at(view, run, since)]
    return found


def _hooks(view: ServiceView) -> Hooks:
    return view.release.hooks if view.release else Hooks()


def _due(view: ServiceView, rollout: Rollout) -> str:
    """The hook whose turn it is; "" if none."""
    if rollout.state == "preparing":
        return PRE_DEPLOY
    last = rollout.hooks.get(POST_DEPLOY, Passage())
    owed = _hooks(view).post_deploy is not None and last.state in ("waiting", "ordered")
    return POST_DEPLOY if rollout.state == "done" and owed and not view.service.retiring else ""


def _order(
    view: ServiceView, rollout: Rollout, name: str, passage: Passage, board: Board, now: float, since: float
) -> tuple[Passage, list[Action]]:
    hook = _hooks(view).named(name)
    if hook is None:
        return replace(passage, state="failed", reason=f"release {rollout.release} is not in etcd"), []
    if busy := next((run for run in view.runs.values() if _under_way(view, run, now, since)), None):
        return replace(passage, reason=f"waits for the end of {busy.run} on {busy.node}"), []
    place = board.place_once(view.service)
    if isinstance(place, NoPlace):
        late = now - max(passage.since, since) > view.service.update.deadline_s
        reason = f"no node for it: {place.reason}"
        return replace(passage, state="failed" if late else "waiting", reason=reason), []
    service, release = view.service.service, rollout.release
    title = run_name(service, release, name, passage.attempt)
    run = Run(title, service, release, name, place.node, "run", place.reason, hook.timeout_s, now)
    ordered = replace(passage, state="ordered", run=title, node=str(place.node), since=now, reason="")
    return ordered, [OrderRun(run, f"{name} of release {release}; {place.reason}")]


def _heard(view: ServiceView, passage: Passage, now: float, since: float) -> Passage:
    """What has become of a run that was ordered."""
    state, reason = _verdict(view, passage, now, since)
    return replace(passage, state=state, reason=reason) if state else passage


def _verdict(view: ServiceView, passage: Passage, now: float, since: float) -> tuple[str, str]:
    """passed or failed, and why; "" while it goes on."""
    run, result = view.runs.get(passage.run), view.results.get(passage.run)
    if result is not None and result.over:
        return result.state, result.reason
    if run is None:
        return "failed", "its order is gone from etcd: what became of it is not known"
    begun = result is not None and result.state != "preparing"
    if run.node in view.lost:
        return "failed", f"{run.node} was lost {'while it ran: what became of it is not known' if begun else 'before'}"
    deadline_s = view.service.update.deadline_s
    if not begun and now - max(run.ordered_at, since) > deadline_s:
        return "failed", f"it did not begin within {deadline_s:g} s"
    if now > _given_up_at(view, run, since):
        return "failed", f"nothing was heard of its end, {NO_WORD_S:g} s after the {run.timeout_s:g} s that it may take"
    return "", ""


def _under_way(view: ServiceView, run: Run, now: float, since: float) -> bool:
    """Whether it may be running, so that nothing may run beside it."""
    result = view.results.get(run.run)
    over = result.over if result else run.order != "run"
    return not over and run.node not in view.lost and now <= _given_up_at(view, run, since)


def _given_up_at(view: ServiceView, run: Run, since: float) -> float:
    return max(run.ordered_at, since) + view.service.update.deadline_s + run.timeout_s + NO_WORD_S


def _tidy(view: ServiceView, rollout: Rollout) -> Iterator[Action]:
    """Runs that are to be stopped, or whose containers are no longer looked at; records of those that are gone."""
    for run in view.runs.values():
        result = view.results.get(run.run)
        wish, why = _wish(view, rollout, run)
        if run.order == "remove" and (result is None or run.node in view.lost):
            yield ForgetRun(run, "it is gone")
            yield from [ForgetRun(result, "its node is gone")] if result else []
        elif _MORE[wish] > _MORE[run.order]:
            yield OrderRun(replace(run, order=wish, reason=why), why)


def _wish(view: ServiceView, rollout: Rollout, run: Run) -> tuple[str, str]:
    """What should become of a run, and why. It is kept after its end, so that one can read what it wrote."""
    mine = {passage.run: passage for passage in rollout.hooks.values() if passage.run}
    result = view.results.get(run.run)
    over = result is not None and result.over
    if view.service.retiring:
        return "remove", "its service is removed"
    if run.release not in view.known_releases:
        return "remove", "its release is forgotten"
    if run.run not in mine and any(view.runs[r].hook == run.hook for r in mine if r in view.runs):
        return "remove", "another one came after it"
    if not over and run.hook == PRE_DEPLOY and (run.run not in mine or rollout.state != "preparing"):
        return "stop", rollout.reason or f"release {rollout.release} is wanted"
    if not over and run.run in mine and mine[run.run].state == "failed":
        return "stop", mine[run.run].reason
    return run.order, ""


def _told(view: ServiceView, rollout: Rollout, passage: Passage) -> Conclude:
    """What the history says of a release that serves though its post_deploy hook failed."""
    reason = f"it serves, but post_deploy on {passage.node or 'no node'}: {passage.reason}"
    name, by = view.service.service, view.service.updated_by
    return Conclude(Outcome(name, rollout.release, "done", reason, by, rollout.started_at, rollout.ended_at), reason)


def _said(rollout: Rollout, name: str, passage: Passage) -> str:
    where = f" on {passage.node}" if passage.node else ""
    return f"{name} of release {rollout.release} {passage.state}{where}" + (
        f": {passage.reason}" * bool(passage.reason)
    )
