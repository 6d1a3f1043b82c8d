"""The applier itself beside a HAProxy of its own: no store, no templates, no time lost between two changes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from confd_py.haproxy.applier import HaproxyApplier
from confd_py.reloads import Bucket
from confd_py.resource import HaproxySettings, Place, Resource
from tests.fakes.ports import free_port
from tests.integration.confd_py.parts import HAPROXY, SOON_S, Haproxy

HEAD = """\
global
    stats socket ${{PLACE}}/admin.sock mode 660 level admin expose-fd listeners
    stats timeout 1h
    server-state-file ${{PLACE}}/state
    hard-stop-after 15m
    mworker-max-reloads 3
defaults
    mode http
    option idle-close-on-response
    option redispatch 1
    retries 3
    retry-on conn-failure empty-response
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout queue 10s
    timeout http-keep-alive 10s
    load-server-state-from-file global
frontend main
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "{generation}" if {{ path /generation }}
    default_backend main
"""
Backends = Mapping[str, tuple[str, ...]]  # name -> its lines


class Direct:
    """`apply` brings HAProxy to a configuration of some backends; `generation` is structure, seen from outside."""

    def __init__(self, folder: Path, binary: str = HAPROXY) -> None:
        self.haproxy = Haproxy(folder, binary)
        self.port = free_port()
        run = self.haproxy.run
        self.place = Place(f"{run}/admin.sock", f"{run}/master.sock", f"{run}/state")
        self.resource = Resource(
            "direct", "", self.haproxy.config, apply="haproxy", haproxy=HaproxySettings((self.place,), binary)
        )
        self.applier = HaproxyApplier(self.resource, reloads=Bucket(10_000, 10_000.0))

    def text(self, backends: Backends, generation: int = 0) -> str:
        sections = (
            f"backend {name}\n" + "".join(f"    {line}\n" for line in lines) for name, lines in backends.items()
        )
        return HEAD.format(port=self.port, generation=generation) + "".join(sections)

    async def apply(self, backends: Backends, generation: int = 0) -> None:
        await self.applier.apply(self.text(backends, generation))

    async def settled(self, within_s: float = SOON_S) -> None:
        """Returns when nobody is on the way in or out any more."""
        deadline_s = time.monotonic() + within_s
        while self.applier.tally.pending_admissions or self.applier.tally.pending_removals:
            assert time.monotonic() < deadline_s, self.applier.tally
            await asyncio.sleep(0.002)

    def generation(self) -> int:
        """The one that a new connection is answered by."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON_S)
        client.request("GET", "/generation")
        return int(client.getresponse().read())

    def servers(self) -> dict[tuple[str, str], tuple[str, int, int]]:
        """(backend, name) -> (address, weight, admin state), as `show servers state` tells."""
        return read_servers(self.haproxy.ask("show servers state"))


def read_servers(state: str) -> dict[tuple[str, str], tuple[str, int, int]]:
    """HAProxy 2.4 shows its own `MASTER` proxy, too."""
    rows = [line.split() for line in state.splitlines() if not line.startswith("#")]
    return {(r[1], r[3]): (f"{r[4]}:{r[18]}", int(r[7]), int(r[6])) for r in rows if len(r) > 18 and r[1] != "MASTER"}


@contextlib.asynccontextmanager
async def running(direct: Direct, backends: Backends) -> AsyncIterator[Direct]:
    """HAProxy runs `backends`, the applier attends to it."""
    Path(direct.place.state_file).write_text("1\n")
    direct.haproxy.config.write_text(direct.text(backends))
    direct.haproxy.start()
    try:
        await direct.apply(backends)
        attending = asyncio.create_task(direct.applier.attend(lambda: None, lambda: None))
        try:
            yield direct
        finally:
            attending.cancel()
            await asyncio.gather(attending, return_exceptions=True)
            await direct.applier.close()
    finally:
        direct.haproxy.stop()
