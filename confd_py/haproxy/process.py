"""One running HAProxy, master and worker: what it has been brought to, and what keeps it there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from confd_py import dest
from confd_py.errors import ConfdError, HaproxyAway, HaproxyRefused
from confd_py.haproxy.config import HaproxyConfig, Server
from confd_py.haproxy.master import Master
from confd_py.haproxy.old_workers import OldWorkers
from confd_py.haproxy.plan import Key
from confd_py.haproxy.reload import Reloader
from confd_py.haproxy.runtime import Runtime
from confd_py.haproxy.session import Session
from confd_py.haproxy.state import HEADER
from confd_py.resource import Place, Resource

_log = logging.getLogger("confd-py.haproxy")
_ELDERS_S = 0.05
_KNOCK_S = 0.2  # how often one that was away is asked whether it is back


class Process:
    """Compared with what is wanted again and again; never with two ideas of that at once (`turn`)."""

    def __init__(self, resource: Resource, place: Place) -> None:
        settings = resource.haproxy
        self.place = place
        self.runtime = Runtime(place.socket, place.master_socket, settings.removal_timeout_s)
        self.wanted: HaproxyConfig | None = None  # in effect, as far as known
        self.fault: ConfdError | None = None  # why it is not in step
        self.reloads = 0
        self.drift = 0
        self.turn = asyncio.Lock()
        self._check_interval_s = settings.check_interval_s
        self._reloader = Reloader(resource, place, self.runtime)
        self._old_workers = OldWorkers(Master(place.master_socket)) if place.master_socket else None
        self._pid = 0
        self._wake = asyncio.Event()
        self._held = asyncio.Event()  # an old process may still use a drained server
        self._cold = True
        self._back = False

    @property
    def away(self) -> bool:
        """Whether it did not answer last time, nor since."""
        return isinstance(self.fault, HaproxyAway) and not self._back

    def note(self, fault: ConfdError) -> None:
        """It could not be brought into step."""
        self.fault, self._back = fault, False

    @property
    def held(self) -> set[Key]:
        """Drained servers that a process behind a reload may still use."""
        return self._old_workers.drained if self._old_workers is not None and self._old_workers.holding else set()

    async def connect(self) -> Session:
        """The conversation with the current worker; a new worker is unknown. Raises HaproxyAway."""
        try:
            session = await self.runtime.connect()
        except HaproxyAway:
            self.wanted = None
            self._start_cold()
            raise
        if session.pid != self._pid:
            self.wanted = None
        self._pid, self._cold = session.pid, False
        return session

    def takes_at_run_time(self, session: Session, config: HaproxyConfig, old: HaproxyConfig) -> bool:
        """Whether `config` needs no reload; `old` is what it has, as far as known, else what the file held."""
        same = session.stamp == config.stamp and not words_changed(old, config)
        return same and all(session.can.takes(keywords) for keywords in members_changed(old, config))

    def why_reload(self, session: Session, config: HaproxyConfig) -> str:
        """For the log."""
        if session.stamp == config.stamp:
            return "a server that this HAProxy does not take at run time"
        return "more than servers differs" if session.stamp else "it was started with a file of somebody else"

    async def converge(self, config: HaproxyConfig, old: HaproxyConfig) -> None:
        """Bring its servers there through the Runtime API. Raises HaproxyRefused where only a reload helps."""
        known = self.wanted
        if known is None:
            await self.runtime.seen_all()
        touched = [
            name for name, servers in config.backends.items() if known is None or servers != known.backends.get(name)
        ]
        self.wanted = None  # until it is done: what is half done is looked at as a whole next time
        await self.runtime.converge(config, touched)
        await self._in_effect(config, old)

    async def reload(self, config: HaproxyConfig, old: HaproxyConfig) -> None:
        """Have it read the file, which holds `config`. Raises HaproxyRefused, HaproxyAway."""
        self.wanted = None
        await self._reloader.reload(config)
        self.reloads += 1
        await self.runtime.seen_all()
        await self.runtime.converge(config, config.backends)
        await self._in_effect(config, old)

    async def keep_servers_going(self, config: HaproxyConfig, old: HaproxyConfig) -> None:
        """Its new structure is refused; what `config` says of servers the process already has still counts."""
        self.wanted = None
        if (await self.connect()).stamp != old.stamp:
            return
        common = {name: servers for name, servers in config.backends.items() if name in old.backends}
        same_words = {n: s for n, s in common.items() if _words(s) <= _words(old.backends[n])}
        await self.runtime.seen_all()
        await self.runtime.converge(HaproxyConfig(old.structure, same_words), same_words)
        self._wake.set()

    async def attend(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        """Until cancelled: admit and remove servers, repair drift, watch old processes, knock where nobody was."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tend(changed, again))
            tasks.create_task(self._watch(changed, again))
            tasks.create_task(self._watch_old_workers(changed))

    async def _in_effect(self, config: HaproxyConfig, before: HaproxyConfig) -> None:
        session = self.runtime.session
        self._pid, self.wanted = session.pid if session else 0, config
        self._wake.set()
        if self._old_workers is not None and await self._old_workers.drain(before, config):
            self._held.set()

    def _start_cold(self) -> None:
        """It is not there, so its next start must not find states of an earlier life."""
        if self._cold and self.place.state_file:
            dest.replace_text(Path(self.place.state_file), HEADER, durable=False)
        self._cold = False

    # -- beside -------------------------------------------------------------------------------------

    async def _tend(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        while True:
            wait_s = self.runtime.next_look_s()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            if wait_s is None:
                continue
            try:
                if await self.runtime.tend():
                    changed()
            except ConfdError as err:
                _log.info("interrupted while servers were on their way reason=%s", err.brief)
                self.wanted = None
                again()
                await asyncio.sleep(0.05)

    async def _watch(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        while True:
            session = self.runtime.session
            if session is None or self.wanted is None:
                await asyncio.sleep(_KNOCK_S if self.away else 0.05)
                await self._knock(again)
                continue
            try:
                async with asyncio.timeout(self._check_interval_s):
                    await session.gone.wait()
            except TimeoutError:
                async with self.turn:
                    await self._look_for_drift(changed, again)
                continue
            async with self.turn:  # a reload of our own ends sessions too; wait until it is done
                if session is self.runtime.session:
                    _log.warning("the HAProxy process went away pid=%d", session.pid)
                    self.wanted = None
                    again()
            await asyncio.sleep(0.02)

    async def _knock(self, again: Callable[[], None]) -> None:
        """Others of the resource do not wait for one that is away; it is told here that it is back."""
        if self.away:
            with contextlib.suppress(HaproxyAway, HaproxyRefused):
                await (await Session.open(self.place.socket)).close()
                self._back = True
                again()

    async def _watch_old_workers(self, changed: Callable[[], None]) -> None:
        while self._old_workers is not None:
            await self._held.wait()
            await asyncio.sleep(_ELDERS_S)
            async with self.turn:
                still = await self._old_workers.look()
            if not still:
                self._held.clear()
                changed()

    async def _look_for_drift(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        wanted = self.wanted
        if wanted is None:
            return
        try:
            if await self._reloader.outdated():
                _log.warning("HAProxy was reloaded by somebody else socket=%s", self.place.socket)
                await self.runtime.disconnect()
                self.wanted = None
                again()
                return
            await self.runtime.seen_all()
            repaired = await self.runtime.converge(wanted, wanted.backends)
            slowed = await self.runtime.slow_down(wanted)
        except ConfdError as err:
            _log.warning("drift could not be repaired socket=%s reason=%s", self.place.socket, err.brief)
            again()
            return
        if repaired:
            self.drift += repaired
            _log.warning("drift repaired socket=%s servers=%d", self.place.socket, repaired)
        if repaired or slowed:
            self._wake.set()
            changed()


def words_changed(known: HaproxyConfig, config: HaproxyConfig) -> bool:
    """Whether a server that stays has other words than before: only a reload changes those."""
    for name, servers in config.backends.items():
        before = known.backends.get(name, {})
        if before is servers or before == servers:
            continue
        if any(s.name in before and before[s.name].words != s.words for s in servers.values()):
            return True
        fixed = [s for s in servers.values() if not s.dynamic]  # by name, or at a socket: only its weight may change
        if any(s.name not in before or s.address != before[s.name].address for s in fixed):
            return True
    return False


def members_changed(known: HaproxyConfig, config: HaproxyConfig) -> list[tuple[str, ...]]:
    """The keywords of each server that has to be added, or put elsewhere; () for one that has to be removed."""
    found: list[tuple[str, ...]] = []
    for name, servers in config.backends.items():
        before = known.backends.get(name, {})
        if before is servers or before == servers:
            continue
        found += [() for server in before if server not in servers]
        found += [s.keywords for s in servers.values() if s.name not in before or s.address != before[s.name].address]
    return found


def _words(servers: Mapping[str, Server]) -> set[tuple[str, ...]]:
    return {server.words for server in servers.values()}
