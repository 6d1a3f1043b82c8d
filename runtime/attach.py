"""The streams of a container's first process, as its shim gives them to whoever attaches."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from runtime.errors import RuntimeFault

MESSAGE_BYTES = 8192  # of what is typed; the shim cuts longer ones
_STREAMS = {2: 1, 3: 2}  # the shim's numbers: stdout, stderr
_RESIZE = "1 {rows} {columns}\n"


class Attached:
    """See terminal.Peer."""

    def __init__(self, bundle: Path) -> None:
        """Raises RuntimeFault where nobody answers."""
        self._control = bundle / "ctl"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        folder = os.open(bundle, os.O_PATH | os.O_DIRECTORY)
        try:
            self._socket.connect(f"/proc/self/fd/{folder}/attach")  # the path itself may be too long
        except OSError as err:
            self._socket.close()
            raise RuntimeFault(
                f"cannot attach to {bundle.name!r}: {err.strerror}", hint="Does it run? `hecd-runtime ps` says."
            ) from err
        finally:
            os.close(folder)
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> tuple[int, bytes] | None:
        try:
            found = self._socket.recv(1 << 16)
        except BlockingIOError:
            return 1, b""
        except OSError:
            return None
        return (_STREAMS.get(found[0], 1), found[1:]) if found else None

    def send(self, data: bytes) -> int:
        try:
            return self._socket.send(data[:MESSAGE_BYTES])
        except BlockingIOError:
            raise
        except OSError:  # it has ended; receiving will tell
            return len(data)

    def resize(self, rows: int, columns: int) -> None:
        with contextlib.suppress(OSError):
            fd = os.open(self._control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(fd, _RESIZE.format(rows=rows, columns=columns).encode())
            finally:
                os.close(fd)

    def close_input(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()
