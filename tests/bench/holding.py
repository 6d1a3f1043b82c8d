"""Requests that wait while a service is paused: how many at once, for how long, and how soon they are answered after.

python -m tests.bench.holding [COUNT] [SECONDS]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import tempfile
import time
from pathlib import Path

from registrator.demo import app
from tests.e2e.conftest import Machine, made_machine
from tests.e2e.test_steering import text

RAMP_PER_S = 2000


async def ask(port: int, n: int) -> tuple[bytes, float]:
    """The status line of one POST or GET, and when it came, monotonic."""
    await asyncio.sleep(n / RAMP_PER_S)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc" if n % 2 else b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    )
    writer.write(head)
    line = await reader.readline()
    answered_at = time.monotonic()
    writer.close()
    return line, answered_at


async def measure(machine: Machine, count: int, seconds: float) -> dict[str, object]:
    """Pause, ask, wait, resume."""
    begun = time.monotonic()
    assert machine.hecd("pause", "web", "--for", "50").code == 0
    paused_s = time.monotonic() - begun
    asked = [asyncio.create_task(ask(machine.port, n)) for n in range(count)]
    await asyncio.sleep(seconds)
    early = sum(task.done() for task in asked)
    holder = next(iter(machine.pids("registrator holder")))
    rss = Path(f"/proc/{holder}/status").read_text().partition("VmRSS:")[2].split()[0]
    resumed_at = time.monotonic()
    resumed = await asyncio.to_thread(machine.hecd, "resume", "web")
    assert resumed.code == 0, resumed.err
    answers = await asyncio.gather(*asked, return_exceptions=True)
    good = [a for a in answers if isinstance(a, tuple) and a[0].startswith(b"HTTP/1.1 200")]
    after = sorted(at - resumed_at for _, at in good)
    return {
        "requests": count,
        "held_s": seconds,
        "answered_before_resume": early,
        "failed": count - len(good),
        "pause_acknowledged_s": round(paused_s, 2),
        "answered_after_s": [round(at, 2) for at in (after[0], after[len(after) // 2], after[-1])],  # first, p50, last
        "holder_rss_mib": int(rss) >> 10,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, nargs="?", default=5000, help="requests that wait at once")
    parser.add_argument("seconds", type=float, nargs="?", default=33.0, help="for how long")
    given = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        app.build(Path(folder) / "1", 1)
        with made_machine([Path(folder) / "1"]) as machine:
            assert machine.deploy_text(text(machine, 1, replicas=4)).code == 0
            print(json.dumps(asyncio.run(measure(machine, given.count, given.seconds)), indent=2))


if __name__ == "__main__":
    main()
