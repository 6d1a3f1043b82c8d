"""The functions that templates of -tags know: registrator's own, and Go's of use there. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_VERB = re.compile(r"%([+-]?\d*(?:\.\d+)?)([sdvqt%])")
REFUSED = {name: f"{name} is not known here: an announcer asks nobody but Docker" for name in ("httpGet", "jsonParse")}


def shown(value: Any) -> str:
    """A value as Go prints it; nothing is "", also where Go says <no value>."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{shown(k)}:{shown(v)}' for k, v in sorted(value.items()))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(shown, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _str_slice(text: str, *at: int) -> str:
    """text[start:end], and the whole text where there is no such piece."""
    if len(at) == 1 and 0 <= at[0] <= len(text):
        return text[at[0] :]
    if len(at) == 2 and max(at) <= len(text) and min(at) >= 0:
        return text[at[0] :] if at[1] < at[0] and at[0] else text[at[0] : at[1]]
    return text


def _element(at: int, found: Sequence[str] | None) -> str:
    """The element, from the end where `at` is negative; the nearest where there are not so many."""
    if not found:
        return ""
    return found[max(at, -len(found))] if at < 0 else found[min(at, len(found) - 1)]


def _split(separator: str, text: str | None) -> list[str]:
    if not text:
        return [""]
    return text.split(separator) if separator else list(text)


def _matching(pattern: str, found: Sequence[str] | None) -> list[str]:
    return [one for one in found or () if re.search(pattern, one)]


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = (value or {}).get(key) if value is None or isinstance(value, Mapping) else value[key]
    return value


def _print(*values: Any) -> str:
    """A blank stands between two values of which neither is a text."""
    text = ""
    for before, value in zip(("", *values), values, strict=False):
        text += ("" if isinstance(before, str) or isinstance(value, str) else " ") + shown(value)
    return text


def _printf(form: str, *values: Any) -> str:
    left = list(values)

    def filled(found: re.Match[str]) -> str:
        width, verb = found.groups()
        if verb == "%":
            return "%"
        value = left.pop(0) if left else ""
        if verb == "d":
            return f"%{width}d" % value
        text = shown(value)
        return f"%{width}s" % (f'"{text}"' if verb == "q" else text)

    return _VERB.sub(filled, form)


def _and(*values: Any) -> Any:
    return next((value for value in values if not value), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if value), values[-1])


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "strSlice": lambda text, *at: _str_slice(text or "", *at),
    "sIndex": _element,
    "mIndex": lambda key, found: (found or {}).get(key, ""),
    "toUpper": lambda text: (text or "").upper(),
    "toLower": lambda text: (text or "").lower(),
    "replace": lambda count, old, new, text: (text or "").replace(old, new, count),
    "join": lambda separator, found: separator.join(found or ()),
    "split": _split,
    "splitIndex": lambda at, separator, text: _element(at, _split(separator, text)),
    "matchFirstElement": lambda pattern, found: next(iter(_matching(pattern, found)), ""),
    "matchAllElements": _matching,
    "index": _index,
    "len": lambda value: len(value or ()),
    "print": _print,
    "println": lambda *values: " ".join(map(shown, values)) + "\n",
    "printf": _printf,
    "and": _and,
    "or": _or,
    "not": lambda value: not value,
    "eq": lambda value, *others: any(_same(value, other) for other in others),
    "ne": lambda value, other: not _same(value, other),
    "lt": lambda value, other: value < other,
    "le": lambda value, other: value <= other,
    "gt": lambda value, other: value > other,
    "ge": lambda value, other: value >= other,
}


def _same(value: Any, other: Any) -> bool:
    """What Docker leaves out is as empty as "" and 0 are."""
    return bool(value == other) or (value is None and not other)
