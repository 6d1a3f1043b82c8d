"""Shared and rationed reloads, with real shells."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from confd_py.commands import fill_reload
from confd_py.errors import CommandFailed, Deferred
from confd_py.reloads import RELOADS_AT_ONCE, RELOADS_PER_S, Bucket, Reloads
from tests.fakes.becoming import becomes


async def test_one_that_leaves_does_not_end_what_others_wait_for(tmp_path: Path) -> None:
    reloads, done = Reloads(), tmp_path / "done"
    command = f"sleep 0.2; echo r >> {done}"
    leaving, staying = (asyncio.create_task(reloads.run(command, 30.0)) for _ in range(2))
    await asyncio.sleep(0.05)
    leaving.cancel()
    await staying
    assert done.read_text() == "r\n"


async def test_two_runs_of_one_command_never_overlap(tmp_path: Path) -> None:
    reloads, log = Reloads(limited=False), tmp_path / "log"
    command = f"echo b >> {log}; sleep 0.2; echo e >> {log}"
    first = asyncio.create_task(reloads.run(command, 30.0))
    await becomes(log.exists)
    await reloads.run(command, 30.0)
    await first
    assert log.read_text().split() == ["b", "e", "b", "e"]


async def test_those_who_come_together_share_a_run_and_its_failure(tmp_path: Path) -> None:
    reloads, log = Reloads(), tmp_path / "log"
    results = await asyncio.gather(
        *(reloads.run(f"echo r >> {log}; exit 3", 30.0) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [CommandFailed] * 3
    assert log.read_text() == "r\n"


async def test_too_many_and_too_early_are_deferred(tmp_path: Path) -> None:
    reloads = Reloads(clock=lambda: 7.0)  # however long the shells take
    await reloads.run("true", 30.0, 60.0)
    with pytest.raises(Deferred) as early:
        await reloads.run("true", 30.0, 60.0)
    assert early.value.retry_after_s == 60
    await reloads.run("exit 0", 30.0)
    await reloads.run("exit 0", 30.0)
    with pytest.raises(Deferred):
        await reloads.run("exit 0", 30.0)


def test_a_bucket_refills() -> None:
    now_s = 0.0
    bucket = Bucket(2, 4.0, lambda: now_s)
    bucket.take()
    bucket.take()
    assert bucket.wait_s() == pytest.approx(0.25)
    now_s = 0.3
    assert bucket.wait_s() == 0.0


@pytest.mark.parametrize("lasts_s", [0.5, 1.0, 1.1, 1.3, 1.4, 2.0, 5.0, 9.9])
def test_a_storm_of_a_second_takes_three_reloads(lasts_s: float) -> None:
    now_s = 0.0
    bucket = Bucket(RELOADS_AT_ONCE, RELOADS_PER_S, lambda: now_s)
    reloads, owed = 0, False
    while now_s <= lasts_s or owed:
        owed = owed or now_s <= lasts_s
        if bucket.wait_s() == 0.0:
            bucket.take()
            reloads, owed = reloads + 1, False
        now_s += 0.01
    assert reloads <= 3 * max(1.0, lasts_s)


def test_foreign_braces_of_a_reload_stay() -> None:
    command = "docker inspect --format '{{.State.Pid}}' web {{ .dest }} {{"
    assert fill_reload(command, src="/s", dest="/d d") == "docker inspect --format '{{.State.Pid}}' web '/d d' {{"
