"""Makes a rendered nginx.conf effective: checked, swapped in, reloaded once, confirmed, or taken back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

from confd_py import dest
from confd_py.apply import Tally, ownership
from confd_py.commands import fill, run_program, run_shell
from confd_py.errors import CommandFailed, Deferred, NginxAway, NginxRefused
from confd_py.nginx.config import stamp_of, stamped, words_of_check
from confd_py.nginx.generation import find_master, hang_up, running_stamp
from confd_py.nginx.listening import refuse_taken_ports
from confd_py.nginx.reload import reload
from confd_py.reloads import RELOADS_AT_ONCE, RELOADS_PER_S, Bucket
from confd_py.resource import Resource

_log = logging.getLogger("confd-py.nginx")
_LOOK_FOR_MASTER_S = 0.2


class NginxApplier:
    """The file is the truth: whichever nginx runs is asked whether it runs this text, and reloaded if not."""

    def __init__(self, resource: Resource, *, sync_only: bool = False, limited: bool = True) -> None:
        self._resource = resource
        self._settings = resource.nginx
        self._sync_only = sync_only
        self._limited = limited
        self._kept = Path(f"{resource.applied_file}.old")  # the last text that was in effect, while another is tried
        self._bucket = Bucket(RELOADS_AT_ONCE, RELOADS_PER_S)
        self._last_reload_s = -1e9
        self._reloads = 0
        self._wanted: tuple[int, str] | None = None  # in effect: master and stamp

    @property
    def tally(self) -> Tally:
        return Tally(reloads=self._reloads, reload_owed=self._kept.exists())

    async def apply(self, text: str) -> None:
        stamp = stamp_of(text)
        whole = stamped(text, stamp, self._settings.status)
        self._wanted = None
        if self._sync_only:
            await self._write(whole)
            return
        try:
            master = find_master(self._settings.pid_file)
        except NginxAway:
            await self._write(whole)  # for its start
            raise
        if await running_stamp(self._settings.status, master) != stamp:
            self._ration()
            refuse_taken_ports(whole, master)
            await self._write(whole)
            await self._reload(stamp)
        else:
            await self._write(whole)
        self._kept.unlink(missing_ok=True)
        self._wanted = (find_master(self._settings.pid_file), stamp)

    async def attend(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        checked_s = time.monotonic()
        while True:
            await asyncio.sleep(_LOOK_FOR_MASTER_S)
            wanted = self._wanted
            if wanted is None:
                continue
            ask = time.monotonic() - checked_s >= self._settings.check_interval_s
            checked_s = time.monotonic() if ask else checked_s
            if not await self._holds(*wanted, ask=ask) and wanted == self._wanted:
                _log.warning("nginx runs something else, or not at all dest=%s", self._resource.dest)
                self._wanted = None
                again()

    async def close(self) -> None:
        return

    async def _holds(self, master: int, stamp: str, *, ask: bool) -> bool:
        """Whether the same nginx runs, and, if it is to be asked, the same text."""
        try:
            if find_master(self._settings.pid_file) != master:
                return False
        except NginxAway:
            return False
        return not ask or await running_stamp(self._settings.status, master) == stamp

    def _ration(self) -> None:
        """Raises Deferred when a reload would come too early."""
        early_s = self._last_reload_s + self._resource.min_reload_interval_s - time.monotonic()
        wait_s = max(early_s, self._bucket.wait_s())
        if self._limited and wait_s > 0:
            raise Deferred(wait_s)

    async def _reload(self, stamp: str) -> None:
        self._bucket.take()
        self._last_reload_s = time.monotonic()
        try:
            await reload(self._settings, stamp)
        except NginxRefused as err:
            if await self._take_back() and not err.details:  # it did not say no: it may have taken the text
                with contextlib.suppress(NginxAway):
                    hang_up(find_master(self._settings.pid_file))
            raise
        self._reloads += 1

    async def _write(self, whole: str) -> None:
        """Raises NginxRefused, CommandFailed, WriteFailed."""
        target, owner = self._resource.dest, ownership(self._resource)
        if dest.fits(target, whole, owner):
            return
        staged = dest.stage(target, whole, owner)
        try:
            await self._check(staged)
            self._keep_old()
            await asyncio.to_thread(dest.swap, staged, target)
        finally:
            staged.unlink(missing_ok=True)

    def _keep_old(self) -> None:
        """On disk, so that it can be put back also by a process that comes after this one."""
        target = self._resource.dest
        old = dest.read(target)
        if old is None or self._kept.exists() or self._sync_only:
            return
        stat = target.stat()
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        dest.replace_text(self._kept, old, dest.Ownership(stat.st_mode & 0o7777, stat.st_uid, stat.st_gid))

    async def _take_back(self) -> bool:
        """Whether there was an old text to put back."""
        old = dest.read(self._kept)
        if old is None:
            return False
        await asyncio.to_thread(dest.replace_text, self._resource.dest, old, ownership(self._resource))
        self._kept.unlink(missing_ok=True)
        return True

    async def _check(self, staged: Path) -> None:
        """Ask nginx itself, and check_cmd if there is one."""
        resource = self._resource
        if self._sync_only:
            return
        try:
            await run_program([self._settings.binary, "-t", "-q", "-c", str(staged)], resource.check_cmd_timeout_s)
            if resource.check_cmd:
                command = fill(resource.check_cmd, src=str(staged), dest=str(resource.dest))
                await run_shell(command, resource.check_cmd_timeout_s)
        except CommandFailed as err:
            words = words_of_check(err.details, str(staged), str(resource.dest))
            raise NginxRefused(
                f"nginx does not accept the new {resource.dest.name}",
                details=words or (err.brief,),
                hint="The old configuration stays in effect; correct the template or the keys.",
            ) from err
