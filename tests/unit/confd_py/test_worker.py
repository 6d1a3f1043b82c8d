"""Applied is not tried: the loop of one resource, with a fake applier and real time kept short."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from confd_py import dest
from confd_py.apply import CommandApplier, Tally
from confd_py.deadline import Beside
from confd_py.errors import CommandFailed, ConfdError, Deferred, HaproxyAway, TemplateFault, WriteFailed
from confd_py.guard import Limits
from confd_py.keyspace import KeySpace
from confd_py.reloads import Reloads
from confd_py.render import Renderer
from confd_py.resource import Resource
from confd_py.store import Batch, Cause, Change, Entry, LeaseFate
from confd_py.view import View
from confd_py.worker import Parts, Worker, retry_wait_s


class FakeApplier:
    """Takes every text, or fails with what stands in `faults`; nothing applies before `gate` opens."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.faults: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = False
        self.tally = Tally()
        self.changed: Callable[[], None] = lambda: None
        self.again: Callable[[], None] = lambda: None

    async def apply(self, text: str) -> None:
        self.waiting = True
        await self.gate.wait()
        self.waiting = False
        self.texts.append(text)
        if self.faults:
            raise self.faults.pop(0)

    async def attend(self, changed: Callable[[], None], again: Callable[[], None]) -> None:
        self.changed, self.again = changed, again
        await asyncio.Event().wait()

    async def close(self) -> None:
        return


