"""The one process that a lab hangs on: it runs the programs of all hosts, and ends with them.

    python -m registrator.lab.keeper FOLDER

When it is killed, the kernel ends its programs; containers run on, until `hecd lab down`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from registrator.errors import AlreadyRunning
from registrator.lab.plan import Lab, read
from registrator.lab.programs import programs
from registrator.up.machine import holder_of
from registrator.up.supervisor import Supervisor


def lock_file(folder: Path) -> Path:
    return folder / "keeper.lock"


def running_pid(folder: Path) -> int | None:
    """The process id of the keeper of this lab; None if none runs."""
    return holder_of(lock_file(folder))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with lock_file(folder).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise AlreadyRunning(f"this lab has a keeper already ({folder})") from err
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


class Logs:
    """A file for each program, beside its host's other things."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, TextIO] = {}

    def write(self, program: str, line: str) -> None:
        """`program` is HOST/NAME."""
        if program not in self._files:
            self._files[program] = (self._folder / f"{program}.log").open("a", buffering=1)
        self._files[program].write(line + "\n")


async def _keep(lab: Lab) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    Supervisor(programs(lab), Logs(lab.folder).write).start()
    await told.wait()


def main() -> None:
    """Run until told to end, or killed."""
    folder = Path(sys.argv[1])
    with _locked(folder):
        asyncio.run(_keep(read((folder / "lab.json").read_text())))


if __name__ == "__main__":
    main()
