"""How large what a template asks for would be: known before it is made, as nothing can stop it being made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from string import Formatter
from typing import Any

LARGEST = 16 << 20  # characters, or bytes of what is no text
MOST_PARTS = 1 << 20  # of a text that is taken apart: each takes some 60 bytes
_WIDE = ("center", "ljust", "rjust", "zfill", "wordwrap", "batch", "slice", "to_bytes")  # as wide as a number says
FORESEEN = frozenset((*_WIDE, "indent", "round", "format", "replace", "list"))  # filters that make more
_DIGIT = LARGEST // 256  # of a precision: 10 to the power of it is worked out
_WIDTHS = re.compile(r"[-+ #0]*(\*|\d*)(?:\.(\*|\d*))?")
_NUMBER = re.compile(r"\d+")
_MOST_DIGITS = 18  # of a width that is worth reading


def size(value: Any) -> int:
    """Of a text, list, map or whole number; 0 for anything else."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, int):
        return value.bit_length() >> 3
    return 8 * len(value) if isinstance(value, list | tuple | dict | set | frozenset) else 0


def weight(value: Any, known: dict[int, tuple[object, int]]) -> int:
    """The same with all that is inside, as often as it is reached: comparing or printing goes that way. `known` keeps
    what was weighed before."""
    if not isinstance(value, list | tuple | dict):
        return size(value)
    if found := known.get(id(value)):
        return found[1]
    inside = value.values() if isinstance(value, dict) else value
    found = (value, size(value) + sum(weight(item, known) for item in inside))
    known[id(value)] = found
    return found[1]


def of_operation(operator: str, left: Any, right: Any) -> int:
    """What `left operator right` would give."""
    if operator == "%" and isinstance(left, str | bytes):
        return of_percent(left, right)
    if operator == "**":
        return _bits(left) * right >> 3 if isinstance(left, int) and isinstance(right, int) else 0
    if operator == "*" and (isinstance(left, int) != isinstance(right, int)):
        many, times = (right, left) if isinstance(left, int) else (left, right)
        return size(many) * times
    return size(left) + size(right)


def of_call(name: str, value: Any, args: Sequence[Any], named: Mapping[str, Any]) -> int:
    """What the method `name` of `value` would give; 0 where that is no larger than what is there."""
    given = [*args, *named.values()]
    numbers = sum(abs(number) for number in given if isinstance(number, int))
    if name in _WIDE:
        return numbers
    if name == "indent":
        return max(numbers, *(size(text) for text in given), 0) * (str(value).count("\n") + 1)
    if name == "round":
        return numbers * _DIGIT
    if not isinstance(value, str | bytes):
        return 0
    count: Callable[[Any], int] = value.count
    if name == "expandtabs":
        return len(value) + (numbers or 8) * count(b"\t" if isinstance(value, bytes) else "\t")
    if name == "replace" and len(given) > 1 and isinstance(given[0], type(value)):
        return len(value) + count(given[0]) * size(given[1])
    if name in ("list", "split", "rsplit", "splitlines"):
        parts = len(value) if name == "list" else count(given[0]) if given and given[0] else len(value) // 2
        return parts * (LARGEST // MOST_PARTS)
    if name == "translate" and given and isinstance(given[0], Mapping):
        return len(value) * max((size(text) for text in given[0].values()), default=0)
    return 0


def of_filter(name: str, value: Any, args: Sequence[Any], named: Mapping[str, Any]) -> int:
    """What the filter `name` would give, which takes what is no text for one."""
    if name == "format":
        return of_percent(str(value), dict(named) or tuple(args))
    if name == "replace":
        return of_call(name, str(value), [str(text) for text in (*args, *named.values())], {})
    return of_call(name, value, args, named)


def of_percent(text: str | bytes, values: Any) -> int:
    """What `text % values` would give, as far as its widths and its values say."""
    values = (values,) if not isinstance(values, tuple | dict) else values
    given = list(values.values()) if isinstance(values, dict) else list(values)
    shown = text.decode("latin-1") if isinstance(text, bytes) else text
    widths = [word for place in _after_percents(shown) for word in _widths(shown, place) if word]
    stars = sum(abs(number) for number in given if isinstance(number, int)) if "*" in widths else 0
    return len(text) + stars + sum(_width(word) for word in widths if word != "*") + sum(map(size, given))


def of_format(text: str, args: Sequence[Any], named: Mapping[str, Any]) -> int:
    """What `text.format(...)` would give, as far as its widths and its values say. Raises ValueError."""
    specs = [spec for _, _, spec, _ in Formatter().parse(text) if spec]
    given = [*args, *named.values()]
    nested = (
        sum(abs(number) for number in given if isinstance(number, int)) if any("{" in spec for spec in specs) else 0
    )
    widths = sum(_width(word) for spec in specs for word in _NUMBER.findall(spec))
    return len(text) + nested + widths + sum(map(size, given))


def of_joined(separator: str | bytes, parts: Sequence[str | bytes]) -> int:
    """What `separator.join(parts)` gives."""
    return sum(map(len, parts)) + len(separator) * len(parts)


def _after_percents(text: str) -> Iterator[int]:
    """Where flags and widths begin: behind each `%` and the name in brackets that may follow, brackets within."""
    at = text.find("%")
    while at >= 0:
        at += 1
        if text[at : at + 1] == "(":
            at = _behind_brackets(text, at)
        yield at
        at = text.find("%", at + (text[at : at + 1] == "%"))


def _behind_brackets(text: str, at: int) -> int:
    """The end of the text where they are not closed: nothing can be formatted then."""
    depth = 0
    for place in range(at, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if depth == 0:
            return place + 1
    return len(text)


def _widths(text: str, at: int) -> tuple[str, str]:
    found = _WIDTHS.match(text, at)
    return (found[1] or "", found[2] or "") if found else ("", "")


def _bits(number: int) -> int:
    return max(1, number.bit_length()) if abs(number) > 1 else 0


def _width(word: str) -> int:
    return int(word[:_MOST_DIGITS])