class Bench:
    def __init__(self, folder: Path, template: str) -> None:
        (folder / "t.j2").write_text(template)
        keys = ("/app",)
        self.resource = Resource("r", "t.j2", folder / "out", keys, applied_file=folder / "state", guard_grace_s=0.3)
        view = View(keys, "/", Limits(0.3))
        self.fates: dict[int, LeaseFate] = {}
        self.applier = FakeApplier()
        renderer = Renderer(folder, "t.j2", "plain", view.keys, {})

        async def fate(lease: int) -> LeaseFate:
            return self.fates.get(lease, "unknown")

        self.worker = Worker(Parts(self.resource, view, renderer, self.applier, fate))
        self.revision = 0

    def tell(self, key: str, value: str | None, *, old: Entry | None = None, cause: Cause = "event") -> None:
        self.revision += 1
        new = None if value is None else Entry(value, self.revision, old.lease if old else 0)
        self.worker.notice(Batch(self.revision, (Change(key, old, new, cause),)))

    def state(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.resource.applied_file.read_text())
        return found

    async def until(self, probe: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not probe():
                await asyncio.sleep(0.002)

    async def until_applied(self, texts: list[str]) -> None:
        await self.until(lambda: self.applier.texts == texts)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    found = Bench(tmp_path, '{{ getv("/app/x", "none") }}')
    task = asyncio.create_task(found.worker.run())
    yield found
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_change_is_applied_and_recorded(bench: Bench) -> None:
    bench.tell("/app/x", "1")
    await bench.until(lambda: bench.applier.texts == ["1"])
    await bench.until(bench.resource.applied_file.exists)
    assert (bench.state()["revision"], bench.state()["error"]) == (1, None)


async def test_the_revision_moves_on_without_a_second_apply(bench: Bench) -> None:
    bench.tell("/app/x", "1")
    bench.tell("/app/y", "other")
    await bench.until(lambda: bench.resource.applied_file.exists() and bench.state()["revision"] == 2)
    assert bench.applier.texts == ["1"]


async def test_what_it_does_not_read_wakes_nobody(bench: Bench) -> None:
    bench.tell("/app/x", "1")
    await bench.until(bench.resource.applied_file.exists)
    bench.tell("/application", "z")
    await asyncio.sleep(0.05)
    assert bench.state()["revision"] == 1


async def test_a_failure_is_recorded_and_tried_again_until_it_holds(bench: Bench) -> None:
    fault = CommandFailed("check failed", details=("line",), hint="do this")
    fault.retry_after_s = 0.05
    bench.applier.faults = [fault, fault]
    bench.tell("/app/x", "1")
    await bench.until(lambda: bench.resource.applied_file.exists() and bench.state()["error"])
    state = bench.state()
    assert (state["error"], state["error_details"], state["hint"], state["revision"]) == (
        "check failed", ["line"], "do this", 0,
    )  # fmt: skip
    await bench.until(lambda: bench.state()["error"] is None)
    assert bench.applier.texts == ["1", "1", "1"]
    assert (bench.state()["revision"], bench.state()["failures"]) == (1, 0)


async def test_a_new_change_does_not_wait_for_the_back_off(bench: Bench) -> None:
    fault = ConfdError("later")
    fault.retry_after_s = 60.0
    bench.applier.faults = [fault]
    bench.tell("/app/x", "1")
    await bench.until(lambda: bench.applier.texts == ["1"])
    bench.tell("/app/x", "2")
    await bench.until(lambda: bench.applier.texts == ["1", "2"])


async def test_a_burst_while_it_applies_is_one_change(bench: Bench) -> None:
    bench.tell("/app/x", "0")
    await bench.until(lambda: bench.applier.texts == ["0"])
    bench.applier.gate.clear()
    bench.tell("/app/x", "1")
    await bench.until(lambda: bench.applier.waiting)
    for number in range(2, 500):
        bench.tell("/app/x", str(number))
    bench.applier.gate.set()
    await bench.until(lambda: bench.state()["revision"] == 500 - 1 + 1)
    assert bench.applier.texts == ["0", "1", "499"]


async def test_again_applies_the_same_text_once_more(bench: Bench) -> None:
    bench.tell("/app/x", "1")
    await bench.until(lambda: bench.applier.texts == ["1"])
    bench.applier.again()
    await bench.until(lambda: bench.applier.texts == ["1", "1"])


async def test_a_template_edited_while_it_applies_is_rendered_afterwards(bench: Bench, tmp_path: Path) -> None:
    """At once, also when what was being applied failed and would be tried again much later."""
    bench.tell("/app/x", "1")
    await bench.until(lambda: bench.applier.texts == ["1"])
    later = ConfdError("later")
    later.retry_after_s = 60.0
    for faults, texts in (([], ["1", "new 1"]), ([later], ["new 1", "newer 1"])):
        bench.applier.texts.clear()
        bench.applier.faults = list(faults)
        bench.applier.gate.clear()
        bench.worker.again()
        await bench.until(lambda: bench.applier.waiting)
        (tmp_path / "t.j2").write_text(texts[1].replace("1", '{{ getv("/app/x", "1") }}'))
        bench.worker.template_changed()
        bench.applier.gate.set()
        await bench.until_applied(texts)


async def test_doubt_that_comes_while_it_applies_is_not_answered_by_its_outcome(bench: Bench) -> None:
    bench.applier.gate.clear()
    bench.tell("/app/x", "1")
    await bench.until(lambda: bench.applier.waiting)
    bench.worker.again()
    bench.applier.gate.set()
    await bench.until(lambda: bench.applier.texts == ["1", "1"])


async def test_progress_of_the_applier_is_recorded(bench: Bench) -> None:
    bench.tell("/app/x", "1")
    await bench.until(bench.resource.applied_file.exists)
    bench.applier.tally = Tally(reloads=2, pending_admissions=("b/s",))
    bench.applier.changed()
    assert (bench.state()["reloads"], bench.state()["pending_admissions"]) == (2, ["b/s"])


async def test_an_expired_entry_stays_for_the_grace(bench: Bench) -> None:
    bench.fates[7] = "gone"
    bench.tell("/app/x", "1")
    bench.tell("/app/x", None, old=Entry("1", 1, 7))
    await bench.until(lambda: bench.resource.applied_file.exists() and bench.state()["ghosts"])
    assert bench.applier.texts == ["1"]
    await bench.until(lambda: bench.applier.texts == ["1", "none"])
    assert bench.state()["doubt"] is None


async def test_a_bug_in_one_resource_is_only_its_own_error(bench: Bench) -> None:
    bench.applier.faults = [RuntimeError("boom")]
    bench.tell("/app/x", "1")
    await bench.until(lambda: bench.resource.applied_file.exists() and bench.state()["error"])
    assert bench.state()["error"] == "unexpected RuntimeError: boom"
    await bench.until(lambda: bench.state()["error"] is None)


@pytest.mark.parametrize(
    ("err", "failures", "low", "high"),
    [
        (ConfdError("x"), 1, 0.375, 0.625),
        (ConfdError("x"), 3, 1.5, 2.5),
        (ConfdError("x"), 50, 7.5, 12.5),
        (HaproxyAway("x"), 50, 0.1, 0.1),
        (Deferred(3.0), 1, 3.0, 3.0),
    ],
)
def test_retry_wait(err: ConfdError, failures: int, low: float, high: float) -> None:
    assert retry_wait_s(err, failures, 0.0) == pytest.approx(low)
    assert retry_wait_s(err, failures, 1.0) == pytest.approx(high)


def command_applier(folder: Path, *, owed: bool = False, **settings: Any) -> CommandApplier:
    resource = Resource("r", "t", folder / "out", **settings)
    return CommandApplier(resource, Reloads(limited=False), sync_only=False, keep_stage_file=False, owed=owed)


async def test_commands_see_the_staged_and_the_final_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    applier = command_applier(
        tmp_path,
        check_cmd=f"grep -q good {{{{.src}}}} && echo check >> {log}",
        reload_cmd=f"cat {{{{ .dest }}}} >> {log}",
    )
    await applier.apply("good 1\n")
    await applier.apply("good 1\n")
    assert log.read_text() == "check\ngood 1\n"
    with pytest.raises(CommandFailed, match="failed with code 1"):
        await applier.apply("bad\n")
    assert (tmp_path / "out").read_text() == "good 1\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "out"]


async def test_a_failed_reload_is_owed_also_when_the_file_no_longer_changes(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    applier = command_applier(tmp_path, reload_cmd=f"test -e {flag}")
    with pytest.raises(CommandFailed):
        await applier.apply("x")
    flag.touch()
    await applier.apply("x")
    assert applier.tally.reloads == 1
    await applier.apply("x")
    assert applier.tally.reloads == 1


async def test_a_hanging_command_is_killed_with_its_children(tmp_path: Path) -> None:
    for limit_s in (0.3, 3.0, 15.0):  # it may be over before the shell has begun
        check = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
        applier = command_applier(tmp_path, check_cmd=check, check_cmd_timeout_s=limit_s)
        with pytest.raises(CommandFailed, match=f"took longer than {limit_s:g} s"):
            await applier.apply("x")
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
    pid = int((tmp_path / "pid").read_text())
    async with asyncio.timeout(20):
        while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1]:
            await asyncio.sleep(0.01)


async def test_a_name_server_that_does_not_answer_holds_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()

    def getaddrinfo(*_: object) -> list[tuple[object, ...]]:
        answers.wait(20)
        return [(None, None, None, "", ("10.0.0.1", 0))]

    monkeypatch.setattr("confd_py.functions.host.socket.getaddrinfo", getaddrinfo)
    monkeypatch.setattr("confd_py.worker.Beside", lambda limit_s: Beside(0.2))
    bench = Bench(tmp_path, '{{ lookupIP("db")|join }}')
    try:
        bench.tell("/app/a", "1", cause="first")
        step = asyncio.create_task(bench.worker.step())
        turns = 0
        while not step.done():  # the loop is free meanwhile
            await asyncio.sleep(0.001)
            turns += 1
        assert turns > 2
        await step
        assert "rendering took longer than" in str(bench.state()["error"])
        threads = threading.active_count()
        bench.worker.template_changed()
        await bench.worker.step()  # no second thread beside the one that hangs
        assert threading.active_count() == threads
    finally:
        answers.set()
    async with asyncio.timeout(20):
        while bench.applier.texts != ["10.0.0.1"]:
            bench.worker.template_changed()
            await bench.worker.step()
            await asyncio.sleep(0.01)


async def test_a_template_that_loops_for_long_holds_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("confd_py.worker._AT_ONCE_S", 0.05)
    monkeypatch.setattr("confd_py.worker.Beside", lambda limit_s: Beside(0.1))
    turns = "{% for a in range(40000) %}{% for b in range(2000) %}{% endfor %}{% endfor %}"
    bench = Bench(tmp_path, turns)
    bench.tell("/app/a", "1", cause="first")
    await bench.worker.step()
    assert "rendering took longer than" in str(bench.state()["error"])
    (tmp_path / "t.j2").write_text("short")
    async with asyncio.timeout(20):
        while bench.applier.texts != ["short"]:  # the thread of the first attempt ends by itself here
            bench.worker.template_changed()
            await bench.worker.step()
            await asyncio.sleep(0.01)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_pipe_is_no_template_and_no_dest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tmpl")
    os.mkfifo(tmp_path / "pipe.j2")
    for name in ("pipe.tmpl", "pipe.j2"):
        with pytest.raises(TemplateFault, match="is no regular file"):
            Renderer(tmp_path, name, "plain", KeySpace({}), {}).render()
    with pytest.raises(WriteFailed, match="is no regular file"):
        dest.read(tmp_path / "pipe.j2")
