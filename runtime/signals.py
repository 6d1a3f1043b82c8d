"""Signals, named as people name them."""

from __future__ import annotations

import re
import signal

from runtime.errors import InvalidSpec

_FORM = re.compile(r"(?P<number>[0-9]{1,2})|(?:SIG)?(?P<name>[A-Z][A-Z0-9]*)(?P<offset>[+-][0-9]{1,2})?")


def number_of(container: str, text: str) -> int:
    """The number of SIGTERM, term, 15 or RTMIN+3, meant for `container`. Raises InvalidSpec."""
    found = _FORM.fullmatch(text.upper())
    number = 0
    if found and found["number"]:
        number = int(found["number"])
    elif found and f"SIG{found['name']}" in signal.Signals.__members__:
        number = signal.Signals[f"SIG{found['name']}"] + int(found["offset"] or 0)
    if number not in signal.valid_signals():
        raise InvalidSpec(container, (f"{text!r} is no signal, as SIGTERM is",))
    return number
