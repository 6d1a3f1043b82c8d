"""A name server for the containers of one host: `python -m runtime.networks.resolver NAMES UDP TCP`.

It outlives who started it, as shims do: names go on being answered while an agent is away. It answers what stands in
the file NAMES, passes other questions on to the host's name servers, and ends when the file is gone. UDP and TCP are
the numbers of sockets that it was given.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode

from runtime.networks.zone import Names, answer, upstreams

RESOLV = Path("/etc/resolv.conf")
UPSTREAM_TIMEOUT_S = 2.0
LOOK_EVERY_S = 1.0
MOST_AT_ONCE = 512


class Fresh:
    """A file's content, read again when it is another one."""

    def __init__(self, path: Path, read: Callable[[str], Any], empty: Any) -> None:
        self._path, self._read, self._seen, self._value = path, read, (0, 0), empty

    @property
    def value(self) -> Any:
        try:
            stat = self._path.stat()
            if (stat.st_mtime_ns, stat.st_ino) != self._seen:
                self._value = self._read(self._path.read_text())
                self._seen = (stat.st_mtime_ns, stat.st_ino)
        except (OSError, ValueError):
            pass  # what was known is better than nothing
        return self._value


class Server:
    def __init__(self, names: Path, address: str) -> None:
        self._names = Fresh(names, json.loads, {})
        self._upstreams = Fresh(RESOLV, lambda text: upstreams(text, address), [])
        self.busy: set[asyncio.Task[None]] = set()

    async def reply(self, wire: bytes, *, tcp: bool) -> bytes | None:
        """The answer to a question; None to what is none."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        names: Names = self._names.value
        return answer(query, names, random.sample) or await self._passed_on(query, tcp)

    async def _passed_on(self, query: dns.message.Message, tcp: bool) -> bytes:
        ask: Any = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        for upstream in self._upstreams.value:
            try:
                found: dns.message.Message = await ask(query, upstream, timeout=UPSTREAM_TIMEOUT_S)
            except (dns.exception.DNSException, OSError):
                continue
            return found.to_wire(max_size=65535)
        reply = dns.message.make_response(query, recursion_available=True)
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply.to_wire()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if len(self._server.busy) < MOST_AT_ONCE:  # else the asker asks again
            task = asyncio.ensure_future(self._answer(data, addr))
            self._server.busy.add(task)
            task.add_done_callback(self._server.busy.discard)

    async def _answer(self, data: bytes, addr: Any) -> None:
        if (reply := await self._server.reply(data, tcp=False)) is not None:
            self._transport.sendto(reply, addr)


async def _connection(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(10.0):
            while True:
                size = int.from_bytes(await reader.readexactly(2), "big")
                reply = await server.reply(await reader.readexactly(size), tcp=True)
                if reply is None:
                    return
                writer.write(len(reply).to_bytes(2, "big") + reply)
                await writer.drain()
    except (OSError, EOFError, TimeoutError):
        return  # it has heard what it wanted
    finally:
        writer.close()


async def serve(names: Path, udp: socket.socket, tcp: socket.socket) -> None:
    """Answer until the file is gone."""
    server = Server(names, udp.getsockname()[0])
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: Datagrams(server), sock=udp)
    await asyncio.start_server(lambda reader, writer: _connection(server, reader, writer), sock=tcp)
    while names.exists():  # noqa: ASYNC110, ASYNC240 - a file rings no bell
        await asyncio.sleep(LOOK_EVERY_S)


def main() -> None:
    names, udp, tcp = sys.argv[1:]
    asyncio.run(serve(Path(names), socket.socket(fileno=int(udp)), socket.socket(fileno=int(tcp))))


if __name__ == "__main__":
    main()
