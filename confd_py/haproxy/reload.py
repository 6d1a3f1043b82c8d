"""One seamless reload: states handed over, confirmed by what the new process answers, undone if it fails."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import re
import socket
import time
from pathlib import Path

from confd_py import dest
from confd_py.apply import ownership
from confd_py.commands import run_shell
from confd_py.errors import HaproxyAway, HaproxyRefused
from confd_py.haproxy.config import HaproxyConfig, parse
from confd_py.haproxy.master import Master, Processes
from confd_py.haproxy.runtime import Runtime
from confd_py.haproxy.session import Session
from confd_py.haproxy.state import HEADER, state_file
from confd_py.resource import Resource

_log = logging.getLogger("confd-py.haproxy")
_REPEAT_AFTER_S = 2.0  # 2.6 drops a reload silently that comes while another runs
_BIND = re.compile(r"^bind\s+(\S*?):(\d+)\b")


class Reloader:
    """Reloads the HAProxy behind one resource."""

    def __init__(self, resource: Resource, runtime: Runtime) -> None:
        self._resource = resource
        self._settings = resource.haproxy
        self._runtime = runtime
        self._master = Master(self._settings.master_socket)

    async def reload(self, config: HaproxyConfig, text: str) -> None:
        """Put `text` in place and have HAProxy run it. Raises HaproxyRefused with the old file back in place.

        Runtime commands that race a reload are lost although acknowledged, so there are none from the dump of the
        states until the new process is confirmed.
        """
        old = dest.read(self._resource.dest)
        async with self._runtime.frozen() as session:
            old_pid = session.pid
            await self._hand_over_states(session, config)
            await asyncio.to_thread(self._put, text)
            try:
                await self._ask_and_confirm(old_pid, config.stamp)
            except HaproxyRefused as err:
                if old is not None:
                    await asyncio.to_thread(self._put, old)
                err.details = err.details or self._ports_in_use(config, parse(old or ""))
                raise
            finally:
                self._reset_states()
            await self._runtime.disconnect()  # lets the old process end
        _log.info("reloaded dest=%s stamp=%s", self._resource.dest, config.stamp)

    async def outdated(self) -> bool:
        """Whether new connections reach another process than our session does."""
        fresh = await Session.open(self._settings.socket)
        await fresh.close()
        return self._runtime.session is not None and fresh.pid != self._runtime.session.pid

    def _put(self, text: str) -> None:
        dest.replace_text(self._resource.dest, text, ownership(self._resource))

    async def _hand_over_states(self, session: Session, config: HaproxyConfig) -> None:
        if self._settings.state_file:
            dump = await session.ask("show servers state")
            dest.replace_text(Path(self._settings.state_file), state_file(dump, config), durable=False)

    def _reset_states(self) -> None:
        """A later start must not find states of today."""
        if self._settings.state_file:
            dest.replace_text(Path(self._settings.state_file), HEADER, durable=False)

    async def _ask_and_confirm(self, old_pid: int, stamp: str) -> None:
        deadline_s = time.monotonic() + self._settings.reload_timeout_s
        while time.monotonic() < deadline_s:
            before = await self._processes()
            await self._ask()
            if await self._confirmed(old_pid, stamp, before, deadline_s):
                return
        raise HaproxyRefused(
            f"HAProxy did not confirm the reload within {self._settings.reload_timeout_s:g} s",
            details=await self._words(),
        )

    async def _ask(self) -> None:
        if not self._settings.master_socket:
            await run_shell(self._resource.reload_cmd, self._resource.reload_cmd_timeout_s)
            return
        answer = await self._master.reload()
        if "Success=0" in answer:  # 2.7 and later wait for the outcome and tell it
            raise self._failed(tuple(line for line in answer.splitlines() if "ALERT" in line))

    async def _confirmed(self, old_pid: int, stamp: str, before: Processes, deadline_s: float) -> bool:
        """True once the new process answers; False when the request was dropped and has to be repeated."""
        repeat_s = time.monotonic() + _REPEAT_AFTER_S
        while (now_s := time.monotonic()) < deadline_s:
            with contextlib.suppress(HaproxyAway):
                fresh = await Session.open(self._settings.socket)
                await fresh.close()
                if fresh.pid != old_pid and fresh.stamp == stamp:
                    return True
            after = await self._processes()
            if after.failed > before.failed or (after.failed and after.reloads > before.reloads):
                raise self._failed(await self._words())
            if now_s > repeat_s and after.reloads == before.reloads:
                return False
            await asyncio.sleep(0.01)
        return False

    async def _processes(self) -> Processes:
        if self._settings.master_socket:
            with contextlib.suppress(HaproxyAway):  # cut off while the master starts itself anew
                return await self._master.processes()
        return Processes(0, 0, 0, 0)

    async def _words(self) -> tuple[str, ...]:
        return await self._master.startup_logs() if self._settings.master_socket else ()

    def _failed(self, words: tuple[str, ...]) -> HaproxyRefused:
        return HaproxyRefused(
            "the reload failed: HAProxy could not start with the new configuration, the old process goes on",
            details=words,
            hint="HAProxy's own log says why. The old file is back in place; the reload is tried again.",
        )

    def _ports_in_use(self, new: HaproxyConfig, old: HaproxyConfig) -> tuple[str, ...]:
        """2.6 tells the reason of a failed start only to its log; the usual one can be found out."""
        binds = [line for line in new.structure.splitlines() if line.startswith("bind ")]
        known = set(old.structure.splitlines())
        return tuple(f"{line}: the address is already in use" for line in binds if line not in known and _in_use(line))


def _in_use(bind: str) -> bool:
    match = _BIND.match(bind)
    if match is None:
        return False
    host = "0.0.0.0" if match[1] in ("", "*") else match[1].strip("[]")  # noqa: S104 what the line says
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(match[2])))
        except OSError as err:
            return err.errno == errno.EADDRINUSE
    return False
