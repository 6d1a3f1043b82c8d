"""TLS to an etcd whose certificate nobody verifies, as `-client-insecure` asks for.

gRPC has no such mode. So it speaks plainly to a socket of ours, which only we may open, and TLS begins behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import tempfile
from pathlib import Path

from confd_py.stores.tls import client_context

_CHUNK_BYTES = 65536
_CONNECT_S = 5.0


class UnverifiedMember:
    """A way to one member; `target` is what to give to gRPC. Whatever certificate the member shows is taken."""

    def __init__(self, endpoint: str, pair: tuple[str, str]) -> None:
        host, _, port = endpoint.partition("://")[2].rstrip("/").rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._context = client_context("", *pair)
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self._context.set_alpn_protocols(["h2"])
        self._folder = Path(tempfile.mkdtemp(prefix="confd-py-"))  # mode 0700
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.target = f"unix:{self._folder}/etcd"

    async def start(self) -> None:
        """Listen; fine if it does."""
        if self._server is None:
            self._server = await asyncio.start_unix_server(self._join, self._folder / "etcd")

    async def close(self) -> None:
        """End all connections, and leave nothing behind."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A member that is away ends the connection at once: gRPC knows what to do then."""
        self._open.add(writer)
        with contextlib.suppress(OSError, TimeoutError), contextlib.closing(writer):
            async with asyncio.timeout(_CONNECT_S):
                beyond = await asyncio.open_connection(self._host, self._port, ssl=self._context)
            with contextlib.closing(beyond[1]):
                tasks = {asyncio.create_task(_copy(reader, beyond[1])), asyncio.create_task(_copy(beyond[0], writer))}
                _, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in rest:
                    task.cancel()
        self._open.discard(writer)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
