"""Compose's notations for times and sizes. All raise ValueError with a line that says what is wanted."""

from __future__ import annotations

import math
import re

YEAR_S = 365 * 24 * 3600.0
MAX_BYTES = 1 << 50

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TERM = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)(ns|us|µs|ms|s|m|h)")
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?(|b|[kmgt](?:i?b)?)", re.IGNORECASE)
_POWER = {"b": 0, "": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def duration_s(text: str) -> float:
    """Seconds of `1m30s`, `500ms`, `1.5h`; at most a year."""
    terms = _TERM.findall(text)
    if text == "0":
        return 0.0
    if not terms or "".join(number + unit for number, unit in terms) != text:
        raise ValueError("must be a time with units, such as 1m30s or 500ms")
    seconds = math.fsum(float(number) * _UNITS_S[unit] for number, unit in terms)
    if seconds > YEAR_S:
        raise ValueError("must not be longer than a year")
    return seconds


def size_bytes(text: str) -> int:
    """Bytes of `64m`, `1.5GB`, `4096`: steps of 1024."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("must be a size, such as 64m or 1g")
    size = int(float(match[1]) * 1024 ** _POWER[match[2][:1].lower()])
    if size > MAX_BYTES:
        raise ValueError("must not be larger than 1024 TiB")
    return size
