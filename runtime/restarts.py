"""Whether a container that ended is run again, and when: worked out, not done. The figures are Docker's."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.model import Restart

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 60.0
WELL_AFTER_S = 10.0  # who ran so long is not in trouble: the next delay is the first again


@dataclass(frozen=True)
class Ending:
    """`exit_code` is None where nobody saw the end. `stopped`: somebody wanted it so."""

    exit_code: int | None
    ran_s: float
    stopped: bool


@dataclass(frozen=True)
class History:
    """How often a container was run again since somebody started it, and the delay before the last time."""

    count: int = 0
    delay_s: float = 0.0


def again(policy: Restart, ending: Ending, before: History) -> History | None:
    """The history with the next start in it, which is due after `delay_s`; None if there shall be none."""
    if ending.stopped or policy.policy == "no":
        return None
    if policy.policy == "on-failure" and (ending.exit_code == 0 or (policy.most and before.count >= policy.most)):
        return None
    fresh = ending.ran_s >= WELL_AFTER_S or not before.delay_s
    delay_s = FIRST_DELAY_S if fresh else min(LONGEST_DELAY_S, before.delay_s * 2)
    return History(before.count + 1, delay_s)
