"""What an operator's word does to a rollout. Pure.

canary, rolling, monitoring ──pause──> held ──resume──> rolling     steps and deadline stand still meanwhile
canary, rolling, monitoring, held ──promote──> rolling              without delays, all at once, no window
preparing, canary, rolling, monitoring, held, paused ──abort──> rolling-back, or paused: nothing to go back to
paused (it failed) ──resume──> rolling                              once more, from where it is

A canary that was held or paused goes on as one: see canary.steered.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from registrator.model.rollout import Rollout
from registrator.model.steering import MAY, Steering


def steer(
    rollout: Rollout, wish: Steering | None, can_return: bool, now: float, known: Collection[int] = ()
) -> tuple[Rollout, str]:
    """The rollout after `wish`, if that is new, and why it changed, "" if it did not.

    `can_return` tells whether the release before can still be gone back to; `known` are the releases that are kept.
    """
    if wish is None or wish.at == rollout.obeyed:
        return rollout, ""
    heard = replace(rollout, obeyed=wish.at)
    if wish.release != rollout.release or rollout.state not in MAY.get(wish.order, ()):
        return heard, f"{wish.order} {wish.signed} came too late"
    match wish.order:
        case "pause":
            why = f"held {wish.signed}"
            return replace(heard, state="held", reason=why), why
        case "abort":
            return _abort(heard, f"aborted {wish.signed}", can_return, now, known)
        case _:
            going = replace(heard, state="rolling", reason="", failures=0, progress_at=now, ended_at=0.0)
            if wish.order == "promote":
                going = replace(going, state=_promoted(rollout), promoted=True)
            return going, f"{wish.order}d {wish.signed}"


def _promoted(rollout: Rollout) -> str:
    return "monitoring" if rollout.state == "monitoring" else "rolling"


def no_way_back(rollout: Rollout, known: Collection[int]) -> str:
    """Why nothing is gone back to by itself: there is nothing, or only what must be chosen."""
    served = [number for number in rollout.proven if number != rollout.release and number in known]
    if not served:
        return "there is no earlier release to go back to"
    return f"release {served[-1]} has served, too: `hecd rollback {rollout.service} {served[-1]}`"


def _abort(rollout: Rollout, why: str, can_return: bool, now: float, known: Collection[int]) -> tuple[Rollout, str]:
    if can_return:
        return replace(rollout, state="rolling-back", reason=why, progress_at=now, ended_at=0.0), why
    why += f"; {no_way_back(rollout, known)}"
    return replace(rollout, state="paused", reason=why, ended_at=now), why
