"""The worker of a HAProxy that is current, and whose turn it is to write to it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from weakref import WeakValueDictionary

from confd_py.errors import HaproxyAway
from confd_py.haproxy.master import Master
from confd_py.haproxy.session import Session

_CURRENT_WITHIN_S = 1.0
_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


def turn_of(socket: str) -> asyncio.Lock:
    """One lock for all that write to the HAProxy at `socket`: what races a reload is lost although acknowledged."""
    return _turns.setdefault(socket, asyncio.Lock())


async def open_current(socket: str, master_socket: str = "") -> Session:
    """While a reload ends, old and new worker accept on one socket: take the one the master calls current.

    Raises HaproxyAway.
    """
    deadline_s = time.monotonic() + _CURRENT_WITHIN_S
    while True:
        session = await Session.open(socket)
        if not master_socket or time.monotonic() > deadline_s:
            return session
        with contextlib.suppress(HaproxyAway):  # the master starts itself anew
            if (await Master(master_socket).processes()).worker in (0, session.pid):
                return session
        await session.close()
        await asyncio.sleep(0.01)
