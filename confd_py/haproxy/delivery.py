"""One text on its way into haproxy.cfg: written at most once, and checked first if anyone has to reload for it."""

from __future__ import annotations

import asyncio
import time
from functools import cached_property
from pathlib import Path

from confd_py import dest
from confd_py.apply import ownership
from confd_py.commands import fill, run_program, run_shell
from confd_py.errors import CommandFailed, ConfdError, Deferred, HaproxyRefused
from confd_py.haproxy.config import HaproxyConfig, parse
from confd_py.haproxy.reload import refuse_taken_ports
from confd_py.resource import Resource


class Delivery:
    """Shared by all processes that run the file: whoever needs it there first has it written."""

    def __init__(self, resource: Resource, config: HaproxyConfig, text: str, reload_from_s: float = 0.0) -> None:
        self.config = config
        self.for_reload = False  # whether somebody reloads for it
        self._resource = resource
        self._text = text
        self._reload_from_s = reload_from_s  # of time.monotonic(): no reload before
        self._old_text = dest.read(resource.dest)
        self._lock = asyncio.Lock()
        self._staged: Path | None = None
        self._written = False
        self._fault: ConfdError | None = None

    @cached_property
    def old(self) -> HaproxyConfig:
        """What the file held before."""
        return parse(self._old_text or "")

    def stage(self) -> None:
        """The part of writing that a full disk fails: done before a process is touched. Raises WriteFailed."""
        if self._staged is None and not self._written and not self._fits():
            self._staged = dest.stage(self._resource.dest, self._text, ownership(self._resource))

    async def write(self) -> None:
        """For a process that runs its structure already. Raises WriteFailed."""
        async with self._lock:
            self.stage()
            if self._staged is not None:
                staged, self._staged = self._staged, None
                await asyncio.to_thread(dest.swap, staged, self._resource.dest)
            self._written = True

    async def write_for_reload(self) -> None:
        """For a process that has to start with it. Raises Deferred, HaproxyRefused, CommandFailed, WriteFailed."""
        wait_s = self._reload_from_s - time.monotonic()
        if wait_s > 0:
            raise Deferred(wait_s)
        async with self._lock:
            if self._fault is not None:
                raise self._fault
            if self._written:
                self.for_reload = True
                return
            try:
                await self._check()
                refuse_taken_ports(self.config, self.old)
            except ConfdError as err:
                self._fault = err
                raise
        await self.write()
        self.for_reload = True

    async def write_for_start(self) -> None:
        """Nobody runs: leave a good file for the next start. Raises HaproxyRefused, WriteFailed."""
        if not self._fits():
            async with self._lock:
                await self._check()
            await self.write()

    async def undo(self) -> None:
        """Put the old text back, if there was one. Raises WriteFailed."""
        if self._written and self._old_text is not None:
            old, owner = self._old_text, ownership(self._resource)
            await asyncio.to_thread(dest.replace_text, self._resource.dest, old, owner)

    def _fits(self) -> bool:
        return dest.fits(self._resource.dest, self._text, ownership(self._resource))

    async def _check(self) -> None:
        """Ask haproxy itself, and check_cmd if there is one."""
        resource = self._resource
        staged = dest.stage(resource.dest, self._text, ownership(resource))
        try:
            await run_program([resource.haproxy.binary, "-c", "-f", str(staged)], resource.check_cmd_timeout_s)
            if resource.check_cmd:
                command = fill(resource.check_cmd, src=str(staged), dest=str(resource.dest))
                await run_shell(command, resource.check_cmd_timeout_s)
        except CommandFailed as err:
            words = tuple(line.replace(str(staged), str(resource.dest)) for line in err.details)
            raise HaproxyRefused(
                f"haproxy does not accept the new {resource.dest.name}",
                details=words or (err.brief,),
                hint="The old configuration stays in effect; correct the template or the keys.",
            ) from err
        finally:
            staged.unlink(missing_ok=True)
