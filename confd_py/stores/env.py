"""The environment: `/app/port` is APP_PORT."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from confd_py.store import Batch, Change, Entry, LeaseFate


class EnvStore:
    """Reads the given environment; it never changes."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    async def read(self, keys: Sequence[str]) -> Batch:
        wanted = [(key.strip("/").replace("/", "_").upper(), key) for key in keys]
        found = {
            "/" + name.lower().replace("_", "/"): value
            for name, value in self._environ.items()
            if any(name.startswith(prefix) for prefix, _ in wanted)
        }
        changes = (Change(key, None, Entry(value), "first") for key, value in sorted(found.items()))
        return Batch(1, tuple(changes))

    async def follow(self, keys: Sequence[str], deliver: Callable[[Batch], None]) -> None:
        deliver(await self.read(keys))
        await asyncio.Event().wait()

    async def lease_fate(self, lease: int) -> LeaseFate:
        return "alive"

    async def close(self) -> None:
        return
