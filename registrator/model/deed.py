"""A deed: what somebody ordered, for `hecd audit`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Deed:
    """`/hecd/audit/<id>`, written in the transaction of the order itself; the leader keeps the newest."""

    id: str  # begins with the time, so that keys are in the order of time
    at: float  # seconds since the epoch
    who: str  # user@host
    what: str  # deploy, rollback, scale, drain, …
    target: str  # a service or a node
    detail: str = ""
