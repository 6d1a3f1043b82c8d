"""The holder alone, over real sockets: between a HAProxy that only says its weights, and an echo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from registrator.holder.loop import Holder
from registrator.holder.places import places_of, question, released


class Beside:
    """What the holder speaks with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weight: str | None = "1 (initial 0)"  # None: HAProxy does not answer
        self.arrived: list[bytes] = []

    def configure(self, *names: str) -> None:
        lines = [
            f"backend {n}\n    server hecd-hold unix@{self.folder}/hold/{n}.sock no-check weight 1\n" for n in names
        ]
        (self.folder / "haproxy.cfg").write_text("\n".join(lines))

    async def admin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readline()).decode().split(";")
        if self.weight is not None:
            writer.write("".join(f"{self.weight}\n\n" for _ in asked).encode())
        writer.close()

    async def onward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readline()
        self.arrived.append(first)
        writer.write(first)
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def ask(self, name: str = "web.80") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(30.0):
            while True:
                try:
                    return await asyncio.open_unix_connection(str(self.folder / "hold" / f"{name}.sock"))
                except OSError:
                    await asyncio.sleep(0.01)


@asynccontextmanager
async def beside(folder: Path) -> AsyncIterator[Beside]:
    made = Beside(folder)
    made.configure("web.80")
    admin = await asyncio.start_unix_server(made.admin, str(folder / "admin.sock"))
    onward = await asyncio.start_unix_server(made.onward, str(folder / "onward-web.80.sock"))
    holder = asyncio.create_task(Holder(folder, folder / "haproxy.cfg").run())
    try:
        yield made
    finally:
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        admin.close()
        onward.close()


async def test_they_wait_go_on_in_their_order_and_are_answered(tmp_path: Path) -> None:
    async with beside(tmp_path) as haproxy:
        asked = []
        for n in range(120):
            reader, writer = await haproxy.ask()
            writer.write(b"%d\n" % n)
            asked.append((reader, writer))
            await asyncio.sleep(0)
        haproxy.weight = None
        await asyncio.sleep(0.2)
        assert haproxy.arrived == []  # HAProxy does not answer: that is no reason to let them go
        haproxy.weight = "0 (initial 0)"
        answers = await asyncio.wait_for(asyncio.gather(*(reader.readline() for reader, _ in asked)), 30.0)
        assert answers == haproxy.arrived == [b"%d\n" % n for n in range(120)]
        for _, writer in asked:
            writer.close()


async def test_a_body_larger_than_what_is_kept_comes_whole(tmp_path: Path) -> None:
    async with beside(tmp_path) as haproxy:
        reader, writer = await haproxy.ask()
        body = bytes(range(256)) * 8192  # 2 MiB
        sending = asyncio.create_task(send(writer, b"first\n" + body))
        await asyncio.sleep(0.1)
        assert not sending.done()  # it is not read without end while it waits
        haproxy.weight = "0 (initial 0)"
        async with asyncio.timeout(30.0):
            assert await reader.readexactly(len(body) + 6) == b"first\n" + body
        await sending
        writer.close()


async def send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def test_a_client_that_left_is_not_sent_on_and_one_more_backend_is_found(tmp_path: Path) -> None:
    async with beside(tmp_path) as haproxy:
        _, gone = await haproxy.ask()
        gone.write(b"gone\n")
        await gone.drain()
        gone.close()
        reader, writer = await haproxy.ask()
        writer.write(b"here\n")
        await writer.drain()
        haproxy.configure("web.80", "api.80")
        _, other = await haproxy.ask("api.80")
        haproxy.weight = "0 (initial 0)"
        assert await asyncio.wait_for(reader.readline(), 30.0) == b"here\n"
        assert haproxy.arrived == [b"here\n"]
        writer.close()
        other.close()


def test_what_haproxy_says_of_weights() -> None:
    assert question(["a", "b"]) == "get weight a/hecd-hold;get weight b/hecd-hold"
    assert released("1 (initial 0)\n\n0 (initial 0)\n\n", ["a", "b"]) == ["b"]
    assert released("No such server.\n\n0 (initial 0)\n\n", ["a", "b"]) == ["b"]
    assert released("", ["a"]) == []
    found = places_of(
        "backend a\n    mode tcp\n    server hecd-hold unix@/r/hold/x.sock\nbackend b\n    server c 1.1.1.1:1\n"
    )
    assert [(p.backend, p.arrivals, p.onward, p.http) for p in found.values()] == [
        ("a", "/r/hold/x.sock", "/r/onward-x.sock", False)
    ]
