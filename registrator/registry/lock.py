"""The lock that one deployer at a time holds on services, under a lease.

It fences: what is written under it is one transaction with the comparison that it is still the same lock. So a deployer
that slept through its lease, or whose lock somebody took away, changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from registrator.errors import Conflict, HecdError, Locked
from registrator.model.lock import Lock
from registrator.model.names import ServiceName
from registrator.registry import schema
from registrator.registry.codec import CodecFault, decode
from registrator.registry.store import Absent, Created, Guard, Put, Raw, Snapshot, Store

_TRIES = 5


@dataclass(frozen=True)
class HeldLock:
    """`guards` belong to every write; `revision` is that at which it was taken: look at nothing older."""

    store: Store
    guards: tuple[Guard, ...]
    revision: int

    async def snapshot(self) -> Snapshot:
        """The newest state, which has all that those before wrote under the lock."""
        while (snapshot := self.store.snapshot()).revision < self.revision:
            await self.store.changed(snapshot.mark)
        return snapshot

    async def check(self) -> None:
        """Raises HecdError when it is no longer held."""
        try:
            await self.store.commit([], self.guards)
        except Conflict as err:
            hint = "`hecd audit` tells whether somebody unlocked it. Look at what holds now, and try again."
            raise HecdError("the lock was lost; nothing was changed", hint=hint) from err


@asynccontextmanager
async def held(
    store: Store, services: Sequence[ServiceName], who: str, message: str, *, ttl_s: int, now: float
) -> AsyncIterator[HeldLock]:
    """Hold the locks of all `services`, or of none. Raises Locked, which names a holder."""
    lease = await store.lease(ttl_s)
    try:
        locks = [Lock(name, who, now, message) for name in services]
        yield await _take(store, [schema.put(lock, lease.id) for lock in locks], now)
    finally:
        await lease.close(revoke=True)


async def lock(store: Store, wanted: Lock, *more: Put) -> None:
    """Set a lock that stays until it is taken away, and write `more` with it. Raises Locked."""
    await _take(store, [schema.put(replace(wanted, lasting=True))], wanted.since, more)


async def _take(store: Store, puts: list[Put], now: float, more: Sequence[Put] = ()) -> HeldLock:
    for _ in range(_TRIES):
        snapshot = store.snapshot()
        for put in puts:
            if (raw := snapshot.get(put.key)) is not None:
                raise _refusal(put.key, raw, now)
        try:
            revision = await store.commit([*puts, *more], [Absent(put.key) for put in puts])
        except Conflict:
            await store.changed(snapshot.mark)  # somebody was quicker, and is seen soon
        else:
            return HeldLock(store, tuple(Created(put.key, revision) for put in puts), revision)
    raise Conflict("the lock changes hands all the time", hint="Try again.")


def _refusal(key: str, raw: Raw, now: float) -> Locked:
    try:
        return refusal(decode(Lock, raw.value), now)
    except CodecFault as err:
        return Locked(f"{key} can't be read: {err}", hint="Remove that key.")


def refusal(found: Lock, now: float) -> Locked:
    """What somebody is told who meets the lock `found`."""
    name, age_s = found.service, max(0, int(now - found.since))
    brief = f"{name} is locked by {found.holder} for {age_s} s{': ' if found.message else ''}{found.message}"
    if found.lasting:
        return Locked(brief, hint=f"Ask them; `hecd unlock {name}` takes the lock away.")
    hint = (
        f"Wait until it has ended, or `hecd rollout abort {name}`. If its deployer is gone, the lock ends within "
        f"seconds; `hecd unlock {name}` takes it away at once."
    )
    return Locked(brief, hint=hint)
