"""How long the audit is. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from registrator.model.deed import Deed

KEPT = 1000
AT_ONCE = 100  # an etcd transaction takes 128 operations


def surplus(deeds: Iterable[Deed]) -> list[Deed]:
    """The oldest deeds beyond those that are kept, no more than one transaction takes."""
    return sorted(deeds, key=lambda deed: deed.id)[:-KEPT][:AT_ONCE]
