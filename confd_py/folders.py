"""A doorbell for files and directories: it rings when something in them changed. Who hears it looks for himself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from watchdog.events import (
    DirAttribEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

_log = logging.getLogger("confd-py")
_SETTLE_S = 0.005  # an editor writes, renames and removes at once
_WRITTEN_WITHIN_S = 1.0  # who writes over a file empties it first: it is looked at once he has closed it
_UNHEARD_EVERY_S = 1.0  # without inotify somebody has to look
# Looking is no change, so the kernel is not asked to tell of it.
_HEARD: list[type[FileSystemEvent]] = [
    FileMovedEvent, DirMovedEvent, FileDeletedEvent, DirDeletedEvent, FileAttribEvent, DirAttribEvent,
    FileModifiedEvent, FileClosedEvent,
]  # fmt: skip
_HEARD_WITHIN = [*_HEARD, FileCreatedEvent, DirCreatedEvent]


class Folders(FileSystemEventHandler):
    """Watches directories as a whole, and of files what happens under their names in the directories they stand in."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = {path.absolute(): path for path in paths}
        self._bell = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._observer = Observer()
        self._watched: dict[Path, tuple[bool, int]] = {}
        self._whole: tuple[str, ...] = ()  # directories, with a slash behind
        self._loose: frozenset[str] = frozenset()  # directories of links: whatever happens there may count
        self._heard: set[Path] = set()
        self._written: set[str] = set()  # not closed since it was changed
        self._closed = asyncio.Event()
        self._anything = False
        self._deaf = False

    def __enter__(self) -> Folders:
        self._observer.start()
        self._watch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._observer.stop()

    async def changed(self, within_s: float) -> frozenset[Path] | None:
        """What changed, at the latest after `within_s` seconds; None when anything may have."""
        rung = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(within_s, _UNHEARD_EVERY_S) if self._deaf else within_s):
                rung = await self._bell.wait()
                await asyncio.sleep(_SETTLE_S)
        if rung:
            await self._all_closed()
        heard, anything = frozenset(self._heard), self._anything or not rung
        self._bell.clear()
        self._heard, self._anything = set(), False
        if anything or not heard <= self._paths.keys():  # else the directories are as they were
            self._watch()
        return None if anything else frozenset(self._paths.get(path, path) for path in heard)

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog's thread."""
        for raw in filter(None, (event.src_path, event.dest_path)):
            place = os.fsdecode(raw)  # type: ignore[arg-type] # watchdog says less than it gives
            path = Path(place)
            if isinstance(event, FileClosedEvent):
                self._loop.call_soon_threadsafe(self._close, place)
            elif path in self._watched or str(path.parent) in self._loose:
                self._loop.call_soon_threadsafe(self._note, event, place, None)
            elif path in self._paths or place.startswith(self._whole):
                self._loop.call_soon_threadsafe(self._note, event, place, path)

    def _note(self, event: FileSystemEvent, place: str, path: Path | None) -> None:
        if isinstance(event, FileModifiedEvent):
            self._written.add(place)
        if path is None:
            self._anything = True
        else:
            self._heard.add(path)
        self._bell.set()

    def _close(self, place: str) -> None:
        self._written.discard(place)
        self._closed.set()

    async def _all_closed(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WRITTEN_WITHIN_S):
                while self._written:
                    self._closed.clear()
                    await self._closed.wait()
        self._written.clear()

    def _watch(self) -> None:
        """Directories come, go and are replaced: what is watched follows them."""
        wanted = self._wanted()
        if wanted == self._watched and not self._deaf:
            return
        self._whole = tuple(f"{path}/" for path in self._paths if path.is_dir())
        self._watched = wanted
        try:
            self._observer.unschedule_all()
            for folder, (recursive, _) in wanted.items():
                self._observer.schedule(
                    self, str(folder), recursive=recursive, event_filter=self._filter(folder, recursive)
                )
            self._deaf = not all(path.exists() or path.parent in wanted for path in self._paths)
        except OSError as err:
            if not self._deaf:
                _log.warning("changes of files are looked for every second error=%s", err.strerror)
            self._deaf = True

    def _filter(self, folder: Path, recursive: bool) -> list[type[FileSystemEvent]]:
        """What to be told of: beside files that are watched by name, every staged one is a new file."""
        return _HEARD_WITHIN if recursive or str(folder) in self._loose else _HEARD

    def _wanted(self) -> dict[Path, tuple[bool, int]]:
        """Directory -> whether with all below, and which inode it is."""
        found: dict[Path, tuple[bool, int]] = {}
        loose = set()
        for path in self._paths:
            real = Path(os.path.realpath(path))  # resolve() raises where links lead round in a circle
            folders = [(path, True)] if path.is_dir() else [(path.parent, False), (real.parent, False)]
            if real != path and not path.is_dir():
                loose |= {str(path.parent), str(real.parent)}
            for folder, recursive in folders:
                with contextlib.suppress(OSError):
                    found[folder] = (recursive or found.get(folder, (False, 0))[0], folder.stat().st_ino)
        self._loose = frozenset(loose)
        return found
