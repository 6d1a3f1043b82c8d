"""A doorbell for files and directories: it rings when something in them changed. Who hears it looks for himself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

_log = logging.getLogger("confd-py")
_SETTLE_S = 0.005  # an editor writes, renames and removes at once
_UNHEARD_EVERY_S = 1.0  # without inotify somebody has to look


class Folders(FileSystemEventHandler):
    """Watches directories as a whole, and of files the directories they stand in (and those they are links into)."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._bell = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._observer = Observer()
        self._watched: dict[Path, tuple[bool, int]] = {}
        self._deaf = False

    def __enter__(self) -> Folders:
        self._observer.start()
        self._watch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._observer.stop()

    async def changed(self, within_s: float) -> None:
        """Returns when something changed, or after `within_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(within_s, _UNHEARD_EVERY_S) if self._deaf else within_s):
                await self._bell.wait()
                await asyncio.sleep(_SETTLE_S)
        self._bell.clear()
        self._watch()

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog's thread. Looking is no change."""
        if event.event_type not in ("opened", "closed_no_write"):
            self._loop.call_soon_threadsafe(self._bell.set)

    def _watch(self) -> None:
        """Directories come, go and are replaced: what is watched follows them."""
        wanted = self._wanted()
        if wanted == self._watched and not self._deaf:
            return
        try:
            self._observer.unschedule_all()
            for folder, (recursive, _) in wanted.items():
                self._observer.schedule(self, str(folder), recursive=recursive)
            self._deaf = not wanted
        except OSError as err:
            if not self._deaf:
                _log.warning("changes of files are looked for every second error=%s", err.strerror)
            self._deaf = True
        self._watched = wanted

    def _wanted(self) -> dict[Path, tuple[bool, int]]:
        """Directory -> whether with all below, and which inode it is."""
        found: dict[Path, tuple[bool, int]] = {}
        for path in self._paths:
            folders = [(path, True)] if path.is_dir() else [(path.parent, False), (path.resolve().parent, False)]
            for folder, recursive in folders:
                with contextlib.suppress(OSError):
                    found[folder] = (recursive or found.get(folder, (False, 0))[0], folder.stat().st_ino)
        return found
