"""Some rooms of the registry, for who needs no more: what happens in the others neither wakes nor costs anything."""

from __future__ import annotations

from registrator.registry.store import Store
from registrator.registry.world import Reader, World


class Rooms:
    """The world as these rooms have it; all others are empty in it."""

    def __init__(self, store: Store, *words: str) -> None:
        self.words = words
        self._store = store
        self._reader = Reader()
        self._mark = (-1, -1)

    def read(self) -> World:
        """The newest state. A mapping in which nothing changed is the same object as before."""
        snapshot = self._store.snapshot()
        self._mark = snapshot.mark
        return self._reader.read(snapshot.only(self.words))

    async def changed(self) -> None:
        """Return as soon as `read` would give something else than the last time."""
        await self._store.changed(self._mark, self.words)
