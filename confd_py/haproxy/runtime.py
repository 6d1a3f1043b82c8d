"""Brings the servers of the running HAProxy to those of a configuration, over one session at a time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from confd_py.errors import HaproxyAway, HaproxyRefused
from confd_py.haproxy import plan as planner
from confd_py.haproxy.admission import Pending
from confd_py.haproxy.config import HaproxyConfig, Server
from confd_py.haproxy.current_worker import open_current, turn_of
from confd_py.haproxy.inventory import Inventory
from confd_py.haproxy.plan import Action, Add, Admit, Key, Remove, Weigh
from confd_py.haproxy.session import Session
from confd_py.haproxy.transit import Transit

_log = logging.getLogger("confd-py.haproxy")
_ROUNDS = 3
_OUTLIVED = "Proxy is disabled"  # what a process answers that was told to leave
_QUIET = ("", "New server registered.", "Server deleted.")


class Runtime:
    """The Runtime API of one HAProxy."""

    def __init__(self, socket: str, master_socket: str = "", removal_timeout_s: float = 300.0) -> None:
        self.session: Session | None = None
        self._socket = socket
        self._master_socket = master_socket
        self._lock = turn_of(socket)
        self._inventory = Inventory()
        self._transit = Transit(self._inventory, removal_timeout_s)
        self._operations = 0

    @property
    def operations(self) -> int:
        """Commands sent that change something."""
        return self._operations + self._transit.operations

    @property
    def pending(self) -> Mapping[Key, Pending]:
        """Servers on their way in or out."""
        return self._transit.pending

    async def connect(self) -> Session:
        """The open session, or a new one; a new process is looked at afresh. Raises HaproxyAway."""
        if self.session is None or self.session.closed:
            await self.disconnect()
            self.session = await open_current(self._socket, self._master_socket)
        return self.session

    async def adopt(self, session: Session) -> None:
        """Go on with the process at the other end of `session`."""
        await self.disconnect()
        self.session = session

    async def disconnect(self) -> None:
        """Leave the process, so that it can end, and forget what it had."""
        if self.session is not None:
            await self.session.close()
        self.session = None
        self._transit.pending.clear()
        self._inventory.clear()

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[Session]:
        """Nothing else is written to HAProxy inside."""
        async with self._lock:
            yield await self.connect()

    async def seen_all(self) -> None:
        """Ask the running process for all its servers."""
        async with self.frozen() as session:
            await self._inventory.look_everywhere(session)

    async def converge(self, wanted: HaproxyConfig, backends: Iterable[str]) -> int:
        """Bring `backends` there and verify; the number of differences that were found.

        Servers that still have to pass a check, or to lose their last stream, are left to `tend`.
        Raises HaproxyAway; HaproxyRefused when a server does not become what is wanted.
        """
        found = 0
        words: tuple[str, ...] = ()
        async with self.frozen() as session:
            names = list(backends)
            for _ in range(_ROUNDS):
                actions = [action for name in names for action in self._plan(name, wanted.backends[name])]
                if not actions:
                    return found
                found += len(actions)
                words = await self._act(session, actions)
                names = sorted({action.key[0] for action in actions})
                await self._inventory.look(session, names)
                self._transit.enter(actions)
            rest = [a for name in names for a in self._plan(name, wanted.backends[name])]
        if rest:
            text = "; ".join(f"{'/'.join(a.key)}: {a.reason}" for a in rest[:3])
            raise HaproxyRefused(f"HAProxy did not take {len(rest)} server(s): {text}", details=words)
        return found

    async def tend(self) -> bool:
        """One look at all that is pending; True when something was admitted, removed or replaced."""
        if not self.pending:
            return False
        async with self.frozen() as session:
            return await self._transit.tend(session)

    def next_look_s(self) -> float | None:
        """Seconds until `tend` should be called again; None when nothing is pending."""
        return self._transit.next_look_s()

    async def slow_down(self, wanted: HaproxyConfig) -> int:
        """Put servers that are down there again without their quick checks; how many."""
        down = [
            Remove(key, wanted.backends[key[0]][key[1]], "down: back to its own check interval")
            for key in self._inventory.quick
            if key not in self.pending and key[1] in wanted.backends.get(key[0], {}) and self._inventory.is_down(key)
        ]
        if down:
            async with self.frozen() as session:
                await self._act(session, down)
                self._transit.enter(down, quick=False)
        return len(down)

    # -- one step each; the lock is held ------------------------------------------------------------

    def _plan(self, backend: str, servers: Mapping[str, Server]) -> tuple[Action, ...]:
        for key in [key for key in self.pending if key[0] == backend]:
            self._transit.redirect(key, servers.get(key[1]))
        return planner.plan(backend, servers, self._inventory.of(backend), self.pending.keys())

    async def _act(self, session: Session, actions: Iterable[Action]) -> tuple[str, ...]:
        """Send the commands of all actions at once; what HAProxy complained about."""
        commands: list[str] = []
        for action in actions:
            _log.debug("%s server=%s reason=%s", type(action).__name__, "/".join(action.key), action.reason)
            commands.append(self._command(session, action))
        answers = await session.run(commands)
        self._operations += len(commands)
        if any(_OUTLIVED in answer for answer in answers):
            await session.close()
            raise HaproxyAway(f"HAProxy process {session.pid} was replaced meanwhile")
        lines = (line for answer in answers for line in answer.splitlines())
        return tuple(dict.fromkeys(line for line in lines if line not in _QUIET))[:5]

    def _command(self, session: Session, action: Action) -> str:
        name = "/".join(action.key)
        match action:
            case Add(key=key, server=server):
                if server.hurried:
                    self._inventory.quick.add(key)
                return self._transit.add_command(session, key, server, quick=server.hurried)
            case Remove():
                return f"set server {name} state maint"
            case Weigh(weight=weight):
                return f"set server {name} weight {weight}"
            case Admit(server=server):
                return f"set server {name} weight {server.weight}"
