"""A Unix socket at which a running confd-py tells what is in effect, as JSON; whoever connects gets it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from confd_py.applied import Applied
from confd_py.errors import ConfigFault

_log = logging.getLogger("confd-py")
_ANSWER_S = 2.0


def default_socket(confdir: str) -> Path:
    """One for each confdir, below the directory for run time files of who runs confd-py."""
    return default_socket_folder() / f"{sha256(os.fspath(Path(confdir).absolute()).encode()).hexdigest()[:16]}.sock"


def default_socket_folder() -> Path:
    """Where sockets are that nobody named."""
    root = Path("/run") if os.geteuid() == 0 else Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/user-{os.geteuid()}")  # noqa: S108
    return root / "confd-py"


@contextlib.asynccontextmanager
async def telling(place: Path, states: Callable[[], list[Applied]], trouble: Callable[[], str]) -> AsyncIterator[None]:
    """Tells everybody who connects to `place` of all resources, and what is wrong with the store; only the user may.
    Raises ConfigFault."""

    def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = {"store": trouble(), "resources": [asdict(state) for state in states()]}
        writer.write(json.dumps(told).encode())
        writer.close()

    made = _make_room(place)
    try:
        server = await asyncio.start_unix_server(tell, place)
    except OSError as err:
        raise _unusable(place, err) from err
    inode = _only_for_us(place)
    try:
        async with server:
            yield
    finally:
        _take_away(place, inode, made)


def _make_room(place: Path) -> bool:
    """Whether the directory is new. What is there and no socket stays. Raises ConfigFault."""
    try:
        made = not place.parent.exists()
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if place.exists() and not place.is_socket():
            raise ConfigFault(f"-status-socket {place} is there and no socket", hint="Name another place.")
        if ask(place) is not None:
            _log.warning("another confd-py answers there, and from now on this one does status_socket=%s", place)
        place.unlink(missing_ok=True)
    except OSError as err:
        raise _unusable(place, err) from err
    return made or place == default_socket_folder() / place.name


def _unusable(place: Path, err: OSError) -> ConfigFault:
    why = err.strerror or str(err)  # a path that is too long has no number
    return ConfigFault(f"-status-socket {place}: {why}", hint="Name a short path that can be written.")


def _only_for_us(place: Path) -> int:
    place.chmod(0o600)
    return place.stat().st_ino


def _take_away(place: Path, inode: int, made: bool) -> None:
    """Unless another confd-py of the same confdir has taken the place."""
    with contextlib.suppress(OSError):
        if place.stat().st_ino == inode:
            place.unlink()
            if made:
                place.parent.rmdir()


def ask(place: Path) -> dict[str, Any] | None:
    """What a running confd-py says: `store`, what is wrong with it, and `resources`; None if none answers."""
    with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_ANSWER_S)
        client.connect(str(place))
        with client.makefile("rb") as stream:
            found: dict[str, Any] = json.load(stream)
        return found
    return None
