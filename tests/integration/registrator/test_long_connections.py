"""WebSockets and TCP connections of an instance that drains: closed one after the other, while requests finish."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.fakes.ports import free_port
from tests.integration.confd_py.conftest import Ring
from tests.integration.confd_py.parts import SOON_S, within
from tests.integration.registrator.test_edge_figures import reporting, ring

__all__ = ["ring"]
# The last tenth of the window is left for a machine that stands still.
COUNT, DRAIN_S, SPREAD_S, SLOW_S = 24, 14.0, 12.0, 5.0
UPGRADE = b"host: x\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n"


async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Switches to anything that is asked for; /slow takes its time; what is no HTTP stays open."""
    try:
        while head := await reader.read(65536):
            if b"upgrade" in head.lower():
                writer.write(SWITCHED)
            elif head.startswith(b"GET"):
                await asyncio.sleep(SLOW_S if b"/slow" in head else 0.0)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    except (OSError, asyncio.CancelledError):
        return
    finally:
        writer.close()


async def opened(port: int, first: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(first)
    if first.startswith(b"GET /ws"):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return reader, writer


@pytest.mark.parametrize("mode", ["http", "tcp"])
async def test_connections_are_closed_one_after_the_other(ring: Ring, tmp_path: Path, mode: str) -> None:
    server = await asyncio.start_server(app, "127.0.0.1", 0, backlog=128)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    port = free_port()
    ports = [{"published": port, "target": 80, "mode": mode, "hostnames": []}]
    async with server, reporting(ring):
        ring.service(ports=ports, drain_timeout_s=DRAIN_S, drain_spread_s=SPREAD_S, check={"path": None})
        ring.until_applied(ring.instance(1, address=address))
        await asyncio.to_thread(within, SOON_S, "serving", lambda: ring.haproxy.serving() == {"web.1"})
        first = b"GET /ws HTTP/1.1\r\n" + UPGRADE if mode == "http" else b"hello"
        open_ones = [await opened(port, first) for _ in range(COUNT)]
        slow = await opened(port, b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n") if mode == "http" else None
        await asyncio.sleep(0.3)
        key, record = ring.instance_record(1, state="draining")
        assert isinstance(record, dict)
        began = time.time()
        await asyncio.to_thread(ring.put, key, {**record, "changed_at": began})

        async def closed_after_s(reader: asyncio.StreamReader) -> float:
            assert await reader.read() == b""
            return time.time() - began

        async with asyncio.timeout(DRAIN_S + SOON_S):
            after_s = sorted(await asyncio.gather(*(closed_after_s(reader) for reader, _ in open_ones)))
            if slow is not None:
                assert (await slow[0].readuntil(b"ok")).startswith(b"HTTP/1.1 200")
        for _, writer in [*open_ones, *([slow] if slow else [])]:
            writer.close()
    assert after_s[0] >= DRAIN_S - SPREAD_S and after_s[-1] <= DRAIN_S
    assert len({int(at / 0.5) for at in after_s}) >= 4, after_s
