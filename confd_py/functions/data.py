"""Functions on numbers, lists, maps and JSON: confd's own and the fork's."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from confd_py.functions.text import readable
from confd_py.gotemplate.builtins import GoError
from confd_py.gotemplate.clock import RFC3339, Time
from confd_py.gotemplate.printing import decimal_digits, float_text
from confd_py.gotemplate.values import Ints, KVPairs, KVs, Strings, is_struct

_GO_KINDS = {dict: "object", list: "array", str: "string", bool: "bool", int: "number", float: "number"}
_HTML = re.compile("[<>&\u2028\u2029]")
_SHORT = re.compile(r"\\.")  # escapes one by one: a backslash before a b may itself be escaped
_LONG = {"\\b": "\\u0008", "\\f": "\\u000c"}
_NO_UTF8 = re.compile("[\ud800-\udfff]")
_LONE = re.compile(r"\\u[dD][89a-fA-F]")  # perhaps half a character: Go reads it as U+FFFD


class JsonCache:
    """Parses each distinct text once; what two renderings in a row did not ask for is forgotten."""

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse
        self._young: dict[str, Any] = {}
        self._old: dict[str, Any] = {}

    def turn(self) -> None:
        """A rendering ended."""
        if len(self._young) + len(self._old) > 1000 or self._old:
            self._old, self._young = {**self._young}, {}

    def parse(self, text: str) -> Any:
        """What the JSON `text` says; shared, so never to be changed."""
        found = self._young.get(text, self)
        if found is self:
            found = self._old[text] if text in self._old else self._parse(text)
            self._young[text] = found
        return found

    def object(self, text: str) -> dict[str, Any]:
        """confd's `json`."""
        value = self.parse(text)
        if value is not None and not isinstance(value, dict):
            raise GoError(_mismatch(value, "map[string]interface {}"))
        return value or {}

    def array(self, text: str) -> list[Any]:
        """confd's `jsonArray`."""
        value = self.parse(text)
        if value is not None and not isinstance(value, list):
            raise GoError(_mismatch(value, "[]interface {}"))
        return value or []


def parse_json(text: str) -> Any:
    """Whole numbers are ints, as Jinja2 templates expect."""
    return _parsed(text, int)


def parse_json_as_go(text: str) -> Any:
    """Every number is a float64."""
    return _parsed(text, float)


def to_json(value: Any) -> str:
    """On one line, keys sorted, `<`, `>` and `&` escaped: as Go's encoding/json has it."""
    return _encoded(value)


def to_pretty_json(value: Any) -> str:
    """The same on many lines, two spaces deep."""
    return _encoded(value, "\n")


def empty(value: Any) -> bool:
    """Whether it is nil, false, zero, "" or has no entries."""
    return not any(value) if is_struct(value) else not value


def coalesce(*values: Any) -> Any:
    """The first value that is not empty, or nil."""
    return next((value for value in values if not empty(value)), None)


def mapping(*parts: Any) -> dict[str, Any]:
    """Keys and values in turn."""
    if len(parts) % 2:
        raise GoError("invalid map call")
    if not all(isinstance(key, str) for key in parts[::2]):
        raise GoError("map keys must be strings")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def mapping_in_jinja(*parts: Any, **named: Any) -> dict[str, Any]:
    """The same, and what Jinja2's own `dict` takes: names, before them a map or pairs."""
    if len(parts) == 1:
        return dict(parts[0], **named)
    return {**mapping(*parts), **named}


def divide(a: int, b: int) -> int:
    """Go's integer division: towards zero."""
    if b == 0:
        raise GoError("runtime error: integer divide by zero")
    return wrapped(abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1))


def modulo(a: int, b: int) -> int:
    """What Go's division leaves: it has the sign of `a`."""
    return a - b * divide(a, b)


def wrapped(value: int) -> int:
    """An int of 64 bits overflows silently."""
    return (value + 2**63) % 2**64 - 2**63


def seq(first: int, last: int) -> Ints:
    """The numbers from `first` to `last`, both included; refuses more than a million."""
    if last - first >= 1_000_000:
        raise GoError("seq: more than 1000000 numbers")
    return Ints(range(first, last + 1))


def reverse(items: list[Any]) -> Any:
    """The other way round."""
    return type(items)(reversed(items))


def reverse_as_go(items: Any) -> Any:
    """confd turns round []string and []KVPair and leaves everything else as it is, also what `gets` gives."""
    return reverse(items) if isinstance(items, Strings | KVs) and not isinstance(items, KVPairs) else items


def pluck(key: str, *maps: dict[str, Any]) -> list[Any]:
    """The values of `key` in the maps that have it."""
    return [each[key] for each in maps if key in each]


def _parsed(text: str, number: Callable[[str], Any]) -> Any:
    def refuse(word: str) -> Any:
        raise ValueError(word)

    try:
        clean = text if text.isascii() else readable(text)
        found = json.loads(clean, parse_int=number, parse_float=_float, parse_constant=refuse)
        return _without_halves(found) if _LONE.search(clean) else found
    except (ValueError, RecursionError) as err:
        raise GoError(_syntax(text, err)) from err


def _without_halves(value: Any) -> Any:
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, list):
        return [_without_halves(item) for item in value]
    return {readable(k): _without_halves(v) for k, v in value.items()} if isinstance(value, dict) else value


def _float(word: str) -> float:
    value = float(word)
    if math.isinf(value):
        raise ValueError(f"json: cannot unmarshal number {word} into Go value of type float64")
    return value


def _syntax(text: str, err: Exception) -> str:
    if not text.strip():
        return "unexpected end of JSON input"
    return f"this is not JSON: {text[:60]!r}: {err}"


def _mismatch(value: Any, wanted: str) -> str:
    return f"json: cannot unmarshal {_GO_KINDS.get(type(value), 'value')} into Go value of type {wanted}"


def _encoded(value: Any, line: str = "") -> str:
    """JSON of `value`; `line` is a newline with the indentation reached, or nothing for one line."""
    if isinstance(value, str):
        return _HTML.sub(lambda match: f"\\u{ord(match[0]):04x}", _string(value))
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, Time):
        return f'"{value.Format(RFC3339)}"'
    inner = line + "  " if line else ""
    if isinstance(value, dict) or is_struct(value):
        pairs = value._asdict().items() if is_struct(value) else sorted(value.items())
        colon = ": " if line else ":"
        return _bracketed("{}", [f"{_encoded(str(k))}{colon}{_encoded(v, inner)}" for k, v in pairs], line)
    if isinstance(value, list | tuple):
        return _bracketed("[]", [_encoded(item, inner) for item in value], line)
    raise GoError(f"json: unsupported type: {type(value).__name__}")


def _bracketed(brackets: str, parts: list[str], line: str) -> str:
    if not parts:
        return brackets
    inner = line + "  " if line else ""
    return brackets[0] + inner + ("," + inner).join(parts) + line + brackets[1]


def _string(text: str) -> str:
    quoted = _SHORT.sub(lambda match: _LONG.get(match[0], match[0]), json.dumps(text, ensure_ascii=False))
    return _NO_UTF8.sub(r"\\ufffd", quoted)


def _number(value: float) -> str:
    if math.isinf(value) or math.isnan(value):
        raise GoError(f"json: unsupported value: {float_text(value)}")
    _, exponent = decimal_digits(abs(value))
    if value and not -6 <= exponent < 21:
        return re.sub(r"e-0(\d)$", r"e-\1", float_text(value, "e"))
    return float_text(value, "f")
