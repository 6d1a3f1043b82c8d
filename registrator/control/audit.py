"""How long the audit is. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from registrator.model.deed import Deed
from registrator.registry.store import AT_ONCE

KEPT = 1000


def surplus(deeds: Iterable[Deed]) -> list[Deed]:
    """The oldest deeds beyond those that are kept, no more than one transaction takes."""
    return sorted(deeds, key=lambda deed: deed.id)[:-KEPT][:AT_ONCE]
