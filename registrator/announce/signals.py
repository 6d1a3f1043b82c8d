"""Signals by their names and numbers, and which of them mean that a process is to end. Pure."""

from __future__ import annotations

import signal

ENDING = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM})
_FIRST_REALTIME = 34  # of Linux's C library


def signal_number(text: str) -> int:
    """The number of `15`, `TERM`, `SIGTERM` or `SIGRTMIN+3`; 0 if it is none."""
    if text.isascii() and text.isdigit():
        return int(text)
    name, _, offset = text.upper().removeprefix("SIG").partition("+")
    if name == "RTMIN":
        return _FIRST_REALTIME + (int(offset) if offset.isdigit() else 0)
    return next((number.value for number in signal.Signals if number.name == f"SIG{name}"), 0)


def ends(number: int, stop_signal: int) -> bool:
    """Whether `number` tells a container whose stop signal is `stop_signal` to end."""
    return number == stop_signal or number in ENDING


def named(number: int) -> str:
    """SIGTERM for 15."""
    return next((known.name for known in signal.Signals if known.value == number), f"signal {number}")
