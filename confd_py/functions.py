"""confd's template functions under confd's names. Only `lookup*`, `fileExists`, `hostname` ask the host."""

from __future__ import annotations

import base64
import json as jsonlib
import os
import posixpath
import re
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from confd_py.errors import TemplateFault
from confd_py.keyspace import KeySpace


class KV(NamedTuple):
    """A key with its value, as confd's `get` and `gets` give them."""

    Key: str
    Value: str


class KeyFunctions:
    """The functions that read the store's keys; bound to one view."""

    def __init__(self, keys: KeySpace) -> None:
        self._keys = keys

    def exists(self, key: str) -> bool:
        """Whether a value stands at `key` (a directory has none)."""
        return _clean(key) in self._keys

    def get(self, key: str) -> KV:
        """The pair at `key`."""
        value = self._keys.get(_clean(key))
        if value is None:
            raise TemplateFault(f"key does not exist: {key}")
        return KV(_clean(key), value)

    def gets(self, pattern: str) -> list[KV]:
        """Pairs whose key matches the glob, in key order; none is an empty list."""
        return [KV(key, value) for key, value in self._keys.match(pattern)]

    def getv(self, key: str, *default: str) -> str:
        """The value at `key`, or the default if one is given."""
        value = self._keys.get(_clean(key))
        if value is not None:
            return value
        if not default:
            raise TemplateFault(f"key does not exist: {key}")
        return default[0]

    def getvs(self, pattern: str) -> list[str]:
        """Values whose key matches the glob, sorted by value."""
        return sorted(value for _, value in self._keys.match(pattern))

    def ls(self, path: str) -> list[str]:
        """Names right below `path`; of the root only those that hold a value, as confd has it."""
        path = _clean(path)
        if path in self._keys:
            return [posixpath.basename(path)]
        names = (name for name, deeper in self._keys.children(path) if path != "/" or not deeper)
        return list(dict.fromkeys(names))

    def lsdir(self, path: str) -> list[str]:
        """Names right below `path` that have something below them."""
        return list(dict.fromkeys(name for name, deeper in self._keys.children(_clean(path)) if deeper))

    def table(self) -> dict[str, Callable[..., Any]]:
        """The functions by name."""
        names = ("exists", "get", "gets", "getv", "getvs", "ls", "lsdir")
        return {name: getattr(self, name) for name in names}


class JsonCache:
    """Parses each distinct text once; what two renderings in a row did not ask for is forgotten."""

    def __init__(self) -> None:
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
            found = self._old[text] if text in self._old else _parse(text)
            self._young[text] = found
        return found

    def object(self, text: str) -> dict[str, Any]:
        """confd's `json`."""
        value = self.parse(text)
        if not isinstance(value, dict):
            raise TemplateFault(f"json: this is no object: {text[:60]}")
        return value

    def array(self, text: str) -> list[Any]:
        """confd's `jsonArray`."""
        value = self.parse(text)
        if not isinstance(value, list):
            raise TemplateFault(f"jsonArray: this is no array: {text[:60]}")
        return value


def host_functions(environ: Mapping[str, str]) -> dict[str, Callable[..., Any]]:
    """Functions that read nothing but their arguments, the environment and the host."""
    return {
        "add": lambda a, b: a + b,
        "atoi": int,
        "base": lambda path: posixpath.basename(path.rstrip("/")) or ("/" if path else "."),
        "base64Decode": lambda text: base64.b64decode(text, validate=True).decode(),
        "base64Encode": lambda text: base64.b64encode(text.encode()).decode(),
        "contains": lambda text, part: part in text,
        "datetime": lambda: datetime.now(UTC).astimezone(),
        "dir": lambda path: posixpath.dirname(path) or ".",
        "div": _divide,
        "fileExists": os.path.exists,
        "getenv": lambda name, default="": environ.get(name) or default,
        "hostname": socket.gethostname,
        "join": lambda parts, separator: separator.join(parts),
        "lookupIP": lambda name: _lookup(name, socket.AF_UNSPEC),
        "lookupIPV4": lambda name: _lookup(name, socket.AF_INET),
        "lookupIPV6": lambda name: _lookup(name, socket.AF_INET6),
        "map": _pairs,
        "mod": lambda a, b: int(a - b * _divide(a, b)),
        "mul": lambda a, b: a * b,
        "parseBool": _parse_bool,
        "replace": lambda text, old, new, count: text.replace(old, new, count),
        "reverse": lambda items: list(reversed(items)),
        "seq": lambda first, last: list(range(first, last + 1)),
        "sortByLength": lambda items: sorted(items, key=len),
        "sortKVByLength": lambda items: sorted(items, key=lambda kv: len(kv.Key)),
        "split": lambda text, separator: text.split(separator) if separator else list(text),
        "sub": lambda a, b: a - b,
        "toLower": str.lower,
        "toUpper": str.upper,
        "trimSuffix": str.removesuffix,
    }


def _clean(key: str) -> str:
    return posixpath.normpath("/" + key.lstrip("/"))


def _parse(text: str) -> Any:
    try:
        return jsonlib.loads(text)
    except ValueError as err:
        raise TemplateFault(f"this is not JSON: {text[:60]!r}: {err}") from err


def _divide(a: int, b: int) -> int:
    """Go's integer division: towards zero."""
    if b == 0:
        raise TemplateFault("division by zero")
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _lookup(name: str, family: int) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, family)
    except OSError:
        return []
    return sorted({str(item[4][0]) for item in found})


def _pairs(*parts: Any) -> dict[str, Any]:
    if len(parts) % 2:
        raise TemplateFault("map needs an even number of arguments")
    return dict(zip(parts[::2], parts[1::2], strict=True))


_TRUE, _FALSE = {"1", "t", "T", "TRUE", "true", "True"}, {"0", "f", "F", "FALSE", "false", "False"}


def _parse_bool(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise TemplateFault(f"parseBool: {text!r} is neither true nor false")
    return text in _TRUE


def environment_expander(environ: Mapping[str, str]) -> Callable[[str], str]:
    """Replaces `${NAME}` and `${NAME:-default}`; a lone `$` and `{{ }}` stay as they are."""
    pattern = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
    return lambda text: pattern.sub(lambda m: environ.get(m[1]) or m[2] or "", text)
