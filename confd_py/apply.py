"""The port to what makes a rendered text effective, and confd's own way: check, swap, reload command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from confd_py import dest
from confd_py.commands import fill, fill_reload, run_shell
from confd_py.dest import Ownership
from confd_py.reloads import Reloads
from confd_py.resource import Resource


@dataclass(frozen=True)
class Tally:
    """What an applier has done since it was made, and what it still waits for."""

    reloads: int = 0
    runtime_ops: int = 0
    drift_repairs: int = 0
    pending_admissions: tuple[str, ...] = ()
    pending_removals: tuple[str, ...] = ()
    held_by_old_processes: tuple[str, ...] = ()  # drained, but a process behind a reload may still use them
    behind: tuple[str, ...] = ()  # sockets of HAProxy processes that are not in step
    reload_owed: bool = False  # the file is in place and the reload it needs has not succeeded yet
    certificates: tuple[Mapping[str, Any], ...] = ()  # see haproxy.certificate_folder.Served


class Applier(Protocol):
    """Makes texts effective. One call at a time; a call may be cancelled and repeated."""

    @property
    def tally(self) -> Tally: ...

    async def apply(self, text: str) -> None:
        """Returns when `text` is in effect, apart from what `tally` calls pending. Raises ConfdError."""
        ...

    async def attend(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        """Runs beside until cancelled: calls `changed` when the tally moved, `again` when apply is due once more."""
        ...

    async def close(self) -> None: ...


def ownership(resource: Resource) -> Ownership:
    """Mode and owner that `resource` asks for."""
    return Ownership(resource.mode, resource.uid, resource.gid)


class CommandApplier:
    """confd's way. A reload that failed is owed until it succeeds, also when the file itself no longer changes."""

    def __init__(
        self, resource: Resource, reloads: Reloads, *, sync_only: bool, keep_stage_file: bool, owed: bool
    ) -> None:
        self._resource = resource
        self._all_reloads = reloads
        self._sync_only = sync_only
        self._keep = keep_stage_file
        self._owed = owed
        self._placed: str | None = None  # what was put there last: another text needs no look at the file
        self._reloads = 0
        self._told: Callable[[], None] = lambda: None

    @property
    def tally(self) -> Tally:
        return Tally(reloads=self._reloads, reload_owed=self._owed)

    async def apply(self, text: str) -> None:
        resource = self._resource
        reload_cmd = "" if self._sync_only else resource.reload_cmd
        command = fill_reload(reload_cmd, src=str(resource.dest), dest=str(resource.dest))
        differs = self._placed not in (None, text)
        if differs or not dest.fits(resource.dest, text, ownership(resource)):
            with self._all_reloads.writing(command):
                await self._write(text)
            self._placed = text
            self._owed = bool(command)
            if command:
                self._told()  # should this process be ended while it reloads, the next one does it
        elif self._keep:
            dest.stage(resource.dest, text, ownership(resource))
        if self._owed and command:
            await self._all_reloads.run(command, resource.reload_cmd_timeout_s, resource.min_reload_interval_s)
            self._reloads += 1
        self._owed = False

    async def attend(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        self._told = changed
        await asyncio.Event().wait()

    async def close(self) -> None:
        return

    async def _write(self, text: str) -> None:
        resource = self._resource
        if not self._keep and (self._sync_only or not resource.check_cmd):
            await asyncio.to_thread(dest.replace_text, resource.dest, text, ownership(resource))
            return
        staged = dest.stage(resource.dest, text, ownership(resource))
        try:
            await self._check(staged)
            await asyncio.to_thread(dest.swap, staged, self._resource.dest)
        finally:
            if not self._keep:
                staged.unlink(missing_ok=True)

    async def _check(self, staged: Path) -> None:
        resource = self._resource
        if resource.check_cmd and not self._sync_only:
            command = fill(resource.check_cmd, src=str(staged), dest=str(resource.dest))
            await run_shell(command, resource.check_cmd_timeout_s)
