"""Steering: what an operator says about a rollout under way. The leader obeys it once."""

from __future__ import annotations

from dataclasses import dataclass

from registrator.model.names import ReleaseNumber, ServiceName

# order -> the states of a rollout in which it means something
MAY: dict[str, tuple[str, ...]] = {
    "pause": ("canary", "warming", "rolling", "monitoring"),
    "resume": ("held", "paused"),
    "promote": ("canary", "warming", "rolling", "monitoring", "held"),
    "abort": ("preparing", "canary", "warming", "rolling", "monitoring", "held", "paused"),
}


@dataclass(frozen=True)
class Steering:
    """`/hecd/steering/<service>`, written by operators; it is about the rollout of `release` and no other.

    `at`, seconds since the epoch, is its name too: the rollout remembers the one it has obeyed.
    """

    service: ServiceName
    release: ReleaseNumber
    order: str  # one of MAY
    at: float
    by: str = ""
    message: str = ""

    @property
    def signed(self) -> str:
        """Who said it, and why."""
        return f"by {self.by or 'somebody'}{': ' if self.message else ''}{self.message}"
