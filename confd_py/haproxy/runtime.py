"""Brings the servers of the running HAProxy to those of a configuration, over one session at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from confd_py.errors import HaproxyAway, HaproxyRefused
from confd_py.haproxy import plan as planner
from confd_py.haproxy.config import HaproxyConfig, Server
from confd_py.haproxy.current import open_current, turn_of
from confd_py.haproxy.plan import Action, Add, Admit, Key, Remove, Weigh
from confd_py.haproxy.session import Session
from confd_py.haproxy.state import OP_DOWN, Seen, parse_state, stat_rows
from confd_py.haproxy.tender import QUICK_FOR_S, Admission, Pending, Removal, admitted, idle, next_look_s, overlooked

_log = logging.getLogger("confd-py.haproxy")
_ROUNDS = 3
_OUTLIVED = "Proxy is disabled"  # what a process answers that was told to leave
_QUIET = ("", "New server registered.", "Server deleted.")
_POINTED_AT = "pointing to it"  # HAProxy's word for a server that other directives name


@dataclass
class Runtime:
    """The Runtime API of one HAProxy. `pending` are servers on their way in or out; they hold up nobody else."""

    socket: str
    master_socket: str = ""
    removal_timeout_s: float = 300.0
    operations: int = 0
    pending: dict[Key, Pending] = field(default_factory=dict)
    session: Session | None = None

    def __post_init__(self) -> None:
        self._lock = turn_of(self.socket)
        self._seen: dict[str, dict[str, Seen]] = {}
        self._quick: set[Key] = set()
        self._moved = asyncio.Event()  # something was admitted or removed, or began to be

    async def connect(self) -> Session:
        """The open session, or a new one; a new process is looked at afresh. Raises HaproxyAway."""
        if self.session is None or self.session.closed:
            await self.disconnect()
            self.session = await open_current(self.socket, self.master_socket)
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
        self.pending.clear()
        self._seen.clear()
        self._quick.clear()

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[Session]:
        """Nothing else is written to HAProxy inside."""
        async with self._lock:
            yield await self.connect()

    async def seen_all(self) -> dict[str, dict[str, Seen]]:
        """All servers of the running process, freshly asked."""
        async with self.frozen() as session:
            self._seen = parse_state(await session.ask("show servers state"))
            return self._seen

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
                await self._look(session, names)
                self._tend_all(actions)
            rest = [a for name in names for a in self._plan(name, wanted.backends[name])]
        if rest:
            text = "; ".join(f"{'/'.join(a.key)}: {a.reason}" for a in rest[:3])
            raise HaproxyRefused(f"HAProxy did not take {len(rest)} server(s): {text}", details=words)
        return found

    async def look(self, backends: Iterable[str]) -> None:
        """Learn anew what the process has in `backends`."""
        async with self.frozen() as session:
            await self._look(session, list(backends))

    async def tend(self) -> bool:
        """One look at all that is pending; True when something was admitted, removed or replaced."""
        if not self.pending:
            return False
        async with self.frozen() as session:
            return await self._tend(session)

    def next_look_s(self) -> float | None:
        """Seconds until `tend` should be called again; None when nothing is pending."""
        now_s = time.monotonic()
        return min((next_look_s(item, now_s) for item in self.pending.values()), default=None)

    async def slow_down(self, wanted: HaproxyConfig) -> int:
        """Put servers that are down there again without their quick checks; how many."""
        down = [
            Remove(key, wanted.backends[key[0]][key[1]], "down: back to its own check interval")
            for key in self._quick
            if key not in self.pending and key[1] in wanted.backends.get(key[0], {}) and self._is_down(key)
        ]
        if down:
            async with self.frozen() as session:
                await self._act(session, down)
                self._tend_all(down, quick=False)
        return len(down)

    # -- one step each; the lock is held ------------------------------------------------------------

    def _plan(self, backend: str, servers: Mapping[str, Server]) -> tuple[Action, ...]:
        for key, item in list(self.pending.items()):
            if key[0] == backend:
                self._redirect(key, item, servers.get(key[1]))
        return planner.plan(backend, servers, self._seen.get(backend, {}), self.pending.keys())

    def _redirect(self, key: Key, item: Pending, server: Server | None) -> None:
        """What is wanted changed while the server was on its way."""
        if isinstance(item, Removal):
            self.pending[key] = replace(item, successor=server)
        elif server is None or server != item.server:
            del self.pending[key]  # planned afresh: removed, moved, or given another weight

    async def _look(self, session: Session, backends: list[str]) -> None:
        for name, answer in zip(
            backends, await session.run([f"show servers state {name}" for name in backends]), strict=True
        ):
            self._seen[name] = parse_state(answer).get(name, {})

    async def _act(self, session: Session, actions: Iterable[Action]) -> tuple[str, ...]:
        """Send the commands of all actions at once; what HAProxy complained about."""
        commands: list[str] = []
        for action in actions:
            _log.debug("%s server=%s reason=%s", type(action).__name__, "/".join(action.key), action.reason)
            commands += self._commands(action)
        answers = await session.run(commands)
        self.operations += len(commands)
        if any(_OUTLIVED in answer for answer in answers):
            await session.close()
            raise HaproxyAway(f"HAProxy process {session.pid} was replaced meanwhile")
        lines = (line for answer in answers for line in answer.splitlines())
        return tuple(dict.fromkeys(line for line in lines if line not in _QUIET))[:5]

    def _commands(self, action: Action) -> list[str]:
        name = "/".join(action.key)
        match action:
            case Add(key=key, server=server):
                self._quick.add(key)
                return [planner.add_command(key, server, quick=True)]
            case Remove():
                return [f"set server {name} state maint"]
            case Weigh(weight=weight):
                return [f"set server {name} weight {weight}"]
            case Admit(server=server):
                return [f"set server {name} weight {server.weight}"]

    def _tend_all(self, actions: Iterable[Action], *, quick: bool = True) -> None:
        """Enter what the actions began; ids come from the look taken after them."""
        now_s = time.monotonic()
        for action in actions:
            key = action.key
            seen = self._seen.get(key[0], {}).get(key[1])
            if seen is None:
                continue
            if isinstance(action, Remove):
                self.pending[key] = Removal(key, seen.id, action.successor, now_s, quick)
            elif isinstance(action, Add | Admit) and seen.in_drain:
                is_quick = key in self._quick
                self.pending[key] = Admission(key, seen.id, action.server, is_quick, now_s)

    def _is_down(self, key: Key) -> bool:
        seen = self._seen.get(key[0], {}).get(key[1])
        return seen is not None and seen.operational == OP_DOWN and not seen.admin

    async def _tend(self, session: Session) -> bool:
        items = list(self.pending.values())
        rows = await self._rows(session, items)
        moved = False
        for item in items:
            row = rows.get(item.key)
            if isinstance(item, Admission):
                moved |= await self._tend_admission(session, item, row)
            else:
                moved |= await self._tend_removal(session, item, row)
        return moved

    async def _rows(self, session: Session, items: list[Pending]) -> dict[Key, dict[str, str]]:
        answers = await session.run([f"show stat {item.key[0]} 4 {item.id}" for item in items])
        rows: dict[Key, dict[str, str]] = {}
        for item, answer in zip(items, answers, strict=True):
            row = next(iter(stat_rows(answer)), None)
            if row is not None and row.get("svname") == item.key[1]:
                rows[item.key] = row
        return rows

    async def _tend_admission(self, session: Session, item: Admission, row: dict[str, str] | None) -> bool:
        if row is None:
            del self.pending[item.key]
            return True
        if admitted(row, item.server):
            await self._send(session, [f"set server {'/'.join(item.key)} state ready"])
            self._remember_ready(item.key)
            del self.pending[item.key]
            return True
        now_s = time.monotonic()
        if item.quick and now_s - item.since_s > QUICK_FOR_S:
            await self._send(session, [f"set server {'/'.join(item.key)} state maint"])
            self.pending[item.key] = Removal(item.key, item.id, item.server, item.since_s, quick=False)
        elif overlooked(row, item, now_s):
            await self._send(session, [f"set server {'/'.join(item.key)} state maint"])
            self.pending[item.key] = Removal(item.key, item.id, item.server, now_s)
        return False

    async def _tend_removal(self, session: Session, item: Removal, row: dict[str, str] | None) -> bool:
        name = "/".join(item.key)
        if row is not None:
            if not idle(row):
                if time.monotonic() - item.since_s > self.removal_timeout_s:
                    await self._send(session, [f"shutdown sessions server {name}"])
                return False
            answer = (await self._send(session, [f"del server {name}"]))[0]
            if _POINTED_AT in answer:
                return await self._reuse(session, item)
            if "deleted" not in answer and "No such server" not in answer:
                # Connections that went idle after it entered maintenance would stay for seconds;
                # they are closed on the way into it.
                await self._send(session, [f"set server {name} state drain", f"set server {name} state maint"])
                return False
        self._seen.get(item.key[0], {}).pop(item.key[1], None)
        self._quick.discard(item.key)
        del self.pending[item.key]
        if item.successor is not None:
            await self._succeed(session, item, item.successor)
        return True

    async def _succeed(self, session: Session, item: Removal, server: Server) -> None:
        if item.quick:
            self._quick.add(item.key)
        words = await self._send(session, [planner.add_command(item.key, server, quick=item.quick)])
        await self._look(session, [item.key[0]])
        seen = self._seen[item.key[0]].get(item.key[1])
        if seen is None:
            _log.warning("a server could not be put back server=%s words=%s", "/".join(item.key), "; ".join(words))
        elif seen.in_drain:
            since_s = time.monotonic() if item.quick else item.since_s
            self.pending[item.key] = Admission(item.key, seen.id, server, item.quick, since_s)

    async def _reuse(self, session: Session, item: Removal) -> bool:
        """It cannot be deleted, so it is moved and let in where it stands; a removed one stays in maintenance."""
        del self.pending[item.key]
        if item.successor is None:
            return True
        name, server = "/".join(item.key), item.successor
        host, _, port = server.address.rpartition(":")
        await self._send(
            session,
            [
                f"set server {name} addr {host.strip('[]')} port {port}",
                f"set server {name} weight {server.weight}",
                f"set server {name} state drain",
            ],
        )
        self.pending[item.key] = Admission(item.key, item.id, server, False, time.monotonic())
        return True

    async def _send(self, session: Session, commands: list[str]) -> list[str]:
        self.operations += len(commands)
        return await session.run(commands)

    def _remember_ready(self, key: Key) -> None:
        seen = self._seen.get(key[0], {}).get(key[1])
        if seen is not None:
            self._seen[key[0]][key[1]] = replace(seen, admin=0, operational=2)
