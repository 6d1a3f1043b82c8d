"""From what is to stand in the registry and what stands there to what has to be done. Pure.

A key is ours if it stands under our lease. What stands under another lease is somebody else's and is left alone, unless
the record itself says that an announcer of this host wrote it: then it is an earlier run of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from registrator.announce.layout import Layout, Wanted
from registrator.registry.store import Raw


@dataclass(frozen=True)
class Register:
    """Write `value`. `revision` is that of what is overwritten, 0 where nothing may be there."""

    key: str
    value: bytes
    revision: int
    reason: str


@dataclass(frozen=True)
class Deregister:
    """Remove what was last changed at `revision`."""

    key: str
    revision: int
    reason: str


@dataclass(frozen=True)
class Leave:
    """Somebody else holds the key: said, not done."""

    key: str
    reason: str


Action = Register | Deregister | Leave


def decide(
    wanted: Mapping[str, Wanted], published: Mapping[str, Raw], layout: Layout, lease: int, *, cleanup: bool = False
) -> list[Action]:
    """All that is to be done now, in the order of the keys. With `cleanup` also what no announcer keeps is ours."""
    here = {key: raw for key, raw in published.items() if key.startswith(layout.prefix)}
    judged = {key for key, raw in here.items() if cleanup or raw.lease == lease}
    actions = [_one(key, wanted.get(key), here.get(key), layout, lease) for key in {*wanted, *judged}]
    return sorted((a for a in actions if a is not None), key=lambda a: a.key)


def _one(key: str, want: Wanted | None, raw: Raw | None, layout: Layout, lease: int) -> Action | None:
    value = want.value if want is not None else None
    reason = want.reason if want is not None else "its container is gone"
    if raw is None:
        return Register(key, value, 0, reason) if value is not None else None
    ours = raw.lease == lease or layout.mine(key, raw)
    if value is None:
        # What stands under another lease is kept by a live announcer of this host, of another Docker, or ends with it.
        return Deregister(key, raw.revision, reason) if ours and raw.lease in (lease, 0) else None
    if not ours:
        return Leave(key, f"lease {raw.lease:x} holds it" if raw.lease else "it was written without a lease")
    if raw.lease == lease and raw.value == value:
        return None
    return Register(key, value, raw.revision, reason)
