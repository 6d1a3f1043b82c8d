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
from confd_py.commands import run_shell
from confd_py.errors import HaproxyAway, HaproxyRefused
from confd_py.haproxy.config import HaproxyConfig
from confd_py.haproxy.master import Master, Processes
from confd_py.haproxy.runtime import Runtime
from confd_py.haproxy.session import Session
from confd_py.haproxy.state import HEADER, state_file
from confd_py.resource import Place, Resource

_log = logging.getLogger("confd-py.haproxy")
_REPEAT_AFTER_S = 2.0  # 2.6 drops a reload silently that comes while another runs
_BUSY, _REPEAT_WHEN_BUSY_S = "Another reload is still in progress", 0.02  # 3.1 and later say so
_BIND = re.compile(r"^bind\s+(\S*?):(\d+)\b")


class Reloader:
    """Reloads one HAProxy of a resource."""

    def __init__(self, resource: Resource, place: Place, runtime: Runtime) -> None:
        self._resource = resource
        self._place = place
        self._timeout_s = resource.haproxy.reload_timeout_s
        self._runtime = runtime
        self._master = Master(place.master_socket)

    async def reload(self, config: HaproxyConfig) -> None:
        """Have HAProxy run the file, which holds `config`. Raises HaproxyRefused: the old process goes on.

        Runtime commands that race a reload are lost although acknowledged, so there are none from the dump of the
        states until the new process is confirmed.
        """
        async with self._runtime.frozen() as session:
            old_pid = session.pid
            await self._hand_over_states(session, config)
            try:
                fresh = await self._ask_and_confirm(old_pid, config.stamp)
            finally:
                self._reset_states()
            await self._runtime.adopt(fresh)  # and lets the old process end
        _log.info("reloaded dest=%s socket=%s stamp=%s", self._resource.dest, self._place.socket, config.stamp)

    async def outdated(self) -> bool:
        """Whether new connections reach another process than our session does."""
        fresh = await Session.open(self._place.socket)
        await fresh.close()
        return self._runtime.session is not None and fresh.pid != self._runtime.session.pid

    async def _hand_over_states(self, session: Session, config: HaproxyConfig) -> None:
        if self._place.state_file:
            dump = await session.ask("show servers state")
            dest.replace_text(Path(self._place.state_file), state_file(dump, config), durable=False)

    def _reset_states(self) -> None:
        """A later start must not find states of today."""
        if self._place.state_file:
            dest.replace_text(Path(self._place.state_file), HEADER, durable=False)

    async def _ask_and_confirm(self, old_pid: int, stamp: str) -> Session:
        deadline_s = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline_s:
            before = await self._processes_at_rest(deadline_s)
            if not await self._ask():
                await asyncio.sleep(_REPEAT_WHEN_BUSY_S)
                continue
            fresh = await self._confirmed(old_pid, stamp, before, deadline_s)
            if fresh is not None:
                return fresh
        raise HaproxyRefused(
            f"HAProxy did not confirm the reload within {self._timeout_s:g} s",
            details=await self._words(),
        )

    async def _ask(self) -> bool:
        """Whether it was heard, as far as HAProxy tells. Raises HaproxyRefused, CommandFailed."""
        if not self._place.master_socket:
            await run_shell(self._resource.reload_cmd, self._resource.reload_cmd_timeout_s)
            return True
        answer = await self._master.reload()
        if _BUSY in answer:
            return False
        if "Success=0" in answer:  # 2.7 and later wait for the outcome and tell it
            raise self._failed(tuple(line for line in answer.splitlines() if "ALERT" in line))
        return True

    async def _confirmed(self, old_pid: int, stamp: str, before: Processes, deadline_s: float) -> Session | None:
        """A session with the new process; None when the request was dropped and has to be repeated."""
        repeat_s = time.monotonic() + _REPEAT_AFTER_S
        while (now_s := time.monotonic()) < deadline_s:
            after = await self._processes()
            fresh = await self._fresh(old_pid, stamp, before, after)
            if fresh is not None:
                return fresh
            if after.failed > before.failed or (after.failed and after.reloads > before.reloads):
                raise self._failed(await self._words())
            if now_s > repeat_s and after.reloads == before.reloads:
                return None
            await asyncio.sleep(0.01)
        return None

    async def _fresh(self, old_pid: int, stamp: str, before: Processes, after: Processes) -> Session | None:
        """A session if the process that answers is the one *this* reload made, not one of a reload before."""
        ours = after.reloads > before.reloads if self._place.master_socket else True
        if not ours or after.failed:
            return None
        with contextlib.suppress(HaproxyAway):
            fresh = await Session.open(self._place.socket)
            if fresh.pid != old_pid and fresh.stamp == stamp and after.worker in (0, fresh.pid):
                return fresh
            await fresh.close()
        return None

    async def _processes_at_rest(self, deadline_s: float) -> Processes:
        """What to count from: taken when no other reload is under way, or a later count would be taken for ours."""
        while self._place.master_socket and time.monotonic() < deadline_s:
            found = await self._processes()
            if found.master:
                return found
            await asyncio.sleep(0.01)
        return Processes(0, 0, 0, 0)

    async def _processes(self) -> Processes:
        if self._place.master_socket:
            with contextlib.suppress(HaproxyAway):  # cut off while the master starts itself anew
                return await self._master.processes()
        return Processes(0, 0, 0, 0)

    async def _words(self) -> tuple[str, ...]:
        return await self._master.startup_logs() if self._place.master_socket else ()

    def _failed(self, words: tuple[str, ...]) -> HaproxyRefused:
        return HaproxyRefused(
            "the reload failed: HAProxy could not start with the new configuration, the old process goes on",
            details=words,
            hint="HAProxy's own log says why. The old file is back in place; the reload is tried again.",
        )


def refuse_taken_ports(new: HaproxyConfig, old: HaproxyConfig) -> None:
    """Raises HaproxyRefused for a port of somebody else.

    A new process that cannot bind has the old one pause its frontends for 2 s before it gives up.
    """
    ours = {port for _, port in _binds(old)}
    faults = [(port, fault) for host, port in _binds(new) if port not in ours and (fault := _fault(host, port))]
    if faults:
        raise HaproxyRefused(
            f"HAProxy cannot listen on port {faults[0][0]}: {faults[0][1]}",
            details=tuple(f"port {port}: {fault}" for port, fault in faults),
            hint="Publish another port, or stop the program that has it; `ss -ltnp` names it. It is tried again.",
        )


def _binds(config: HaproxyConfig) -> list[tuple[str, int]]:
    lines = (line for line in config.structure.splitlines() if "transparent" not in line)
    found = (_BIND.match(line) for line in lines)
    return [(match[1], int(match[2])) for match in found if match]


def _fault(host: str, port: int) -> str:
    """Why nobody could listen there, or ""."""
    address = "0.0.0.0" if host in ("", "*") else host.strip("[]")  # noqa: S104 what the line says
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as err:  # HAProxy may have rights that we lack, so only these count
        return err.strerror or "" if err.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL) else ""
    return ""
