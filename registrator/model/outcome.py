"""An outcome: how the last attempt at a release ended. The history of a service is those of its releases."""

from __future__ import annotations

from dataclasses import dataclass

from registrator.model.names import ReleaseNumber, ServiceName

# `state` is one of:
# done: it served, and was left for another one only by order
# rolled-back: it failed or was aborted, and the one before serves again
# paused: it failed, and nobody has decided yet
# overtaken: another release was wanted before it had ended


@dataclass(frozen=True)
class Outcome:
    """`/hecd/history/<service>/<release>`, written by the leader in the transaction that ends the attempt."""

    service: ServiceName
    release: ReleaseNumber
    state: str
    reason: str = ""
    ordered_by: str = ""
    started_at: float = 0.0  # seconds since the epoch, as the next one
    ended_at: float = 0.0
