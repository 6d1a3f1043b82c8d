"""Trust: is what etcd says an order, or has etcd lost its memory?

A store that answers with another cluster id, with a revision lower than one already seen, or without the operator's
last confirmation, was wiped or restored. Revisions grow again, so a doubt that was raised stays until it is answered.
Then absence means nothing: who runs containers keeps them running until an operator confirms the records
(`hecd deploy`, `hecd restore`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from registrator.registry.world import World


@dataclass(frozen=True)
class Memory:
    """The newest trusted state this process knows of; all zero: none yet."""

    cluster_id: int = 0
    revision: int = 0
    confirmed_at: float = 0.0
    doubt: str = ""


def doubt(memory: Memory, world: World) -> str | None:
    """Why `world` must not be taken as an order; None if it may."""
    confirmed_at = world.ledger.confirmed_at if world.ledger else 0.0
    if world.cluster_id == 0:
        return "etcd has not answered yet"
    if memory == Memory() or confirmed_at > memory.confirmed_at:
        return None
    if memory.doubt:
        return memory.doubt
    if world.cluster_id != memory.cluster_id:
        return "etcd's data was replaced (its cluster id changed)"
    if world.revision < memory.revision:
        return f"etcd's data is older than it was (revision {world.revision}, seen {memory.revision})"
    if confirmed_at < memory.confirmed_at:
        return "etcd's data was replaced (the last confirmed orders are not in it)"
    return None


def remember(memory: Memory, world: World) -> Memory:
    """The memory after `world` was trusted."""
    confirmed_at = world.ledger.confirmed_at if world.ledger else memory.confirmed_at
    return Memory(world.cluster_id, world.revision, confirmed_at)


class Trust:
    """Judges worlds and keeps the memory in a file, so that a restart does not forget."""

    def __init__(self, path: Path, *, save_every_s: float = 1.0) -> None:
        self._path = path
        self._save_every_s = save_every_s
        self._saved_at = float("-inf")
        self.memory = _load(path)

    def judge(self, world: World, now: float, *, save: bool = True) -> str | None:
        """The doubt about `world`, or None. `now` is monotonic seconds; `save` False only looks."""
        reason = doubt(self.memory, world)
        if save and world.cluster_id:
            before = self.memory
            self.memory = remember(before, world) if reason is None else replace(before, doubt=reason)
            lasting = replace(before, revision=0) != replace(self.memory, revision=0)
            if before != self.memory and (lasting or now - self._saved_at >= self._save_every_s):
                self._save(now)
        return reason

    def _save(self, now: float) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self.memory)))
        fresh.replace(self._path)
        self._saved_at = now


def _load(path: Path) -> Memory:
    try:
        return Memory(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return Memory()
