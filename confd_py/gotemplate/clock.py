"""Go's time.Time, as far as templates use it: its layouts, fields and a few ways to another time."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from confd_py.gotemplate.duration import SECOND_NS, Duration
from confd_py.gotemplate.values import Int64

_MONTHS = calendar.month_name
_DAYS = calendar.day_name
_YEAR_1_S = 62_135_596_800  # from there to 1970
# Longest first, where one begins like another.
_PARTS = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|2006|-07:00:00|-070000|-07:00|-0700|-07|Z07:00:00|Z070000|Z07:00|Z0700|Z07"
    r"|[.,](?:0+|9+)(?![0-9])|002|__2|01|02|03|04|05|06|15|_2(?!006)|PM|pm|1|2|3|4|5"
)


RFC3339 = "2006-01-02T15:04:05.999999999Z07:00"  # with what there is of the second


class _Named(int):
    """A number that prints as a name."""

    def go_text(self) -> str:
        return format(int(self))

    def method(self, name: str) -> Callable[..., Any] | None:
        """What a template calls `.Name`; None: it is not served."""
        return self.go_text if name == "String" else None


class Month(_Named):
    """time.Month: 1 is January."""

    go_type = "time.Month"

    def go_text(self) -> str:
        return _MONTHS[self]

    __str__ = go_text


class Weekday(_Named):
    """time.Weekday: 0 is Sunday."""

    go_type = "time.Weekday"

    def go_text(self) -> str:
        return _DAYS[(self - 1) % 7]

    __str__ = go_text


class Location(str):
    """*time.Location: the name of a time zone."""

    __slots__ = ()
    go_type = "*time.Location"

    def go_text(self) -> str:
        return str(self)

    def method(self, name: str) -> Callable[..., Any] | None:
        """What a template calls `.Name`; None: it is not served."""
        return self.go_text if name == "String" else None


@dataclass(frozen=True)
class Time:
    """A moment in a time zone; `nanosecond` is what datetime has no room for."""

    moment: datetime
    nanosecond: int = 0

    go_type = "time.Time"

    def go_text(self) -> str:
        return self.Format("2006-01-02 15:04:05.999999999 -0700 MST")

    __str__ = go_text

    def Format(self, layout: str) -> str:
        """The moment written as Go's reference time is in `layout`."""
        return _PARTS.sub(lambda match: self._part(match[0]), layout)

    def method(self, name: str) -> Callable[..., Any] | None:
        """What a template calls `.Name`; None: it is not served."""
        return getattr(self, name) if name in METHODS else None

    def AddDate(self, years: int, months: int, days: int) -> Time:
        index = self.moment.year * 12 + self.moment.month - 1 + years * 12 + months
        first = self.moment.replace(year=index // 12, month=index % 12 + 1, day=1)
        return Time(first + timedelta(days=self.moment.day - 1 + days), self.nanosecond)

    def Year(self) -> int:
        return self.moment.year

    def Month(self) -> Month:
        return Month(self.moment.month)

    def Day(self) -> int:
        return self.moment.day

    def Hour(self) -> int:
        return self.moment.hour

    def Minute(self) -> int:
        return self.moment.minute

    def Second(self) -> int:
        return self.moment.second

    def Nanosecond(self) -> int:
        return self.nanosecond

    def YearDay(self) -> int:
        return self.moment.timetuple().tm_yday

    def Weekday(self) -> Weekday:
        return Weekday(self.moment.isoweekday() % 7)

    def Unix(self) -> Int64:
        return Int64(int(self.moment.replace(microsecond=0).timestamp()))

    def UnixMilli(self) -> Int64:
        return Int64(self.Unix() * 1000 + self.nanosecond // 1_000_000)

    def UnixMicro(self) -> Int64:
        return Int64(self.Unix() * 1_000_000 + self.nanosecond // 1000)

    def UnixNano(self) -> Int64:
        return Int64(self.Unix() * 1_000_000_000 + self.nanosecond)

    def UTC(self) -> Time:
        return Time(self.moment.astimezone(UTC), self.nanosecond)

    def Local(self) -> Time:
        return Time(self.moment.astimezone(), self.nanosecond)

    def Location(self) -> Location:
        return Location("UTC") if self.moment.tzinfo is UTC else _local()

    def String(self) -> str:
        return self.go_text()

    def GoString(self) -> str:
        moment = self.moment
        where = "time.UTC" if moment.tzinfo is UTC else f'time.Location("{self.Location()}")'
        if where == 'time.Location("Local")':
            where = "time.Local"
        clock = f"{moment.hour}, {moment.minute}, {moment.second}, {self.nanosecond}"
        return f"time.Date({moment.year}, time.{self.Month()}, {moment.day}, {clock}, {where})"

    def IsDST(self) -> bool:
        return bool(self.moment.timetuple().tm_isdst > 0)

    def IsZero(self) -> bool:
        return False

    def Add(self, duration: int) -> Time:
        seconds, nanosecond = divmod(self.nanosecond + duration, SECOND_NS)
        return Time(self.moment + timedelta(seconds=seconds), nanosecond)

    def Sub(self, other: Time) -> Duration:
        return Duration(self.UnixNano() - other.UnixNano())

    def Truncate(self, to: int) -> Time:
        """Counted from Go's year 1, in UTC."""
        return self.Add(-self._past(to))

    def Round(self, to: int) -> Time:
        """To the nearest multiple, halfway up."""
        past = self._past(to)
        return self.Add(to - past if past and past * 2 >= to else -past)

    def Before(self, other: Time) -> bool:
        return self.UnixNano() < other.UnixNano()

    def After(self, other: Time) -> bool:
        return self.UnixNano() > other.UnixNano()

    def Equal(self, other: Time) -> bool:
        return self.UnixNano() == other.UnixNano()

    def _past(self, step: int) -> int:
        """Nanoseconds since the last multiple of `step`."""
        return (self.UnixNano() + _YEAR_1_S * SECOND_NS) % step if step > 0 else 0

    def _part(self, part: str) -> str:
        moment = self.moment
        if part in _WRITTEN:
            return moment.strftime(_WRITTEN[part])
        if part[0] in ".,":
            digits = f"{self.nanosecond:09d}"[: len(part) - 1]
            return part[0] + digits if part[1] == "0" else (part[0] + digits.rstrip("0") if digits.strip("0") else "")
        if part in _NUMBERS:
            return str(_NUMBERS[part](moment))
        return _zone(moment.utcoffset() or timedelta(), part)


METHODS = frozenset(name for name in vars(Time) if name[0].isupper())
_WRITTEN = {
    "January": "%B", "Jan": "%b", "Monday": "%A", "Mon": "%a", "MST": "%Z", "06": "%y", "01": "%m", "02": "%d",
    "03": "%I", "04": "%M", "05": "%S", "15": "%H", "002": "%j",
}  # fmt: skip
_NUMBERS: dict[str, Callable[[datetime], object]] = {
    "2006": lambda t: f"{t.year:04d}",
    "1": lambda t: t.month,
    "2": lambda t: t.day,
    "_2": lambda t: f"{t.day:2d}",
    "__2": lambda t: f"{t.timetuple().tm_yday:3d}",
    "3": lambda t: (t.hour % 12) or 12,
    "4": lambda t: t.minute,
    "5": lambda t: t.second,
    "PM": lambda t: "PM" if t.hour >= 12 else "AM",
    "pm": lambda t: "pm" if t.hour >= 12 else "am",
}


def _zone(offset: timedelta, part: str) -> str:
    seconds = int(offset.total_seconds())
    if part[0] == "Z" and not seconds:
        return "Z"
    hours, rest = divmod(abs(seconds), 3600)
    fields = [f"{'-' if seconds < 0 else '+'}{hours:02d}"]
    if len(part) > 3:
        fields.append(f"{rest // 60:02d}")
    if len(part) > 6:
        fields.append(f"{rest % 60:02d}")
    return (":" if ":" in part else "").join(fields)


def _local() -> Location:
    """Local, unless TZ names another; what it names and nobody knows is UTC."""
    import os  # the one place that asks the environment

    name = os.environ.get("TZ")
    if name is None:
        return Location("Local")
    name = name.removeprefix(":")
    try:
        return Location(ZoneInfo(name).key if name else "UTC")
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return Location("UTC")


def now(zone: tzinfo | None = None) -> Time:
    """This moment in `zone`, the machine's own by default."""
    import time  # the one place that asks the clock

    nanos = time.time_ns()
    moment = datetime.fromtimestamp(nanos // 1_000_000_000, UTC).astimezone(zone)
    return Time(moment, nanos % 1_000_000_000)
