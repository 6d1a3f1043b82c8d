"""Whether a release takes over all requests at once: x-hecd.strategy."""

from __future__ import annotations

from collections.abc import Sequence

from registrator.model.service import Port
from registrator.model.switch import BLUE_GREEN
from registrator.spec.field import Field


def is_blue_green(extra: Field, update: Field, ports: Sequence[Port]) -> bool:
    """What x-hecd says; what does not go with it stands in the findings."""
    place = extra["strategy"]
    if place.text() != BLUE_GREEN:
        if extra["keep"].value is not None:
            extra["keep"].fault(f"needs strategy: {BLUE_GREEN}, whose old instances it keeps")
        return False
    if not ports:
        place.fault(f"{BLUE_GREEN} needs ports: it is the load balancers that switch")
    if update["order"].text() == "stop-first":
        update["order"].fault(f"does not go with x-hecd.strategy: {BLUE_GREEN}: both sets run side by side")
    if update["failure_action"].text() == "continue":
        update["failure_action"].fault(f"does not go with x-hecd.strategy: {BLUE_GREEN}, which turns back")
    if update["delay"].value is not None:
        update["delay"].fault(f"does not go with x-hecd.strategy: {BLUE_GREEN}, which takes one step")
    return True
