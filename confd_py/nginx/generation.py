"""The processes of nginx: the master, the workers that take connections, and old ones behind a reload.

nginx answers a reload with success before it has even read the file. What came of it shows in the processes: workers
of the new generation tell its stamp, and those of the old one call themselves "shutting down".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from confd_py.errors import ConfdError, NginxAway

_ANSWERS_WITHIN_S = 1.0
_PROC = Path("/proc")


@dataclass(frozen=True)
class Worker:
    """One worker process; `leaving` once it was told to finish what it has, and takes nothing new."""

    pid: int
    started: int  # in clock ticks since the machine did
    leaving: bool


def find_master(pid_file: str) -> int:
    """The pid of the running master. Raises NginxAway."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(Path(pid_file).read_text())
        if _is_master(pid):
            return pid
    raise NginxAway(
        f"no nginx runs that {pid_file} names",
        hint="Start nginx with the rendered file; `pid` in it and pid_file of the resource have to name one path.",
    )


def workers_of(master: int) -> tuple[Worker, ...]:
    """Oldest first."""
    found = (_worker(pid) for pid in _children(master))
    return tuple(sorted((worker for worker in found if worker), key=lambda worker: worker.started))


def still_taking(before: Collection[int]) -> bool:
    """Whether one of these workers still takes new connections."""
    found = (_worker(pid) for pid in before)
    return any(worker is not None and not worker.leaving for worker in found)


async def running_stamp(status: str, master: int) -> str:
    """The stamp that a worker of `master` answers at `status`; "" if none does."""
    host, _, port = status.rpartition(":")
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                answer = await reader.read(4096)
            finally:
                writer.close()
        pid, stamp = answer.decode("ascii", "replace").split("\r\n\r\n", 1)[1].split()
        return stamp if _stat(int(pid))[0] == master else ""
    return ""


def hang_up(master: int) -> None:
    """Have it read its file anew; one that comes during a reload brings another. Raises NginxAway, ConfdError."""
    _signal(master, signal.SIGHUP)


def end_oldest(master: int, generations: int) -> int:
    """End workers that are behind more than `generations` reloads; how many.

    nginx knows no limit to them, and each holds memory until its last connection ends.
    """
    workers = workers_of(master)
    leaving = [worker for worker in workers if worker.leaving]
    surplus = leaving[: max(0, len(leaving) - generations * (len(workers) - len(leaving)))]
    for worker in surplus:
        with contextlib.suppress(NginxAway):
            _signal(worker.pid, signal.SIGTERM)
    return len(surplus)


def _signal(pid: int, number: signal.Signals) -> None:
    """To nginx and to nobody else: a pid may be somebody else's by now."""
    try:
        descriptor = os.pidfd_open(pid)
        try:
            if not _title(pid).startswith("nginx: "):
                raise ProcessLookupError
            signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
    except PermissionError as err:
        hint = "Run confd-py as root, or as the user that the master process of nginx runs as."
        raise ConfdError(f"nginx may not be signalled pid={pid}", hint=hint) from err
    except OSError as err:  # nobody has the number, or a thread has it
        raise NginxAway(f"nginx ended pid={pid}") from err


def _is_master(pid: int) -> bool:
    return _title(pid).startswith("nginx: master process")


def _worker(pid: int) -> Worker | None:
    title = _title(pid)
    if not title.startswith("nginx: worker process"):
        return None
    with contextlib.suppress(OSError):
        return Worker(pid, _stat(pid)[1], "shutting down" in title)
    return None


def _children(parent: int) -> Iterator[int]:
    for folder in _PROC.iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and _stat(int(folder.name))[0] == parent:
                yield int(folder.name)


def _stat(pid: int) -> tuple[int, int]:
    """Parent and start time. Raises OSError."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), int(fields[19])


def _title(pid: int) -> str:
    """What a process calls itself; "" of one that is gone, or dead and not yet waited for."""
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "cmdline").read_text(errors="replace").replace("\0", " ")
    return ""
