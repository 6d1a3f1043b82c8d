"""Servers on their way into a running HAProxy, or out of it: each look brings every one of them a step on."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from confd_py.errors import HaproxyRefused
from confd_py.haproxy import plan as planner
from confd_py.haproxy.admission import QUICK_FOR_S, Admission, Pending, Removal, admitted, idle, next_look_s, overlooked
from confd_py.haproxy.config import Server
from confd_py.haproxy.inventory import Inventory
from confd_py.haproxy.plan import Action, Add, Admit, Key, Remove
from confd_py.haproxy.session import Session
from confd_py.haproxy.state import stat_rows

_POINTED_AT = "pointing to it"  # HAProxy's word for a server that other directives name


class Transit:
    """Nobody here holds up anybody else. Whoever calls has the turn to write to HAProxy."""

    def __init__(self, inventory: Inventory, removal_timeout_s: float) -> None:
        self.pending: dict[Key, Pending] = {}
        self.operations = 0
        self._inventory = inventory
        self._removal_timeout_s = removal_timeout_s
        self._refused: set[tuple[str, ...]] = set()  # words with which HAProxy added no server

    def enter(self, actions: Iterable[Action], *, quick: bool = True) -> None:
        """What the actions began; ids come from the look taken after them."""
        now_s = time.monotonic()
        for action in actions:
            key = action.key
            seen = self._inventory.find(key)
            if seen is None:
                continue
            if isinstance(action, Remove):
                self.pending[key] = Removal(key, seen.row, action.successor, now_s, quick)
            elif isinstance(action, Add | Admit) and seen.in_drain:
                self.pending[key] = Admission(key, seen.row, action.server, key in self._inventory.quick, now_s)

    def redirect(self, key: Key, server: Server | None) -> None:
        """`server` is what is wanted of it now."""
        item = self.pending[key]
        if isinstance(item, Removal):
            self.pending[key] = replace(item, successor=server)
        elif server is None or server != item.server:
            del self.pending[key]  # planned afresh: removed, moved, or given another weight

    def next_look_s(self) -> float | None:
        """Seconds until `tend` should be called again; None when nobody is on the way."""
        now_s = time.monotonic()
        return min((next_look_s(item, now_s) for item in self.pending.values()), default=None)

    async def tend(self, session: Session) -> bool:
        """One look at all; True when something was admitted, removed or replaced."""
        items = list(self.pending.values())
        rows = await self._rows(session, items)
        orders = {item.key: self._order(session, item, rows.get(item.key)) for item in items}
        told = [key for key, order in orders.items() if order]
        answers = dict(zip(told, await self._send(session, [orders[key] for key in told]), strict=True))
        moved = False
        for item in items:
            key = item.key
            if isinstance(item, Admission):
                moved |= self._after_admission(item, rows.get(key), orders[key])
            else:
                moved |= await self._after_removal(session, item, rows.get(key), answers.get(key, ""))
        return moved

    def add_command(self, session: Session, key: Key, server: Server, *, quick: bool) -> str:
        """Adds a server, with an id where this HAProxy needs that."""
        number = self._inventory.fresh_id(key[0]) if session.can.needs_ids else 0
        return planner.add_command(key, server, quick=quick, number=number)

    async def _rows(self, session: Session, items: list[Pending]) -> dict[Key, dict[str, str]]:
        answers = await session.run([f"show stat {item.row}" for item in items])
        rows: dict[Key, dict[str, str]] = {}
        for item, answer in zip(items, answers, strict=True):
            row = next(iter(stat_rows(answer)), None)
            if row is not None and row.get("svname") == item.key[1]:
                rows[item.key] = row
        return rows

    def _order(self, session: Session, item: Pending, row: dict[str, str] | None) -> str:
        """What HAProxy is told of it at this look; "": nothing."""
        if row is None:
            return ""
        name, now_s = "/".join(item.key), time.monotonic()
        if isinstance(item, Admission):
            if admitted(row, item.server):
                return f"set server {name} state ready"
            late = item.quick and now_s - item.since_s > QUICK_FOR_S
            return f"set server {name} state maint" if late or overlooked(row, item, now_s) else ""
        if idle(row):
            return f"del server {name}" if self._comes_anew(session, item) else ""
        return f"shutdown sessions server {name}" if now_s - item.since_s > self._removal_timeout_s else ""

    def _after_admission(self, item: Admission, row: dict[str, str] | None, order: str) -> bool:
        if row is None or order.endswith(" ready"):
            if row is not None:
                self._inventory.let_in(item.key)
            del self.pending[item.key]
            return True
        if order:  # put there again: with its own interval if it stays down, else once more for its quick first check
            now_s = time.monotonic()
            late = now_s - item.since_s > QUICK_FOR_S
            since_s = item.since_s if late else now_s
            self.pending[item.key] = Removal(item.key, item.row, item.server, since_s, quick=not late)
        return False

    async def _after_removal(self, session: Session, item: Removal, row: dict[str, str] | None, answer: str) -> bool:
        if row is not None:
            if not idle(row):
                return False
            if not self._comes_anew(session, item) or _POINTED_AT in answer:
                return await self._reuse(session, item)
            if "deleted" not in answer and "No such server" not in answer:
                # Connections that went idle after it entered maintenance would stay for seconds;
                # they are closed on the way into it.
                name = "/".join(item.key)
                await self._send(session, [f"set server {name} state drain", f"set server {name} state maint"])
                return False
        self._inventory.strike(item.key)
        del self.pending[item.key]
        if item.successor is not None:
            await self._succeed(session, item, item.successor)
        return True

    def _comes_anew(self, session: Session, item: Removal) -> bool:
        """Whether it can be deleted, and what follows it be added: else it stays where it stands."""
        if item.successor is None:
            return session.can.members
        return session.can.takes(item.successor.keywords) and item.successor.words not in self._refused

    async def _succeed(self, session: Session, item: Removal, server: Server) -> None:
        quick = item.quick and server.hurried
        if quick:
            self._inventory.quick.add(item.key)
        words = await self._send(session, [self.add_command(session, item.key, server, quick=quick)])
        await self._inventory.look(session, [item.key[0]])
        seen = self._inventory.find(item.key)
        if seen is None:
            self._refused.add(server.words)
            fault = f"HAProxy could not put the server {'/'.join(item.key)} back"
            raise HaproxyRefused(fault, details=tuple(words), hint="A reload brings it back.")
        if seen.in_drain:
            since_s = time.monotonic() if quick else item.since_s
            self.pending[item.key] = Admission(item.key, seen.row, server, quick, since_s)

    async def _reuse(self, session: Session, item: Removal) -> bool:
        """It cannot be deleted, so it is moved and let in where it stands; a removed one stays in maintenance."""
        del self.pending[item.key]
        if item.successor is None:
            return True
        name, server = "/".join(item.key), item.successor
        host, _, port = server.address.rpartition(":")
        place = f"set server {name} addr {host.strip('[]')} port {port}"
        await self._send(session, [place, f"set server {name} weight {server.weight}"])
        if not server.disabled:
            await self._send(session, [f"set server {name} state drain"])
            self.pending[item.key] = Admission(item.key, item.row, server, False, time.monotonic())
        return True

    async def _send(self, session: Session, commands: list[str]) -> list[str]:
        self.operations += len(commands)
        return await session.run(commands)
