"""From the containers that are known to the services that are announced. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from registrator.announce.checks import Checked, check_of
from registrator.announce.conventions import Rules, Service, offer
from registrator.announce.presence import Announced, presence
from registrator.announce.seen import Seen
from registrator.health.verdict import Health


@dataclass(frozen=True)
class Target:
    """What is probed: one service of one run of a container, in one way."""

    container: str
    started_at: float
    service: str
    address: str
    checked: Checked


@dataclass(frozen=True)
class Survey:
    """`announced` has those of the youngest container last; `faults` are for the operator, `notes` for the curious."""

    announced: tuple[Announced, ...]
    targets: frozenset[Target]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def survey(
    known: Mapping[str, Seen], rules: Rules, verdict: Callable[[Target], Health | None], *, keep_failed: bool
) -> Survey:
    """All services of all containers, and how they stand."""
    announced, targets, faults, notes = [], set(), [], []
    for seen in sorted(known.values(), key=lambda one: one.container.started_at):
        container = seen.container
        network = known.get(container.shared_network_of)
        found = offer(container, rules, network.container if network else None)
        faults += [f"{container.name}: {warning}" for warning in found.warnings]
        notes += [f"{container.name}: {note}" for note in found.notes]
        for service in found.services:
            target = _target(seen, service)
            faults += [f"{container.name}: {warning}" for warning in target.checked.warnings]
            stands = presence(seen, verdict(target), keep_failed=keep_failed)
            announced.append(Announced(service, container, stands))
            if container.running and target.checked.check is not None:
                targets.add(target)
    return Survey(tuple(announced), frozenset(targets), tuple(faults), tuple(notes))


def _target(seen: Seen, service: Service) -> Target:
    return Target(seen.container.id, seen.container.started_at, service.id, service.ip, check_of(service))
