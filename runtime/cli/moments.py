"""Times and counts as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def moment_option(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """A span of time ago (1h30m), a Unix time, or a date, of this host's zone if none is said. Raises BadParameter."""
    if value is not None and (found := moment(value, datetime.now(UTC))) is None:
        raise click.BadParameter(f"{value!r} is no time: write 10m, 1h30m, 2026-01-31T12:00:00 or a Unix time")
    return None if value is None else found


def tail_option(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """A number of lines; "all" is None. Raises BadParameter."""
    if value != "all" and not value.isdecimal():
        raise click.BadParameter(f"{value!r} is no number of lines, nor all")
    return None if value == "all" else int(value)


def moment(text: str, now: datetime) -> datetime | None:
    """None where it is none."""
    span = _SPAN.fullmatch(text)
    if span and any(span.groups()):
        days, hours, minutes, seconds = (float(part or 0) for part in span.groups())
        return now - timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError):
        pass
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        return None
