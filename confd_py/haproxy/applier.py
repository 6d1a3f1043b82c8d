"""Makes a rendered haproxy.cfg effective: by the Runtime API where only servers changed, else by one reload."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from confd_py import dest
from confd_py.apply import Tally, ownership
from confd_py.commands import fill, run_program, run_shell
from confd_py.errors import CommandFailed, ConfdError, Deferred, HaproxyAway, HaproxyRefused
from confd_py.haproxy.config import HaproxyConfig, Server, parse, stamped
from confd_py.haproxy.elders import Elders
from confd_py.haproxy.master import Master
from confd_py.haproxy.plan import Key
from confd_py.haproxy.reload import Reloader
from confd_py.haproxy.runtime import Runtime
from confd_py.haproxy.state import HEADER
from confd_py.resource import Resource

_log = logging.getLogger("confd-py.haproxy")
_ELDERS_S = 0.05
_SETTLE_S = 0.025  # admissions that end within this are part of the apply: one report instead of two


class HaproxyApplier:
    """One HAProxy and its file. The file is the truth: the process is compared with it again and again."""

    def __init__(self, resource: Resource, *, sync_only: bool = False) -> None:
        settings = resource.haproxy
        self._resource = resource
        self._sync_only = sync_only
        master = Master(settings.master_socket) if settings.master_socket else None
        self._runtime = Runtime(settings.socket, master, settings.removal_timeout_s)
        self._reloader = Reloader(resource, self._runtime)
        self._elders = Elders(master) if master is not None else None
        self._wanted: HaproxyConfig | None = None  # in effect, as far as known
        self._pid = 0
        self._reloads = 0
        self._drift = 0
        self._last_reload_s = -1e9
        self._wake = asyncio.Event()
        self._held = asyncio.Event()  # an old process may still use a drained server
        self._cold = True
        self._turn = asyncio.Lock()  # apply and drift repair: never with two ideas of what is wanted

    @property
    def tally(self) -> Tally:
        names: dict[str, list[str]] = {"Admission": [], "Removal": []}
        for key, item in self._runtime.pending.items():
            names[type(item).__name__].append("/".join(key))
        return Tally(
            self._reloads,
            self._runtime.operations,
            self._drift,
            tuple(sorted(names["Admission"])),
            tuple(sorted(names["Removal"])),
            tuple(sorted("/".join(key) for key in self._held_servers())),
        )

    async def apply(self, text: str) -> None:
        async with self._turn:
            await self._apply(text)

    async def attend(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tend(changed, again))
            tasks.create_task(self._watch_drift(changed, again))
            tasks.create_task(self._watch_elders(changed))

    async def close(self) -> None:
        await self._runtime.disconnect()

    # -- the two ways -------------------------------------------------------------------------------

    async def _apply(self, text: str) -> None:
        config = parse(text)
        text = stamped(text, config.stamp)
        if self._sync_only:
            await self._write(text)
            return
        try:
            session = await self._runtime.connect()
        except HaproxyAway:
            await self._wait_for_haproxy(text)
            raise
        before = self._wanted or parse(dest.read(self._resource.dest) or "")
        if session.pid != self._pid:
            self._wanted = None
        if session.stamp == config.stamp and not self._words_changed(config, text):
            await self._by_runtime(config, text)
        else:
            await self._by_reload(config, text)
        self._pid, self._wanted = (await self._runtime.connect()).pid, config
        self._wake.set()
        if self._elders is not None and await self._elders.drain(before, config):
            self._held.set()
        await self._settle()

    async def _by_runtime(self, config: HaproxyConfig, text: str) -> None:
        known = self._wanted
        if known is None:
            await self._runtime.seen_all()
        touched = [
            name for name, servers in config.backends.items() if known is None or servers != known.backends.get(name)
        ]
        writing = asyncio.create_task(self._write(text))
        try:
            await self._runtime.converge(config, touched)
        except HaproxyRefused as err:
            _log.warning("the runtime API refused, reloading reason=%s words=%s", err.brief, "; ".join(err.details))
            await writing
            await self._by_reload(config, text)
        except BaseException:
            self._wanted = None  # half done: look at everything next time
            await asyncio.gather(writing, return_exceptions=True)
            raise
        await writing

    async def _by_reload(self, config: HaproxyConfig, text: str) -> None:
        wait_s = self._last_reload_s + self._resource.min_reload_interval_s - time.monotonic()
        if wait_s > 0:
            raise Deferred(wait_s)
        try:
            await self._check(text)
            await self._reloader.reload(config, text)
        except HaproxyRefused:
            with contextlib.suppress(ConfdError):
                await self._keep_servers_going(config)
            raise
        finally:
            self._wanted = None
        self._reloads += 1
        self._last_reload_s = time.monotonic()
        await self._runtime.seen_all()
        await self._runtime.converge(config, config.backends)

    async def _keep_servers_going(self, config: HaproxyConfig) -> None:
        """The new structure is refused; what it says of servers the process already has still counts."""
        old = dest.read(self._resource.dest)
        if old is None or (await self._runtime.connect()).stamp != (running := parse(old)).stamp:
            return
        common = {name: servers for name, servers in config.backends.items() if name in running.backends}
        same_words = {n: s for n, s in common.items() if _words(s) <= _words(running.backends[n])}
        await self._runtime.seen_all()
        await self._runtime.converge(HaproxyConfig(running.structure, same_words), same_words)
        self._wake.set()

    async def _wait_for_haproxy(self, text: str) -> None:
        """Nobody to talk to: leave a good file for its start, and nothing that would bring back old states."""
        self._wanted = None
        if not dest.fits(self._resource.dest, text, ownership(self._resource)):
            await self._check(text)
            await self._write(text)
        if self._resource.haproxy.state_file and self._cold:
            dest.replace_text(Path(self._resource.haproxy.state_file), HEADER, durable=False)
            self._cold = False

    def _words_changed(self, config: HaproxyConfig, text: str) -> bool:
        """Whether a server that stays has other words than before: only a reload changes those."""
        known = self._wanted
        if known is None:
            old = dest.read(self._resource.dest)
            known = parse(old) if old is not None else config
        for name, servers in config.backends.items():
            before = known.backends.get(name, {})
            if before is servers or before == servers:
                continue
            if any(s.name in before and before[s.name].words != s.words for s in servers.values()):
                return True
            if any(not s.dynamic and s != before.get(s.name) for s in servers.values()):
                return True
        return False

    # -- files and programs -------------------------------------------------------------------------

    async def _write(self, text: str) -> None:
        if dest.fits(self._resource.dest, text, ownership(self._resource)):
            return
        staged = dest.stage(self._resource.dest, text, ownership(self._resource))
        await asyncio.to_thread(dest.swap, staged, self._resource.dest)

    async def _check(self, text: str) -> None:
        """Ask haproxy itself, and check_cmd if there is one. Raises HaproxyRefused, CommandFailed."""
        resource = self._resource
        staged = dest.stage(resource.dest, text, ownership(resource))
        try:
            await run_program([resource.haproxy.binary, "-c", "-q", "-f", str(staged)], resource.check_cmd_timeout_s)
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

    def _held_servers(self) -> set[Key]:
        return self._elders.drained if self._elders is not None and self._elders.holding else set()

    # -- beside -------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Give fast admissions the moment they need."""
        deadline_s = time.monotonic() + _SETTLE_S
        while self.tally.pending_admissions and time.monotonic() < deadline_s:
            await asyncio.sleep(0.001)
            await self._runtime.tend()

    async def _tend(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        while True:
            wait_s = self._runtime.next_look_s()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            if wait_s is None:
                continue
            try:
                if await self._runtime.tend():
                    changed()
            except ConfdError as err:
                _log.info("interrupted while servers were on their way reason=%s", err.brief)
                again()
                await asyncio.sleep(0.05)

    async def _watch_drift(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        while True:
            session = self._runtime.session
            if session is None or self._wanted is None:
                await asyncio.sleep(0.05)
                continue
            try:
                async with asyncio.timeout(self._resource.haproxy.check_interval_s):
                    await session.gone.wait()
            except TimeoutError:
                async with self._turn:
                    await self._look_for_drift(changed, again)
                continue
            async with self._turn:  # a reload of our own ends sessions too; wait until it is done
                if session is self._runtime.session:
                    _log.warning("the HAProxy process went away pid=%d", session.pid)
                    self._wanted = None
                    again()
            await asyncio.sleep(0.02)

    async def _watch_elders(self, changed: Callable[[], None]) -> None:
        while self._elders is not None:
            await self._held.wait()
            await asyncio.sleep(_ELDERS_S)
            async with self._turn:
                still = await self._elders.look()
            if not still:
                self._held.clear()
                changed()

    async def _look_for_drift(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        wanted = self._wanted
        if wanted is None:
            return
        try:
            if await self._reloader.outdated():
                _log.warning("HAProxy was reloaded by somebody else")
                await self._runtime.disconnect()
                self._wanted = None
                again()
                return
            await self._runtime.seen_all()
            repaired = await self._runtime.converge(wanted, wanted.backends)
            slowed = await self._runtime.slow_down(wanted)
        except ConfdError as err:
            _log.warning("drift could not be repaired reason=%s", err.brief)
            again()
            return
        if repaired:
            self._drift += repaired
            _log.warning("drift repaired servers=%d", repaired)
        if repaired or slowed:
            self._wake.set()
            changed()


def _words(servers: Mapping[str, Server]) -> set[tuple[str, ...]]:
    return {server.words for server in servers.values()}
