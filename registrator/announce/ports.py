"""What the announcer needs of the outside: Docker's word, and a probe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from registrator.announce.container import Container
from registrator.announce.seen import Event
from registrator.health.verdict import Probe
from registrator.model.release import Healthcheck


class Events(Protocol):
    """A stream of events that is being listened to."""

    def __iter__(self) -> Iterator[Event]:
        """Blocks for the next one; ends when Docker ends it or it is closed."""

    def close(self) -> None:
        """End it, from any thread."""


class Docker(Protocol):
    """Docker or Podman. Calls are blocking; the announcer makes them in threads. All raise DockerAway."""

    def subscribe(self, since: float) -> Events:
        """Events from now on, and those since `since` (seconds since the epoch, by Docker's clock) it remembers.

        Podman answers with the first event only.
        """

    def listing(self) -> Mapping[str, str]:
        """All containers: id -> running, paused, restarting, created, exited, …"""

    def inspect(self, container: str) -> Container | None:
        """One container; None if it is gone."""


class Prober(Protocol):
    """Looks at an address once."""

    async def __call__(self, address: str, check: Healthcheck) -> Probe:
        """Never raises for what is there; takes at most the check's timeout."""
