"""What one running HAProxy has, as far as it was asked: its servers, by backend and name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from confd_py.haproxy.plan import Key
from confd_py.haproxy.session import Session
from confd_py.haproxy.state import OP_DOWN, Seen, parse_state


@dataclass
class Inventory:
    """Holds for one process only: it is cleared with the conversation."""

    servers: dict[str, dict[str, Seen]] = field(default_factory=dict)
    quick: set[Key] = field(default_factory=set)  # added with quick checks
    _ids: dict[str, int] = field(default_factory=dict)

    def clear(self) -> None:
        """Nothing is known."""
        self.servers.clear()
        self.quick.clear()
        self._ids.clear()

    async def look_everywhere(self, session: Session) -> None:
        """Learn all anew."""
        self.servers = parse_state(await session.ask("show servers state"))

    async def look(self, session: Session, backends: Iterable[str]) -> None:
        """Learn anew what is in `backends`."""
        names = list(backends)
        answers = await session.run([f"show servers state {name}" for name in names])
        for name, answer in zip(names, answers, strict=True):
            self.servers[name] = parse_state(answer).get(name, {})

    def of(self, backend: str) -> Mapping[str, Seen]:
        """Its servers."""
        return self.servers.get(backend, {})

    def find(self, key: Key) -> Seen | None:
        """One server, if it is there."""
        return self.of(key[0]).get(key[1])

    def fresh_id(self, backend: str) -> int:
        """An id that no server of the backend has or had."""
        taken = max((seen.id for seen in self.of(backend).values()), default=0)
        self._ids[backend] = max(self._ids.get(backend, 0), taken) + 1
        return self._ids[backend]

    def is_down(self, key: Key) -> bool:
        """Whether its checks fail, and nobody took it out."""
        seen = self.find(key)
        return seen is not None and seen.operational == OP_DOWN and not seen.admin

    def let_in(self, key: Key) -> None:
        """It was set ready."""
        seen = self.find(key)
        if seen is not None:
            self.servers[key[0]][key[1]] = replace(seen, admin=0, operational=2)

    def strike(self, key: Key) -> None:
        """It was deleted."""
        self.servers.get(key[0], {}).pop(key[1], None)
        self.quick.discard(key)
