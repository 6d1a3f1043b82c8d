"""The environment: `/app/port` is APP_PORT."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Callable, Mapping, Sequence

from confd_py.store import Batch, LeaseFate, changes_between


class EnvStore:
    """Reads the given environment; it never changes."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.trouble = ""

    async def read(self, keys: Sequence[str]) -> Batch:
        prefixes = tuple(map(_variable, keys))
        found = {_path(name): value for name, value in self._environ.items() if name.startswith(prefixes)}
        return Batch(1, changes_between(None, found))

    async def follow(self, keys: Sequence[str], deliver: Callable[[Batch], None]) -> None:
        deliver(await self.read(keys))
        await asyncio.Event().wait()

    def covers(self, paths: Sequence[str], key: str) -> bool:
        return _variable(key).startswith(tuple(map(_variable, paths)))

    async def lease_fate(self, lease: int) -> LeaseFate:
        return "alive"

    async def close(self) -> None:
        return


def _variable(path: str) -> str:
    return path.removeprefix("/").replace("/", "_").upper()


def _path(variable: str) -> str:
    return posixpath.normpath("/" + variable.lower().replace("_", "/").lstrip("/"))
