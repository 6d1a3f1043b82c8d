"""Keys and values as templates see them: a sorted tree with confd's matching."""

from __future__ import annotations

import posixpath
import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

_WILD = re.compile(r"[*?\[\\]")


class KeySpace:
    """A mutable map of absolute keys to values, always sorted; one change costs far less than a copy."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values: dict[str, str] = dict(values or {})
        self._keys: list[str] = sorted(self._values)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str) -> str | None:
        """The value at exactly `key`."""
        return self._values.get(key)

    def put(self, key: str, value: str) -> None:
        """Set one key."""
        if key not in self._values:
            insort(self._keys, key)
        self._values[key] = value

    def drop(self, key: str) -> None:
        """Forget one key; an absent one is fine."""
        if self._values.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]

    def below(self, prefix: str) -> Iterator[tuple[str, str]]:
        """All pairs whose key starts with the characters of `prefix`, in key order."""
        return self._pairs(self._names_below(prefix))

    def match(self, pattern: str) -> Iterator[tuple[str, str]]:
        """All pairs whose key matches a glob as Go's path.Match does (`*` stops at a slash)."""
        wanted = compile_glob(pattern)
        literal = _WILD.split(pattern, maxsplit=1)[0]
        return self._pairs([key for key in self._names_below(literal) if wanted.fullmatch(key)])

    def children(self, path: str) -> Iterator[tuple[str, bool]]:
        """Names right below `path`, sorted, with whether there is a level below them; repeated when both."""
        base = "/" if path == "/" else path + "/"
        last: tuple[str, bool] | None = None
        for key, _ in self.below(base):
            name, slash, _rest = key[len(base) :].partition("/")
            found = (name, bool(slash))
            if found != last:
                yield found
            last = found

    def _names_below(self, prefix: str) -> list[str]:
        first, length = bisect_left(self._keys, prefix), len(prefix)
        return self._keys[first : bisect_right(self._keys, prefix, first, key=lambda key: key[:length])]

    def _pairs(self, keys: list[str]) -> Iterator[tuple[str, str]]:
        return zip(keys, map(self._values.__getitem__, keys), strict=True)


def covers(prefixes: tuple[str, ...], key: str) -> bool:
    """Whether `key` is one of the paths `prefixes` or lies below one."""
    return any(p == "/" or key == p or key.startswith(p + "/") for p in prefixes)


def join_path(*parts: str) -> str:
    """An absolute, clean path of these parts (Go's path.Join behind a slash)."""
    return posixpath.normpath("/" + "/".join(part.strip("/") for part in parts if part.strip("/")))


def common_path(paths: Iterable[str]) -> str:
    """The longest path that all `paths` equal or lie below."""
    split = [path.strip("/").split("/") for path in paths]
    shared = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/" + "/".join(part for part in shared if part)


def top_paths(paths: Iterable[str]) -> list[str]:
    """Those of `paths` that lie below none of the others, each once."""
    clean = sorted({path if path == "/" else path.rstrip("/") for path in paths})
    return [path for path in clean if not covers(tuple(other for other in clean if other != path), path)]


@lru_cache(maxsize=1024)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """What Go's path.Match takes for `pattern`."""
    out, index = [], 0
    while index < len(pattern):
        char = pattern[index]
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "\\" and index + 1 < len(pattern):
            index += 1
            out.append(re.escape(pattern[index]))
        elif char == "[" and (end := pattern.find("]", index + 2)) > 0:
            out.append(_char_class(pattern[index + 1 : end]))
            index = end
        else:
            out.append(re.escape(char))
        index += 1
    return re.compile("".join(out), re.DOTALL)


def _char_class(body: str) -> str:
    negate = "^" if body.startswith("^") else ""
    inner = re.sub(r"([\[\]^&~|\\])", r"\\\1", body.removeprefix("^"))
    return f"[{negate}{inner}]"
