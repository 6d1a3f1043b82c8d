"""A command in a container on a terminal of its own, which the OCI runtime makes there and hands over."""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from runtime import terminal
from runtime.process import readable

HANDED_OVER_WITHIN_S = 30.0


class Console:
    """See terminal.Peer. `master` is ours from now on."""

    def __init__(self, master: int) -> None:
        self._master = master
        os.set_blocking(master, False)

    def fileno(self) -> int:
        return self._master

    def receive(self) -> tuple[int, bytes] | None:
        try:
            found = os.read(self._master, 1 << 16)
        except BlockingIOError:
            return 1, b""
        except OSError:  # EIO: nobody has the other end any more
            return None
        return (1, found) if found else None

    def send(self, data: bytes) -> int:
        return os.write(self._master, data)

    def resize(self, rows: int, columns: int) -> None:
        with contextlib.suppress(OSError):
            terminal.resize(self._master, rows, columns)

    def close_input(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._master, b"\x04")  # ctrl-d

    def drain(self) -> None:
        """Go without us: what it writes is thrown away, by a small process, so that it is not ended by our end."""
        os.set_blocking(self._master, True)
        subprocess.Popen(["cat"], stdin=self._master, stdout=subprocess.DEVNULL, start_new_session=True)

    def close(self) -> None:
        os.close(self._master)


def run(argv: Sequence[str], path: Path) -> tuple[subprocess.Popen[bytes], Console | None]:
    """Start `argv`, which hands over a terminal at the socket `path`. None where it ended instead."""
    with socket.socket(socket.AF_UNIX) as server:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            server.bind(f"/proc/self/fd/{folder}/{path.name}")  # the path itself may be too long
        finally:
            os.close(folder)
        server.listen(1)
        # A session of its own: what a person types is for the command inside, signals too.
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        ended = os.pidfd_open(child.pid)
        try:
            return child, _handed_over(server, ended)
        finally:
            os.close(ended)


def _handed_over(server: socket.socket, ended: int) -> Console | None:
    ready, _, _ = select.select([server.fileno(), ended], [], [], HANDED_OVER_WITHIN_S)
    if server.fileno() not in ready:
        return None
    connection, _ = server.accept()
    with connection:
        if not readable(connection.fileno(), HANDED_OVER_WITHIN_S):
            return None
        room = socket.CMSG_SPACE(array.array("i", [0]).itemsize)
        _, ancillary, _, _ = connection.recvmsg(4096, room)
        fds = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(data[: fds.itemsize])
    return Console(fds[0]) if fds else None
