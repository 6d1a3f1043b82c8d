"""What the end of an attempt adds to the history of its service. Pure."""

from __future__ import annotations

from registrator.model.outcome import Outcome
from registrator.model.rollout import ENDED, Rollout
from registrator.model.service import Service


def concluded(service: Service, before: Rollout | None, after: Rollout, now: float) -> list[Outcome]:
    """The outcomes that the step from `before` to `after` makes known: of the release that ended, or was overtaken.

    Of one that is overtaken it is no longer known who ordered it; its release record says who made it.
    """
    found = []
    if before is not None and before.release != after.release and before.state not in ENDED:
        reason = f"release {after.release} was wanted{_by(service)}"
        found.append(_outcome(before, "overtaken", "; then ".join(filter(None, (before.reason, reason))), "", now))
        before = None
    fresh = before is None or (before.release, before.state) != (after.release, after.state)
    if after.state in ENDED and fresh:
        again = after.state == "done" and before is not None and after.release in before.proven
        reason = f"went back to it{_by(service)}" if again else after.reason
        found.append(_outcome(after, after.state, reason, service.updated_by, now))
    return found


def _outcome(rollout: Rollout, state: str, reason: str, by: str, now: float) -> Outcome:
    return Outcome(rollout.service, rollout.release, state, reason, by, rollout.started_at, rollout.ended_at or now)


def _by(service: Service) -> str:
    return f", by {service.updated_by}" if service.updated_by else ""
