"""Old processes behind a reload: they still serve clients that were connected, with the servers of their own time.

They take no orders any more ("Proxy is disabled"). So a server that was drained while one of them lives counts as
drained only when none of them can send it a request: they are gone; or their idle clients have been timed out, and no
stream of theirs is on that server.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from confd_py.errors import HaproxyAway
from confd_py.haproxy.config import HaproxyConfig
from confd_py.haproxy.master import Master
from confd_py.haproxy.plan import Key
from confd_py.haproxy.state import stat_rows

_KEEP_ALIVE = re.compile(r"^timeout (http-keep-alive|client) (\d+)(ms|s|m|h|)$", re.MULTILINE)
_UNITS_S = {"": 0.001, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PATIENCE_S = 20.0  # beyond the idle time: longer streams are the business of whoever stops the server


@dataclass
class OldWorkers:
    """Watches old processes for the sake of `drained` servers; `holding` while one may still be used by them."""

    master: Master
    drained: set[Key] = field(default_factory=set)
    holding: bool = False
    _idle_s: float = 60.0
    _give_up_s: float = 0.0

    async def drain(self, before: HaproxyConfig, after: HaproxyConfig) -> bool:
        """The step from `before` to `after` is done in the new process; True while it does not hold in old ones."""
        self.drained = {key for key in self.drained if not _serving(after, key)} | drained_between(before, after)
        if self.drained:
            self._idle_s = longest_idle_s(after)
            self._give_up_s = self._give_up_s if self.holding else time.monotonic() + self._idle_s + _PATIENCE_S
        return await self.look()

    async def look(self) -> bool:
        """Find out whether there is still something to wait for."""
        self.holding = bool(self.drained) and not await self._settled() and time.monotonic() < self._give_up_s
        if not self.holding:
            self.drained.clear()
        return self.holding

    async def _settled(self) -> bool:
        try:
            processes = await self.master.processes()
            if not processes.old:
                return True
            if processes.age_s < self._idle_s:
                return False
            return not any([await self._uses(pid) for pid in processes.old])
        except HaproxyAway:
            return False  # the master starts itself anew

    async def _uses(self, pid: int) -> bool:
        rows = stat_rows(await self.master.ask_worker(pid, "show stat -1 4 -1"))
        return any((row["pxname"], row["svname"]) in self.drained and row["scur"] != "0" for row in rows)


def drained_between(before: HaproxyConfig, after: HaproxyConfig) -> set[Key]:
    """Servers that got requests before and must not get any now: gone, moved, or of weight 0."""
    found = set()
    for backend, servers in before.backends.items():
        now = after.backends.get(backend, {})
        if now is servers or now == servers:
            continue
        for name, server in servers.items():
            successor = now.get(name)
            stays = successor is not None and successor.weight > 0 and successor.address == server.address
            if server.weight > 0 and not stays:
                found.add((backend, name))
    return found


def longest_idle_s(config: HaproxyConfig) -> float:
    """How long a client may keep an idle connection open and still send a request."""
    found: dict[str, list[float]] = {}
    for match in _KEEP_ALIVE.finditer(config.structure):
        found.setdefault(match[1], []).append(float(match[2]) * _UNITS_S[match[3]])
    return max(found.get("http-keep-alive") or found.get("client") or [60.0])


def _serving(config: HaproxyConfig, key: Key) -> bool:
    server = config.backends.get(key[0], {}).get(key[1])
    return server is not None and server.weight > 0
