"""The orders of the last trusted world, in a file: what `hecd restore` writes back when etcd lost its data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registrator.errors import NotFound
from registrator.registry import schema
from registrator.registry.codec import encode
from registrator.registry.store import Put
from registrator.registry.world import World


@dataclass
class Backup:
    """Keeps services, releases and their history, assignments, rollouts; what is under a lease comes back by itself."""

    path: Path
    _seen: tuple[int, ...] = field(default=())

    def save(self, world: World) -> None:
        """Write the file if an order changed since the last time. An empty world is not worth keeping."""
        rooms = (world.services, world.releases, world.assignments, world.rollouts, world.availability, world.history)
        orders = [record for room in rooms for record in _records(room)]
        keys = {schema.key_of(o): o for o in orders}
        seen = tuple(sorted(world.revisions.get(key, 0) for key in keys))
        if not orders or seen == self._seen:
            return
        body = {
            "revision": world.revision,
            "records": {key: encode(o).decode() for key, o in sorted(keys.items())},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        with fresh.open("w") as file:
            json.dump(body, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        self._seen = seen

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
