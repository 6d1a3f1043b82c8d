"""The orders of the last trusted world, in a file: what `hecd restore` writes back when etcd lost its data."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registrator.errors import NotFound
from registrator.registry import schema
from registrator.registry.codec import encode
from registrator.registry.store import Put
from registrator.registry.world import World

BUSY = 0.02  # the part of the processor's time that may go into writing it
WAITING = 0.2  # and of all time, into waiting for a disk that stalls: else minutes of orders would be lost


@dataclass
class Backup:
    """Keeps services, releases and their history, assignments, rollouts; what is under a lease comes back by itself."""

    path: Path
    _rooms: Sequence[Mapping[Any, schema.Record]] = ()
    _texts: dict[str, tuple[schema.Record, str]] = field(default_factory=dict)
    _due: float = 0.0

    def save(self, world: World, now: float) -> float:
        """Write the file if an order changed since the last time, but not so often that nothing else gets done.

        After how many seconds to ask again. `now` is monotonic seconds. An empty world is not worth keeping.
        """
        rooms = (
            world.services,
            world.releases,
            world.assignments,
            world.rollouts,
            world.availability,
            world.demotions,
            world.history,
        )
        if not any(rooms) or [*map(id, rooms)] == [*map(id, self._rooms)]:
            return math.inf
        if now < self._due:
            return self._due - now
        begun, worked = time.perf_counter(), time.thread_time()
        self._write(world.revision, [record for room in rooms for record in _records(room)])
        pause_s = max((time.thread_time() - worked) / BUSY, (time.perf_counter() - begun) / WAITING)
        self._rooms, self._due = rooms, now + pause_s
        return math.inf

    def _write(self, revision: int, orders: Iterable[schema.Record]) -> None:
        texts = {}
        for order in orders:
            key = schema.key_of(order)
            known = self._texts.get(key)
            texts[key] = known if known is not None and known[0] is order else (order, encode(order).decode())
        body = {"revision": revision, "records": {key: text for key, (_, text) in sorted(texts.items())}}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(json.dumps(body))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        self._texts = texts

    def load(self) -> list[Put]:
        """The writes that bring the orders back. Raises NotFound when nothing was kept."""
        try:
            records = json.loads(self.path.read_text())["records"]
        except (FileNotFoundError, ValueError, KeyError) as err:
            raise NotFound(
                f"no backup of the orders at {self.path}", hint="Run `hecd deploy -f compose.yaml` again."
            ) from err
        return [Put(key, value.encode()) for key, value in records.items()]


def _records(room: Mapping[Any, schema.Record]) -> Iterable[schema.Record]:
    return room.values()
