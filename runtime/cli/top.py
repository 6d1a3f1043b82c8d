"""hecd-runtime top."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click

from runtime.cli import session
from runtime.errors import NotRunning


@dataclass(frozen=True)
class Listed:
    """A process, by its number on this host."""

    pid: int
    user: str
    cpu_s: float
    memory_bytes: int
    command: str


@click.command()
@click.argument("name", shell_complete=session.complete_names)
@session.output_option
@click.pass_context
def top(ctx: click.Context, name: str, output: str) -> None:
    """List the processes of a container, with their numbers on this host."""
    with session.opened(ctx) as host:
        container = host.containers.inspect(name)
    if container.pid is None:
        raise NotRunning(name, container.state)
    found = list(processes(container.pid))
    rows = [
        {
            "pid": str(p.pid),
            "user": p.user,
            "cpu": f"{p.cpu_s:.2f} s",
            "memory": session.size(p.memory_bytes),
            "command": p.command,
        }
        for p in found
    ]
    session.print_rows(rows, found, output)


def processes(first: int) -> Iterator[Listed]:
    """Those that are in the process namespace of `first`, the oldest first."""
    space = os.readlink(f"/proc/{first}/ns/pid")  # noqa: PTH115
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):  # noqa: PTH208
        with suppress(OSError, KeyError):  # it has just ended
            if os.readlink(f"/proc/{pid}/ns/pid") == space:  # noqa: PTH115
                yield _listed(pid, Path(f"/proc/{pid}"))


def _listed(pid: int, place: Path) -> Listed:
    status = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines() if ":\t" in line)
    uid = int(status["Uid"].split()[0])
    times = (place / "stat").read_text().rpartition(")")[2].split()[11:13]
    words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    memory = int(status.get("VmRSS", "0 kB").split()[0]) << 10
    seconds = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
    return Listed(pid, _name(uid), seconds, memory, words or f"[{status['Name']}]")


def _name(uid: int) -> str:
    """This host's name for it: users of images are not known here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
