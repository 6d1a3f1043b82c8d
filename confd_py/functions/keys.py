"""The functions that read the store's keys, bound to one view."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import starmap

from confd_py.gotemplate.builtins import GoError
from confd_py.gotemplate.values import KV, KVPairs, Strings
from confd_py.keyspace import KeySpace

_CHAR = r"(?:\\.|[^\\\]-])"
_GLOB = re.compile(rf"(?:[^\\\[]|\\.|\[\^?(?:{_CHAR}(?:-{_CHAR})?)+\])*", re.DOTALL)


class KeyFunctions:
    """confd's `get`, `gets`, `getv`, `getvs`, `exists`, `ls` and `lsdir`."""

    def __init__(self, keys: KeySpace) -> None:
        self._keys = keys

    def exists(self, key: str) -> bool:
        """Whether a value stands at `key` (a directory has none)."""
        return key in self._keys

    def get(self, key: str) -> KV:
        """The pair at `key`."""
        return KV(key, self.getv(key))

    def gets(self, pattern: str) -> KVPairs:
        """Pairs whose key matches the glob, in key order; none is an empty list."""
        return KVPairs(starmap(KV, self._match(pattern)))

    def getv(self, key: str, *default: str) -> str:
        """The value at `key`, or the default if one is given."""
        value = self._keys.get(key)
        if value is not None:
            return value
        if not default:
            raise GoError(f"key does not exist: {key}")
        return default[0]

    def getvs(self, pattern: str) -> Strings:
        """Values whose key matches the glob, sorted by value."""
        return Strings(sorted(value for _, value in self._match(pattern)))

    def ls(self, path: str) -> Strings:
        """Names right below `path`; of the root only those that hold a value, as confd has it."""
        clean = posixpath.normpath(path) if path.startswith("/") else ""
        names = {posixpath.basename(path)} if path in self._keys else set()
        if clean:
            names |= {name for name, deeper in self._keys.children(clean) if clean != "/" or not deeper}
        return Strings(sorted(names))

    def lsdir(self, path: str) -> Strings:
        """Names right below `path` that have something below them; of the root none, as confd has it."""
        clean = posixpath.normpath(path) if path.startswith("/") else "/"
        return Strings(sorted({name for name, deeper in self._keys.children(clean) if deeper and clean != "/"}))

    def _match(self, pattern: str) -> Iterator[tuple[str, str]]:
        if not _well_formed(pattern):
            raise GoError("syntax error in pattern")
        return self._keys.match(pattern)


@lru_cache(maxsize=1024)
def _well_formed(pattern: str) -> bool:
    """Whether Go's path.Match takes it: classes are closed and not empty, and no backslash stands at the end."""
    return bool(_GLOB.fullmatch(pattern))
