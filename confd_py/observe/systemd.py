"""systemd's notification protocol: that confd-py is ready, what it does, that it lives. Silent without systemd."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping

_ALIVE = "WATCHDOG=1"


class Notifier:
    """Sends to $NOTIFY_SOCKET; a name that begins with @ is an abstract one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        self._owed: dict[str, str] = {}  # the newest of each kind that a busy reader did not take yet
        mine = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        every_us = environ.get("WATCHDOG_USEC", "")
        self._alive_every_s = int(every_us) / 2e6 if mine and every_us.isdigit() and int(every_us) else None

    @property
    def heard(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    def say(self, *words: str) -> None:
        """Send `NAME=value` lines, after what is still owed; nobody there is no failure, and nobody is waited for."""
        if words and self.heard:
            kind = words[0].partition("=")[0]
            self._owed.pop(kind, None)
            self._owed[kind] = "\n".join(words)
        if not self._owed:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            for kind, message in list(self._owed.items()):
                if not self._sent(sender, message):
                    return
                del self._owed[kind]

    def _sent(self, sender: socket.socket, message: str) -> bool:
        """False: the reader's queue is full. Waiting for it would stop everything else."""
        try:
            sender.sendto(message.encode(), self._address)
        except BlockingIOError:
            return False
        except OSError:
            pass  # nobody there
        return True

    async def live(self) -> None:
        """Tell the watchdog twice in its time, until cancelled: a loop that hangs no longer does."""
        while self._alive_every_s is not None:
            self.say(_ALIVE)
            await asyncio.sleep(self._alive_every_s)
