"""By what a release without a canary is judged: x-hecd.judge."""

from __future__ import annotations

from collections.abc import Sequence

from registrator.model.canary import FAILURES, JUDGED_BY, QUEUE
from registrator.model.service import Port
from registrator.spec.field import Field


def judge_of(extra: Field, update: Field, ports: Sequence[Port], switches: bool) -> tuple[str, ...]:
    """What x-hecd says, else the usual: failures, and after a switch whether it hangs. Not its speed, which would be
    compared with that of another hour, and of a release that rolls with processes that are not fresh."""
    place = extra["judge"]
    if place.value is None:
        return (FAILURES, QUEUE) if switches else (FAILURES,)
    if extra["canary"].value:
        place.fault("does not go with canary, which is judged by all there is; leave it away")
    words = (JUDGED_BY if place.truth() else ()) if isinstance(place.value, bool) else _listed(place)
    if words and not ports:
        place.fault("needs ports: it is judged by what the load balancers answer")
    if words and update["failure_action"].text() == "continue":
        place.fault("does not go with failure_action: continue, which turns nothing back")
    return words


def _listed(place: Field) -> tuple[str, ...]:
    said = [word.text() for word in place.items()]
    return tuple(word for word in JUDGED_BY if word in said)
