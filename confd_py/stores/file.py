"""YAML and JSON files: nested mappings are paths, lists are numbered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

from confd_py.errors import StoreUnavailable
from confd_py.store import Batch, Change, Entry, LeaseFate

_LOOK_EVERY_S = 0.5


class FileStore:
    """Files, and directories of files whose names match `pattern`; later files win."""

    def __init__(self, paths: Sequence[str], pattern: str = "*") -> None:
        self._paths = [Path(path) for path in paths]
        self._pattern = pattern

    async def read(self, keys: Sequence[str]) -> Batch:
        values = self._values()
        changes = (Change(key, None, Entry(value), "first") for key, value in sorted(values.items()))
        return Batch(1, tuple(changes))

    async def follow(self, keys: Sequence[str], deliver: Callable[[Batch], None]) -> None:
        known: dict[str, str] | None = None
        revision = 0
        stamp: object = None
        while True:
            fresh = self._stamp()
            if known is None or fresh != stamp:
                try:
                    values = self._values()
                except StoreUnavailable:
                    await asyncio.sleep(_LOOK_EVERY_S)  # half written or broken: the last good state counts
                    continue
                revision += 1
                stamp = fresh
                changes = tuple(_changes(known or {}, values, first=known is None))
                if changes or known is None:
                    deliver(Batch(revision, changes))
                known = values
            await asyncio.sleep(_LOOK_EVERY_S)

    async def lease_fate(self, lease: int) -> LeaseFate:
        return "alive"

    async def close(self) -> None:
        return

    def _files(self) -> Iterator[Path]:
        for path in self._paths:
            if path.is_dir():
                yield from sorted(p for p in path.rglob("*") if p.is_file() and fnmatch(p.name, self._pattern))
            else:
                yield path

    def _stamp(self) -> list[tuple[str, int, int]]:
        found = []
        for file in self._files():
            try:
                stat = file.stat()
                found.append((str(file), stat.st_mtime_ns, stat.st_ino))
            except OSError:
                found.append((str(file), 0, 0))
        return found

    def _values(self) -> dict[str, str]:
        values: dict[str, str] = {}
        for file in self._files():
            try:
                values.update(_flat("", yaml.safe_load(file.read_text())))
            except (OSError, yaml.YAMLError) as err:
                raise StoreUnavailable(f"{file} cannot be read: {err}", hint="It has to be YAML or JSON.") from err
        return values


def _changes(old: Mapping[str, str], new: Mapping[str, str], *, first: bool) -> Iterator[Change]:
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            before = Entry(old[key]) if key in old else None
            after = Entry(new[key]) if key in new else None
            yield Change(key, before, after, "first" if first else "event")


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{path}/{name}", inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flat(f"{path}/{index}", inner)
    elif value is not None:
        yield path or "/", str(value).lower() if isinstance(value, bool) else str(value)
