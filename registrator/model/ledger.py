"""The ledger: when an operator last said that what etcd holds is what is wanted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ledger:
    """`/hecd/control/ledger`, written by `hecd deploy` and `hecd restore`.

    After etcd was wiped or restored, agents and control wait until `confirmed_at` (seconds since the epoch) is newer
    than the one they remember: an operator's order, which an old backup can't hold.
    """

    confirmed_at: float
    confirmed_by: str = ""
