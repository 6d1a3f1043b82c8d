"""What the control loop may do. Each action carries the reason the user is shown."""

from __future__ import annotations

from dataclasses import dataclass

from registrator.model.hold import Hold
from registrator.model.hook import Result, Run
from registrator.model.instance import Assignment
from registrator.model.outcome import Outcome
from registrator.model.rollout import Rollout


@dataclass(frozen=True)
class Assign:
    """Tell a node to run an instance."""

    assignment: Assignment
    reason: str


@dataclass(frozen=True)
class Drain:
    """Tell a node to finish an instance; `assignment` is the old order."""

    assignment: Assignment
    reason: str


@dataclass(frozen=True)
class Unassign:
    """Forget an instance that is gone."""

    assignment: Assignment
    reason: str


@dataclass(frozen=True)
class Progress:
    """Write down how far the rollout is."""

    rollout: Rollout
    reason: str


@dataclass(frozen=True)
class Conclude:
    """Enter in the history how a release ended."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True)
class HoldBack:
    """Let requests wait at the load balancers."""

    hold: Hold
    reason: str


@dataclass(frozen=True)
class LetGo:
    """End a hold."""

    hold: Hold
    reason: str


@dataclass(frozen=True)
class OrderRun:
    """Tell a node to run a hook, to stop it, or to take away what is left of it."""

    run: Run
    reason: str


@dataclass(frozen=True)
class ForgetRun:
    """Delete the record of a run that is gone."""

    record: Run | Result
    reason: str


Action = Assign | Drain | Unassign | Progress | Conclude | HoldBack | LetGo | OrderRun | ForgetRun
