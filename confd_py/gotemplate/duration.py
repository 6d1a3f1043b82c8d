"""Go's time.Duration: nanoseconds that print as hours, minutes and seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confd_py.gotemplate.values import Int64

_SMALL = ((1_000_000, "ms"), (1_000, "µs"), (1, "ns"))
SECOND_NS = 1_000_000_000


class Duration(Int64):
    """Nanoseconds."""

    go_type = "time.Duration"

    def go_text(self) -> str:
        rest, sign = abs(self), "-" if self < 0 else ""
        if rest == 0:
            return "0s"
        for unit, name in _SMALL:
            if unit <= rest < SECOND_NS:
                return f"{sign}{_decimal(rest, unit)}{name}"
        hours, rest = divmod(rest, 3600 * SECOND_NS)
        minutes, rest = divmod(rest, 60 * SECOND_NS)
        text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
        return f"{sign}{text}{_decimal(rest, SECOND_NS)}s"

    __str__ = go_text

    def method(self, name: str) -> Callable[..., Any] | None:
        """What a template calls `.Name`; None: it is not served."""
        return getattr(self, name) if name in METHODS else None

    def Hours(self) -> float:
        return self / (3600 * SECOND_NS)

    def Minutes(self) -> float:
        return self / (60 * SECOND_NS)

    def Seconds(self) -> float:
        return self / SECOND_NS

    def Milliseconds(self) -> Int64:
        return Int64(_whole(self, 1_000_000))

    def Microseconds(self) -> Int64:
        return Int64(_whole(self, 1_000))

    def Nanoseconds(self) -> Int64:
        return Int64(self)

    def Abs(self) -> Duration:
        return Duration(abs(self))

    def Truncate(self, to: int) -> Duration:
        return Duration(_whole(self, to) * to if to > 0 else self)

    def Round(self, to: int) -> Duration:
        """To the nearest multiple, halfway away from zero."""
        half = abs(self) + to // 2 if to > 0 else 0
        return Duration(half // to * to * (-1 if self < 0 else 1) if to > 0 else self)

    def String(self) -> str:
        return self.go_text()


METHODS = frozenset(name for name in vars(Duration) if name[0].isupper())


def _whole(value: int, unit: int) -> int:
    """Towards zero, as Go divides."""
    return abs(value) // unit * (-1 if value < 0 else 1)


def _decimal(value: int, unit: int) -> str:
    digits = len(str(unit)) - 1
    fraction = f"{value % unit:0{digits}d}".rstrip("0") if digits else ""
    return f"{value // unit}{'.' if fraction else ''}{fraction}"
