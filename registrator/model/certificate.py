"""A certificate that a load balancer serves, or should."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Certificate:
    """`names` and `ends_at` are of what is served; without `names` nothing is. `fault` is of the file put there."""

    file: str
    names: tuple[str, ...] = ()
    ends_at: float = 0.0  # seconds since the epoch
    fault: str = ""

    def covers(self, hostname: str) -> bool:
        """Whether clients who ask for `hostname` (or whatever a wildcard stands for) are shown it."""
        _, _, above = hostname.partition(".")
        return hostname in self.names or (f"*.{above}" in self.names and not hostname.startswith("*"))
