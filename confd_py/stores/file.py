"""YAML and JSON files: nested mappings are paths, lists are numbered."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import yaml

from confd_py.errors import ConfigFault, StoreUnavailable
from confd_py.folders import Folders
from confd_py.keyspace import compile_glob
from confd_py.store import Batch, LeaseFate, changes_between
from confd_py.stores.document import flatten

_log = logging.getLogger("confd-py")
_LOOK_AGAIN_S = 10.0  # besides: a file system may tell nothing of what others change
_BROKEN_AGAIN_S = 1.0


class FileStore:
    """Files, and files below directories whose names match `pattern` as Go's filepath.Match does; later files win.

    Raises ConfigFault for a pattern that is none.
    """

    def __init__(self, paths: Sequence[str], pattern: str = "*") -> None:
        self._paths = [Path(path) for path in paths]
        if pattern.count("[") > pattern.count("]"):
            raise ConfigFault(f"filter {pattern!r} is no pattern", hint="A [ needs its ].")
        self._pattern = compile_glob(pattern)
        self.trouble = ""

    async def read(self, keys: Sequence[str]) -> Batch:
        return Batch(1, changes_between(None, self._values(keys)))

    async def follow(self, keys: Sequence[str], deliver: Callable[[Batch], None]) -> None:
        known: dict[str, str] | None = None
        revision = 0
        with Folders(self._paths) as folders:
            while True:
                values, wait_s = known, _LOOK_AGAIN_S
                try:
                    values, self.trouble = self._values(keys), ""
                except StoreUnavailable as err:  # half written or broken: the last good state counts
                    wait_s = _BROKEN_AGAIN_S
                    if err.brief != self.trouble:
                        self.trouble = err.brief
                        _log.error("the last good values stay error=%s", err.brief)
                if values is not None and values != known:
                    revision += 1
                    deliver(Batch(revision, changes_between(known, values)))
                    known = values
                await folders.changed(wait_s)

    def covers(self, paths: Sequence[str], key: str) -> bool:
        return key.startswith(tuple(paths))

    async def lease_fate(self, lease: int) -> LeaseFate:
        return "alive"

    async def close(self) -> None:
        return

    def _files(self) -> Iterator[Path]:
        for path in self._paths:
            if not path.is_dir():
                yield path
                continue
            for folder, inner, names in os.walk(path):
                inner.sort()
                yield from (Path(folder, name) for name in sorted(names) if self._pattern.fullmatch(name))

    def _values(self, keys: Sequence[str]) -> dict[str, str]:
        values: dict[str, str] = {}
        for file in self._files():
            try:
                values.update(flatten(file.read_text("utf-8")))
            except (OSError, ValueError, RecursionError, yaml.YAMLError) as err:
                raise StoreUnavailable(_place(file, err), hint="It has to be YAML or JSON.") from err
        return {key: value for key, value in values.items() if self.covers(keys, key)}


def _place(file: Path, err: Exception) -> str:
    """Where it is and what is wrong, in one line."""
    if isinstance(err, yaml.MarkedYAMLError) and err.problem_mark is not None:
        mark = err.problem_mark
        return f"{file}:{mark.line + 1}:{mark.column + 1}: {err.problem or 'this is not YAML'}"
    why = err.strerror if isinstance(err, OSError) else str(err).split("\n", 1)[0]
    return f"{file} cannot be read: {why}"
