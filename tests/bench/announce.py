"""How soon etcd knows of containers that come, are stopped and die, beside a real Docker.

    python tests/bench/announce.py --containers 20

Each container takes a second over its end. Times end when a watcher of etcd has heard of the change. Needs root and
what `install.sh test` installs.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fakes.etcd_server import EtcdServer
from tests.integration.announce.dockerd import Dockerd, deaths
from tests.integration.announce.namespace import own_network
from tests.integration.announce.parts import Host, changes, until


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--containers", type=int, default=20)
    count = parser.parse_args().containers
    with own_network(), tempfile.TemporaryDirectory() as folder:
        dockerd, etcd = Dockerd(), EtcdServer(Path(folder, "etcd"))
        host = Host(dockerd, etcd.start(), Path(folder))
        try:
            dockerd.start().load_image()
            host.announce("-ip=127.0.0.1", to="hecd://{}")
            report(host, count)
        finally:
            host.close()
            etcd.kill()
            dockerd.stop()
    return 0


def report(host: Host, count: int) -> None:
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(count):
        for name, seconds in life(host, f"web{number}").items():
            times[name].append(seconds)
    for name, took in times.items():
        median, longest = statistics.median(took) * 1000, max(took) * 1000
        print(f"{name:28} median {median:5.0f} ms, longest {longest:5.0f} ms")


def life(host: Host, name: str) -> dict[str, float]:
    """The times of one container, in seconds."""
    with changes(host.etcd, "/hecd/instances/") as heard, deaths(host.dockerd) as died:
        container = host.dockerd.run(name, publish={80: 8080})
        until(lambda: len(heard.lines) == 1, told=host.log)
        stopped = time.time()
        host.dockerd.api.stop(container, timeout=10)
        until(lambda: len(heard.lines) == 3 and container in died, told=host.log)
    begun = host.dockerd.api.inspect_container(container)["State"]["StartedAt"]
    host.dockerd.api.remove_container(container)
    registered, drained, removed = (line[0] for line in heard.lines)
    return {
        "started -> registered": registered - datetime.datetime.fromisoformat(begun).timestamp(),
        "docker stop -> draining": drained - stopped,
        "draining -> dead": died[container] - drained,
        "dead -> removed": removed - died[container],
    }


if __name__ == "__main__":
    sys.exit(main())
