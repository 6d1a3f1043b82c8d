"""check_cmd and reload_cmd: what counts is the shell itself, and its time limit holds whoever it left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from confd_py.commands import run_shell
from confd_py.errors import CommandFailed


class Stranger:
    """A grandchild in a session of its own that holds the command's output open."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "stranger"
        self.line = f"setsid sh -c 'echo $$ >{self._file}; exec sleep 30' & while [ ! -s {self._file} ]; do :; done"

    def end(self) -> None:
        if self._file.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self._file.read_text()), signal.SIGKILL)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Stranger]:
    found = Stranger(tmp_path)
    yield found
    found.end()


async def test_a_limit_holds_although_a_stranger_keeps_the_output_open(stranger: Stranger) -> None:
    began_s = time.monotonic()
    with pytest.raises(CommandFailed, match=r"took longer than 0\.5 s and was killed"):
        await run_shell(f"{stranger.line}; sleep 30", 0.5)
    assert time.monotonic() - began_s < 25


async def test_a_shell_that_ended_is_not_waited_for(stranger: Stranger) -> None:
    began_s = time.monotonic()
    assert await run_shell(f"{stranger.line}; echo done; exit 0", 28) == "done\n"
    assert time.monotonic() - began_s < 25


async def test_output_up_to_the_end_of_a_failed_shell_is_told(stranger: Stranger) -> None:
    with pytest.raises(CommandFailed, match="failed with code 3") as caught:
        await run_shell(f"{stranger.line}; seq 100000; echo broken >&2; exit 3", 30)
    assert caught.value.details[-2:] == ("100000", "broken")


async def test_a_cancelled_command_is_ended_with_its_group(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    running = asyncio.create_task(run_shell(f"sleep 30 & echo $! >{pid}; wait", 28))
    async with asyncio.timeout(20):
        while not (pid.exists() and pid.read_text()):
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        while _lives(int(pid.read_text())):
            await asyncio.sleep(0.01)


async def test_descriptors_are_given_back() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await run_shell("echo x", 30)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_without_a_limit_a_command_takes_its_time() -> None:
    assert await run_shell("sleep 0.2; echo done", float("inf")) == "done\n"
