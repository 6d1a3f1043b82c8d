"""The steps by which a new release gets requests: x-hecd.canary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from registrator.model.canary import Step
from registrator.model.service import Port
from registrator.spec.field import Field

_BLIND = ("leastconn", "first")  # what a server without a request gets does not depend on its weight


def canary_of(extra: Field, update: Field, ports: Sequence[Port]) -> tuple[Step, ...]:
    """The steps in x-hecd; what is wrong in them, or does not go with them, stands in the findings."""
    place = extra["canary"]
    steps = tuple(_steps(place))
    if not steps:
        return ()
    if not ports:
        place.fault("needs ports: it is judged by what the load balancers answer")
    if extra["balance"].text() in _BLIND:
        extra["balance"].fault(
            "does not go with canary: idle servers get requests whatever their weight; write roundrobin"
        )
    if update["order"].text() == "stop-first":
        update["order"].fault("does not go with x-hecd.canary: both releases serve side by side")
    if update["failure_action"].text() == "continue":
        update["failure_action"].fault("does not go with x-hecd.canary: what it is for is to turn back")
    return steps


def _steps(place: Field) -> Iterator[Step]:
    before = 0
    for item in place.items():
        if None in (item["weight"].value, item["for"].value):
            continue  # the schema has said it
        weight = item["weight"].whole(1, least=1, most=99)
        if weight <= before:
            item["weight"].fault(f"must be more than the step before, which has {before}")
        before = max(before, weight)
        yield Step(float(weight), item["for"].duration_s(least_s=1.0))
