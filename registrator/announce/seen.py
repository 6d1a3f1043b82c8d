"""What is known of one container, and how an event changes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from registrator.announce.container import Container
from registrator.announce.signals import ends, named, signal_number

DIED = frozenset({"die", "died"})  # Docker's word and Podman's
GONE = frozenset({"destroy", "remove"})
# After these there is more to learn than the event says.
NEWS = frozenset({"start", "restart", "pause", "unpause", "rename", "update", "connect", "disconnect", "health_status"})
_HEALTH = "health_status: "


@dataclass(frozen=True)
class Event:
    """One line of Docker's event stream. `at` is seconds since the epoch by Docker's clock."""

    action: str
    container: str
    at: float = 0.0
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """A container, and the words for it if it was told to end."""

    container: Container
    ending: str = ""


def after(seen: Seen, event: Event) -> Seen:
    """What is known after `event`. One that is older than this run of the container says nothing of it."""
    if event.at and event.at < seen.container.started_at:
        return seen
    if event.action == "kill":
        # Podman names no signal; what it reports as `kill` ends nearly always.
        signal = signal_number(event.attributes.get("signal", "")) or seen.container.stop_signal
        if ends(signal, seen.container.stop_signal):
            return replace(seen, ending=seen.ending or f"it was sent {named(signal)}")
    if event.action == "stop":
        return replace(seen, ending=seen.ending or "it was stopped")
    if event.action in DIED:
        return replace(seen, container=replace(seen.container, running=False, exit_code=_exit_code(event)))
    if event.action.startswith(_HEALTH):
        return replace(seen, container=replace(seen.container, health=event.action.removeprefix(_HEALTH)))
    return seen


def refreshed(before: Seen | None, container: Container) -> Seen:
    """What is known after a new look. An order to end holds for the run that got it; so does where it was reached."""
    if before is None or before.container.started_at != container.started_at:
        return Seen(container)
    return Seen(container if container.running else _where_it_was(before.container, container), before.ending)


def _where_it_was(before: Container, ended: Container) -> Container:
    """Docker takes ports and addresses from one that ended, a moment after its death."""
    return replace(ended, published=before.published, address=before.address, networks=before.networks)


def _exit_code(event: Event) -> int:
    text = event.attributes.get("exitCode") or event.attributes.get("containerExitCode") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0
