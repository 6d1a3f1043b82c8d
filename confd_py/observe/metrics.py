"""`/metrics` for Prometheus and `/health` for whoever asks whether everything is in effect, on a port of loopback."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from confd_py.applied import Applied, why_not
from confd_py.errors import ConfdError, ConfigFault

_ASKS_S = 5.0
_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


_GAUGES: dict[str, tuple[str, Callable[[Applied], float]]] = {
    "applied_revision": ("newest revision of the store that is fully in effect", lambda s: s.revision),
    "wanted_revision": ("newest revision of the store that was looked at", lambda s: s.wanted_revision),
    "applied_age_seconds": (
        "how long it has been in effect",
        lambda s: time.time() - s.applied_at if s.applied_at else 0.0,
    ),
    "in_effect": ("1 if what the store says is in effect", lambda s: not why_not(s)),
    "failures": ("failures in a row", lambda s: s.failures),
    "pending_admissions": ("servers that wait for a good check", lambda s: len(s.pending_admissions)),
    "pending_removals": ("servers whose last streams are awaited", lambda s: len(s.pending_removals)),
    "kept_entries": ("entries kept although the store lacks them", lambda s: len(s.ghosts)),
}
_COUNTERS: dict[str, tuple[str, Callable[[Applied], float]]] = {
    "renders": ("renderings", lambda s: s.renders),
    "reloads": ("reloads", lambda s: s.reloads),
    "runtime_operations": ("operations of HAProxy's Runtime API", lambda s: s.runtime_ops),
    "drift_repairs": ("differences between file and process that were mended", lambda s: s.drift_repairs),
}


class _States(Collector):
    def __init__(self, states: Callable[[], list[Applied]]) -> None:
        self._states = states

    def collect(self) -> Iterable[Metric]:
        states = self._states()
        for table, family in ((_GAUGES, GaugeMetricFamily), (_COUNTERS, CounterMetricFamily)):
            for name, (what, value) in table.items():
                metric = family(f"confd_{name}", what, labels=["resource"])
                for state in states:
                    metric.add_metric([state.resource], float(value(state)))
                yield metric


class Metrics:
    """`states`, `trouble` (what is wrong with the store) and `faults` (resource files that cannot be read) are asked
    at every scrape; `observe` is told how long a change took until it was in effect."""

    def __init__(
        self,
        states: Callable[[], list[Applied]],
        trouble: Callable[[], str],
        faults: Callable[[], Sequence[ConfdError]] = tuple,
    ) -> None:
        self._states, self._trouble, self._faults = states, trouble, faults
        self._registry = CollectorRegistry()
        self._registry.register(_States(states))
        Gauge("confd_store_answers", "1 while the store answers", registry=self._registry).set_function(
            lambda: not self._trouble()
        )
        what = "from a change's arrival until it was in effect"
        self._latency = Histogram(
            "confd_change_seconds", what, ["resource"], buckets=_BUCKETS_S, registry=self._registry
        )

    def observe(self, resource: str, seconds: float) -> None:
        """One change of `resource` took effect."""
        self._latency.labels(resource).observe(seconds)

    def answer(self, path: str) -> tuple[str, str, bytes]:
        """Status line, content type and body."""
        if path == "/metrics":
            return "200 OK", "text/plain; version=0.0.4; charset=utf-8", generate_latest(self._registry)
        if path == "/health":
            wrong = {state.resource: why for state in self._states() if (why := why_not(state))}
            wrong |= {fault.brief.partition(":")[0]: fault.brief for fault in self._faults()}
            body = json.dumps({"in_effect": not wrong, "errors": wrong, "store": self._trouble() or "answers"}) + "\n"
            return "503 Service Unavailable" if wrong else "200 OK", "application/json", body.encode()
        return "404 Not Found", "text/plain", b"/metrics and /health are here\n"

    @contextlib.asynccontextmanager
    async def listening(self, place: str) -> AsyncIterator[None]:
        """Answers at `place`, an address:port of loopback. Raises ConfigFault."""
        host, port = _loopback(place)
        try:
            server = await asyncio.start_server(self._serve, host, port)
        except OSError as err:
            raise ConfigFault(f"-metrics-listen {place}: {err.strerror or err}", hint="Name a free port.") from err
        async with server:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_ASKS_S):
                head = await reader.readuntil(b"\r\n\r\n")
                words = head.split(b"\r\n", 1)[0].decode("latin-1").split()
                status, kind, body = self.answer(words[1].partition("?")[0] if len(words) == 3 else "")
                fields = f"content-type: {kind}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
                writer.write(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body)
                await writer.drain()
        writer.close()


def _loopback(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host.strip("[]")).is_loopback and 0 < int(port) < 65536:
            return host.strip("[]"), int(port)
    raise ConfigFault(f"-metrics-listen {place!r} is no address:port of loopback", hint="Like 127.0.0.1:9101.")
