"""A hold: requests of a service that are not to reach it now. They wait, or are told to come again."""

from __future__ import annotations

from dataclasses import dataclass

from registrator.model.names import ServiceName

HOLD_SERVER = "hecd-hold"  # the server of a backend behind which requests wait; templates/haproxy writes the same
SORRY_SERVER = "hecd-sorry"  # the one that answers 503
OPERATOR, RELEASE = "operator", "release"
LONGEST_S = 50.0  # HAProxy gives a request up that had no answer for 60 s


@dataclass(frozen=True)
class Hold:
    """`/hecd/holds/<service>/<owner>`: the operator's own, and the leader's while a release stops first.

    kind: "wait" (requests wait for `until`, or the end of the hold) or "sorry" (503 with Retry-After).
    """

    service: ServiceName
    owner: str  # OPERATOR | RELEASE
    kind: str  # "wait" | "sorry"
    since: float  # seconds since the epoch
    until: float = 0.0  # it ends by itself then; 0: never
    by: str = ""
    message: str = ""
