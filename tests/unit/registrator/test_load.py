"""The load generator counts every request once, and hides none."""

from __future__ import annotations

import asyncio

import pytest

from registrator.demo.load import Garbled, Generator, parse_head, percentile


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([], 50, 0.0), ([1.0], 99, 1.0), ([1.0, 2.0, 3.0, 4.0], 50, 2.0), ([float(n) for n in range(1, 101)], 99, 99.0)],
)
def test_percentiles(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_a_head_is_read_and_garbage_is_not() -> None:
    assert parse_head(b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n") == (200, {"x-a": "b"})
    for raw in (b"hello\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"):
        with pytest.raises(Garbled):
            parse_head(raw)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Every third answer is a 503, every fifth request loses its connection."""
    global served
    while head := await reader.readuntil(b"\r\n\r\n"):
        length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        served += 1
        if served % 5 == 0:
            break
        status = b"503 No" if served % 3 == 0 else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\nX-Release: 7\r\n\r\nok")
    writer.close()


served = 0


async def test_every_request_is_counted_as_what_it_met() -> None:
    global served
    served = 0

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    generator = Generator("127.0.0.1", server.sockets[0].getsockname()[1], 4, 400.0, 100.0)
    asyncio.get_running_loop().call_later(0.4, generator.stop)
    report = await generator.run()
    server.close()
    kinds = [f.kind for f in report.failures]
    assert report.sent == served == report.failed + len(report.latencies_ms)
    assert kinds.count("reset") == served // 5
    assert kinds.count("status 503") == served // 3 - served // 15
    assert set(report.by_release) == {"7"}


async def test_nobody_listening_is_counted_too() -> None:
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    generator = Generator("127.0.0.1", port, 1, 50.0, 0.0)
    asyncio.get_running_loop().call_later(0.1, generator.stop)
    report = await generator.run()
    assert report.sent > 0
    assert {f.kind for f in report.failures} == {"refused"}
