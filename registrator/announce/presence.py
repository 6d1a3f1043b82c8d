"""Whether a service is to be announced, and as what. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from registrator.announce.container import Container
from registrator.announce.conventions import Service
from registrator.announce.seen import Seen
from registrator.health.verdict import Health

_SIGNALLED = 128  # set in the exit code of what a signal ended


@dataclass(frozen=True)
class Presence:
    """`state` is running, draining or exited as in model.instance; or absent, of which nothing is announced."""

    state: str
    health: str
    reason: str = ""

    @property
    def serving(self) -> bool:
        return self.state == "running" and self.health == "healthy"


@dataclass(frozen=True)
class Announced:
    """A service of a container, and how it stands."""

    service: Service
    container: Container
    presence: Presence


def presence(seen: Seen, probed: Health | None, *, keep_failed: bool = False) -> Presence:
    """How a service of `seen` stands. `probed` is the verdict of its own probe, None if it asks for none.

    `keep_failed`: one that ended with a failure stays announced, as -deregister on-success has it.
    """
    if not seen.container.running:
        return _ended(seen.container, keep_failed=keep_failed)
    stands = _running(seen.container, probed)
    if seen.ending and stands.state == "running":
        return replace(stands, state="draining", reason=seen.ending)
    return stands


def _running(container: Container, probed: Health | None) -> Presence:
    if container.paused:
        return Presence("running", "unhealthy", "it is paused")
    if container.health == "starting":
        return Presence("absent", "unknown", "its HEALTHCHECK has not passed yet")
    if container.health == "unhealthy":
        return Presence("running", "unhealthy", "its HEALTHCHECK fails")
    if probed is not None and probed.verdict == "unknown":
        return Presence("absent", "unknown", "its probe has not passed yet" + (probed.detail and f": {probed.detail}"))
    if probed is not None and probed.verdict == "unhealthy":
        return Presence("running", "unhealthy", probed.detail)
    return Presence("running", "healthy")


def _ended(container: Container, *, keep_failed: bool) -> Presence:
    reason = f"exit code {container.exit_code}"
    failed = container.exit_code != 0 and not container.exit_code & _SIGNALLED
    return Presence("exited" if failed and keep_failed else "absent", "unknown", reason)
