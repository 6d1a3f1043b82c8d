"""How values are written in confd's flags and TOML files: Go's numbers, durations, shares, modes. Pure."""

from __future__ import annotations

import re
import tomllib
from typing import Any

LONGEST_S = 2**63 / 1e9  # 292 years: Go counts nanoseconds in 64 bits
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_GO_INT = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0(?:_?[0-7])*|[1-9](?:_?[0-9])*)"
)
_OCTAL = re.compile(r"[0-7](?:_?[0-7])*")
_GO_BOOLS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


class TomlFault(ValueError):
    """The text is not TOML; str() says why, `line` and `column` where."""

    def __init__(self, what: str, line: int, column: int) -> None:
        super().__init__(what)
        self.line = line
        self.column = column


def read_toml(text: str) -> dict[str, Any]:
    """The document. Raises TomlFault; tomllib says where only in words, we say it as every compiler does."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))  # as confd: some editors begin so
    except tomllib.TOMLDecodeError as err:
        message = str(err)
        found = re.search(r" \(at line (\d+), column (\d+)\)$", message)
        if found:
            raise TomlFault(message[: found.start()], int(found[1]), int(found[2])) from None
        line, column = text.count("\n") + 1, len(text.rsplit("\n", 1)[-1]) + 1
        raise TomlFault(message.removesuffix(" (at end of document)"), line, column) from None


def line_of(text: str, key: str) -> int:
    """The line of a TOML document where `key` is set or has its table; else that of [template]; 1 without either."""
    wanted = re.compile(rf"\s*(?:\[.*\b)?[\"']?{re.escape(key)}[\"']?\s*[=\]]", re.IGNORECASE)
    header = re.compile(r"\s*\[template\b", re.IGNORECASE)
    lines = list(enumerate(text.splitlines(), start=1))
    found = [number for pattern in (wanted, header) for number, line in lines if pattern.match(line)]
    return found[0] if found else 1


def parse_go_bool(text: str) -> bool | None:
    """As Go's strconv.ParseBool; None for what is neither."""
    return _GO_BOOLS.get(text)


def parse_go_int(text: str) -> int | None:
    """As Go's strconv.ParseInt with base 0, of any size: 0x10, 0b11, 0o17, 017, 1_000; None for what is no number."""
    if not _GO_INT.fullmatch(text):
        return None
    sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("+", text)
    octal = digits[0] == "0" and digits[1:2] not in tuple("xXbBoO")
    return int(sign + digits.replace("_", ""), 8 if octal else 0)


def parse_mode(text: str) -> tuple[int, str] | None:
    """Permission bits, and what surprises about them, "" if nothing does; None for what is no mode. As in confd the
    bits beyond 0777 are cut off."""
    confds = parse_go_int(text) if text[:1] not in ("+", "-") else None
    mode = int(text.replace("_", ""), 8) if text[0] != "0" and _OCTAL.fullmatch(text) else confds
    if mode is None or confds is None or confds >= 1 << 32:
        return None
    if mode & 0o777 != confds & 0o777:
        return mode & 0o777, "confd takes it for decimal"
    if text[0] in "123456789" and confds > 7:
        return mode & 0o777, "it is decimal, as in confd"
    return mode & 0o777, "what is beyond 0777 is cut off, as in confd" if mode > 0o777 else ""


def parse_share(value: object) -> float | None:
    """0..1 of a number or a text such as "50%"; None when it is neither."""
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    return share if 0 <= share <= 1 else None


def parse_duration_s(text: str) -> float | None:
    """Seconds of a Go duration such as "1m30s" or "250ms", or of a plain number; None when it is neither, or longer
    than Go's."""
    total, rest = 0.0, text.strip()
    try:
        return float(rest) if 0 <= float(rest) <= LONGEST_S else None
    except ValueError:
        pass
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest[digits:]) - len(rest[digits:].lstrip("hms"))
        unit = rest[digits : digits + letters]
        if not rest[:digits].strip(".") or unit not in _UNITS_S or rest[:digits].count(".") > 1:
            return None
        total += float(rest[:digits]) * _UNITS_S[unit]
        rest = rest[digits + letters :]
    return total if text.strip() and total <= LONGEST_S else None
