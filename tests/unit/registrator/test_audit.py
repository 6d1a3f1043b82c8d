"""The audit stays as long as it is said to be."""

from __future__ import annotations

import asyncio
from pathlib import Path

from registrator.control.audit import KEPT, surplus
from registrator.control.backup import Backup
from registrator.control.loop import Control
from registrator.model.deed import Deed
from registrator.orders import give
from registrator.registry.store import AT_ONCE
from registrator.registry.trust import Trust
from registrator.registry.world import Reader
from tests.fakes.store import FakeStore


def test_the_oldest_go_first_and_no_more_than_a_transaction_takes() -> None:
    deeds = [Deed(f"{n:013d}-x", float(n), "me", "scale", "web") for n in range(KEPT + 150)]
    assert surplus(reversed(deeds)) == deeds[:AT_ONCE]
    assert surplus(deeds[:KEPT]) == []


async def test_the_leader_keeps_the_newest(tmp_path: Path) -> None:
    store = FakeStore()
    for n in range(KEPT + 150):
        await store.commit([give.deed(float(n), "me", "scale", f"s{n}")])
    control = Control(store, "one", Trust(tmp_path / "trust"), Backup(tmp_path / "orders"))
    leading = asyncio.create_task(control.run())
    try:
        async with asyncio.timeout(10.0):
            while len(audit := Reader().read(store.snapshot()).audit) > KEPT:
                await asyncio.sleep(0.02)
    finally:
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
    assert {deed.target for deed in audit.values()} == {f"s{n}" for n in range(150, KEPT + 150)}
