"""systemd's notification protocol: that confd-py is ready, what it does, that it lives. Silent without systemd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Sends to $NOTIFY_SOCKET; a name that begins with @ is an abstract one."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name
        mine = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        every_us = environ.get("WATCHDOG_USEC", "")
        self._alive_every_s = int(every_us) / 2e6 if mine and every_us.isdigit() and int(every_us) else None

    @property
    def heard(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._address)

    def say(self, *words: str) -> None:
        """Send `NAME=value` lines; nobody there is no failure."""
        if not self.heard:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(words).encode(), self._address)

    async def live(self) -> None:
        """Tell the watchdog twice in its time, until cancelled: a loop that hangs no longer does."""
        while self._alive_every_s is not None:
            self.say("WATCHDOG=1")
            await asyncio.sleep(self._alive_every_s)
