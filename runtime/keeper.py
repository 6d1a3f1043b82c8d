"""The keeper of an ordinary user's root: rootlesskit, which holds the namespaces in which the user's commands are root.

The first command starts it, and it ends by itself. Whoever needs it, commands and the shims of containers, shares a
lock on one file; a process inside waits to have that lock alone, and with that process all ends. The keeper has the
lock then until its last process has gone, so that the next command waits for that. Killed, it takes everything with it,
as a power cut does: it has a pid namespace of its own, and mounts end with their namespace.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from runtime.errors import MissingProgram, NotPermitted, mapped
from runtime.paths import HostPaths
from runtime.process import Process, readable
from runtime.state import held, taken

PROGRAMS = (("rootlesskit", "rootlesskit"), ("slirp4netns", "slirp4netns"), ("newuidmap", "uidmap"))
WITHIN_S = 10.0  # it takes 0.1 s
LONGEST_SOCKET = 107  # bytes of the path of a UNIX socket
_USE = "use"
_FLAGS = (
    "--pidns",
    "--net=slirp4netns",
    "--mtu=65520",
    "--disable-host-loopback",
    "--slirp4netns-sandbox=auto",
    "--slirp4netns-seccomp=auto",
    "--port-driver=builtin",
    "--propagation=rslave",  # what is mounted on this host later is seen
)


@mapped()
def ensure(paths: HostPaths) -> int:
    """Have a keeper, at least as long as this process lives; the process whose namespaces are to be entered. Raises
    MissingProgram, NotPermitted, DiskRefused."""
    for program, package in PROGRAMS:
        if shutil.which(program) is None:
            raise MissingProgram(program, package)
    if len(os.fsencode(paths.keeper_socket)) > LONGEST_SOCKET:
        raise NotPermitted(f"the path of this root is too long: {paths.lib}", hint="Give a shorter one with --root.")
    paths.keeper.mkdir(mode=0o700, parents=True, exist_ok=True)
    _share(paths)
    deadline = time.monotonic() + WITHIN_S
    with held(paths.keeper / "door"):
        while (lock := taken(paths.keeper / "life")) is None:
            if (pid := _kept(paths)) is not None:
                return pid
            if time.monotonic() > deadline:
                hint = f"End what has {paths.keeper}/life open."
                raise NotPermitted("the keeper of this root was killed, and does not end", hint=hint)
            time.sleep(0.005)
        with lock:
            _start(paths, lock)
        pid = _kept(paths)
        if pid is None:
            raise _failed(paths)
        return pid


@contextmanager
def in_use(paths: HostPaths) -> Iterator[list[int]]:
    """Descriptors for a process to inherit that needs the namespaces; none where the root needs no keeper."""
    if not paths.rootless:
        yield []
        return
    fd = _share(paths)
    try:
        yield [fd]
    finally:
        os.close(fd)


def _share(paths: HostPaths) -> int:
    """Waits for one that is just ending. The descriptor is not inherited, unless it is passed on."""
    fd = _open(paths)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def _open(paths: HostPaths) -> int:
    return os.open(paths.keeper / _USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _start(paths: HostPaths, lock: IO[bytes]) -> None:
    """The keeper and all it starts inherit both locks. Raises NotPermitted."""
    shutil.rmtree(paths.keeper_state, ignore_errors=True)
    use = _open(paths)  # its own: the process inside waits to have it alone
    try:
        with _log(paths).open("wb") as log:
            inside = ["sh", "-c", 'echo && exec flock --exclusive "$0"', str(use)]
            keeper = subprocess.Popen(
                ["rootlesskit", f"--state-dir={paths.keeper_state}", *_FLAGS, *inside],
                pass_fds=[use, lock.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=paths.run,
                start_new_session=True,
            )
    finally:
        os.close(use)
    assert keeper.stdout is not None
    with keeper.stdout as said:
        if not (readable(said.fileno(), WITHIN_S) and said.read(1)):  # it ended, or is stuck
            keeper.kill()
            keeper.wait()
            raise _failed(paths)
    deadline = time.monotonic() + WITHIN_S
    while not paths.keeper_socket.exists() and time.monotonic() < deadline:
        time.sleep(0.001)


def _kept(paths: HostPaths) -> int | None:
    """The process inside; None where there is none, or it was killed."""
    try:
        pid = int((paths.keeper_state / "child_pid").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return pid if Process.of(pid) and paths.keeper_socket.exists() else None


def _failed(paths: HostPaths) -> NotPermitted:
    lines = tuple(line for line in _log(paths).read_text(errors="replace").splitlines() if "level=warning" not in line)
    return NotPermitted(
        "rootlesskit cannot make the namespaces in which containers run without root",
        details=lines[-3:],
        hint="`hecd-runtime doctor` says what is missing.",
    )


def _log(paths: HostPaths) -> Path:
    return paths.keeper / "log"
