"""A load generator that hides nothing: raw HTTP/1.1, no retries, every request counted once.

It runs as a process of its own (`python -m registrator.demo.load --port 8080 …`) so that it does not share an
interpreter with what it measures. It prints a report as JSON on SIGTERM, or when its time is over; with --tick also a
short one every so often.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import json
import signal
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

BODY = b"x" * 64
TIMEOUT_S = 10.0
KEPT_FAILURES = 50_000  # a load balancer that is away for minutes fails many
LATE_S = 0.5  # answers that took longer are told of one by one


@dataclass(frozen=True)
class Failure:
    """A request that was not answered with 200. `sent_at` and `ended_at` are seconds since the epoch."""

    kind: str  # "refused" | "reset" | "timeout" | "status 502" | "garbled"
    method: str
    sent_at: float
    ended_at: float
    instance: str  # which server had it, as far as the load balancer said
    fresh: bool  # whether it went over a connection of its own


@dataclass(frozen=True)
class Late:
    """An answer that came late. `sent_at` is seconds since the epoch."""

    sent_at: float
    took_s: float
    instance: str


@dataclass
class Report:
    """What happened to every request."""

    sent: int = 0
    failures: list[Failure] = field(default_factory=list)
    failed: int = 0
    late: list[Late] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    by_release: Counter[str] = field(default_factory=Counter)
    by_instance: Counter[str] = field(default_factory=Counter)
    by_way: Counter[str] = field(default_factory=Counter)

    def good(self, method: str, fresh: bool, took_s: float, release: str, instance: str) -> None:
        """Count an answer."""
        self.sent += 1
        self.latencies_ms.append(took_s * 1000)
        if took_s > LATE_S and len(self.late) < KEPT_FAILURES:
            self.late.append(Late(time.time() - took_s, took_s, instance))
        self.by_release[release] += 1
        self.by_instance[instance] += 1
        self.by_way[f"{method} {'new' if fresh else 'kept'}"] += 1

    def bad(self, failure: Failure) -> None:
        """Count a failure."""
        self.sent += 1
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(failure)

    def summary(self) -> dict[str, object]:
        """The report as JSON has it, with percentiles in place of every latency."""
        ordered = sorted(self.latencies_ms)
        return {
            "sent": self.sent,
            "failed": self.failed,
            "failures": [asdict(f) for f in self.failures],
            "late": [asdict(late) for late in self.late],
            "p50_ms": percentile(ordered, 50),
            "p99_ms": percentile(ordered, 99),
            "max_ms": ordered[-1] if ordered else 0.0,
            "by_release": dict(self.by_release),
            "by_instance": dict(self.by_instance),
            "by_way": dict(self.by_way),
        }


def percentile(ordered: list[float], percent: float) -> float:
    """The nearest-rank percentile of sorted values; 0 of none."""
    if not ordered:
        return 0.0
    return ordered[max(0, -(-len(ordered) * int(percent) // 100) - 1)]


class Garbled(Exception):
    """The answer is no HTTP that we understand."""


class Connection:
    """One TCP connection. `usable` tells whether another request may go over it."""

    def __init__(self, address: str, port: int, path: str = "/") -> None:
        self._address = address
        self._path = path
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def usable(self) -> bool:
        return self._writer is not None

    async def ask(self, method: str, *, close: bool) -> tuple[int, dict[str, str]]:
        """Send one request: status and headers of its answer, whose body was read."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self._address, self._port)
        assert self._reader is not None
        body = BODY if method == "POST" else b""
        head = f"{method} {self._path} HTTP/1.1\r\nHost: demo\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(f"{head}{'Connection: close' + chr(13) + chr(10) if close else ''}\r\n".encode() + body)
        raw = await self._reader.readuntil(b"\r\n\r\n")
        status, headers = parse_head(raw)
        await self._reader.readexactly(int(headers.get("content-length", "0")))
        if close or headers.get("connection", "").lower() == "close":
            self.close()
        return status, headers

    def close(self) -> None:
        """Let go of it."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def parse_head(raw: bytes) -> tuple[int, dict[str, str]]:
    """Status and lower-cased headers. Raises Garbled."""
    first, *lines = raw.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise Garbled(first)
    pairs = (line.partition(":") for line in lines if line)
    return int(words[1]), {name.lower(): value.strip() for name, _, value in pairs}


class Generator:
    """`kept` connections share `kept_rate` requests a second; `fresh_rate` more a second each get their own."""

    def __init__(
        self, address: str, port: int, kept: int, kept_rate: float, fresh_rate: float, path: str = "/"
    ) -> None:
        self._connection = functools.partial(Connection, address, port, path)
        self._kept = kept
        self._kept_rate = kept_rate
        self._fresh_rate = fresh_rate
        self._methods = itertools.cycle(("GET", "GET", "POST"))
        self._under_way: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self.report = Report()

    def stop(self) -> None:
        """Send no more; what is under way is waited for."""
        self._stop.set()

    async def run(self) -> Report:
        """Send until `stop`, then wait for the last answers."""
        pause_s = self._kept / self._kept_rate if self._kept_rate else 0.0
        async with asyncio.TaskGroup() as group:
            if self._kept_rate:
                for n in range(self._kept):
                    group.create_task(self._keep(n * pause_s / self._kept, pause_s))
            if self._fresh_rate:
                group.create_task(self._open_fresh(1.0 / self._fresh_rate))
        if self._under_way:
            await asyncio.wait(self._under_way)
        return self.report

    async def _keep(self, first_s: float, pause_s: float) -> None:
        connection = self._connection()
        due = time.monotonic() + first_s
        while await self._rest(due):
            await self._ask(connection, fresh=not connection.usable, close=False)
            due = max(due + pause_s, time.monotonic())  # never a burst to catch up
        connection.close()

    async def _open_fresh(self, pause_s: float) -> None:
        due = time.monotonic()
        while await self._rest(due):
            task = asyncio.create_task(self._ask(self._connection(), fresh=True, close=True))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            due = max(due + pause_s, time.monotonic() - 0.1)

    async def _rest(self, due: float) -> bool:
        """Wait until `due`; False when it is time to stop."""
        if (wait_s := due - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(wait_s):
                    await self._stop.wait()
            except TimeoutError:
                return True
        return not self._stop.is_set()

    async def _ask(self, connection: Connection, *, fresh: bool, close: bool) -> None:
        method, wall, begun = next(self._methods), time.time(), time.monotonic()
        headers: dict[str, str] = {}
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, headers = await connection.ask(method, close=close)
            kind = "" if status == 200 else f"status {status}"
        except TimeoutError:
            kind = "timeout"
        except ConnectionRefusedError:
            kind = "refused"
        except (OSError, asyncio.IncompleteReadError):
            kind = "reset"
        except (Garbled, ValueError, asyncio.LimitOverrunError):
            kind = "garbled"
        instance = headers.get("x-hecd-instance", headers.get("x-instance", ""))
        if kind:
            connection.close()
            self.report.bad(Failure(kind, method, wall, time.time(), instance, fresh))
        else:
            self.report.good(method, fresh, time.monotonic() - begun, headers.get("x-release", ""), instance)


async def _main(args: argparse.Namespace) -> None:
    generator = Generator(args.address, args.port, args.kept, args.kept_rate, args.fresh_rate, args.path)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, generator.stop)
    loop.call_later(args.seconds, generator.stop)
    ticker = asyncio.create_task(_tick(generator, args.tick)) if args.tick else None
    if ticker:
        ticker.add_done_callback(lambda _: generator.stop())  # nobody reads: whoever started this has died
    report = await generator.run()
    if ticker:
        ticker.cancel()
    _tell(report)  # here, where SIGTERM does not kill


def _tell(report: Report) -> None:
    with open(1, "w", closefd=False) as out:  # sys.stdout, where it is unbuffered, loses what a signal leaves unwritten
        print(json.dumps(report.summary()), file=out)


async def _tick(generator: Generator, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        print(json.dumps({"sent": generator.report.sent, "failed": generator.report.failed}), flush=True)


def main() -> None:
    """The command line of the generator."""
    parser = argparse.ArgumentParser(prog="hecd-load", description="Raw HTTP load without hidden retries.")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--path", default="/")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kept", type=int, default=64, help="keep-alive connections")
    parser.add_argument("--kept-rate", type=float, default=500.0, help="requests a second over them, together")
    parser.add_argument("--fresh-rate", type=float, default=200.0, help="requests a second over new connections")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long at most")
    parser.add_argument("--tick", type=float, default=0.0, help="print counts so often, in seconds")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
