"""What the overlay costs: python tests/bench/overlay.py [--peers 50] [--seconds 1] (as root).

Prints how long a host takes to reach many peers, to look through all that is right, to follow one that moved, and to
let them go; then the throughput of one TCP stream on the same bridge, through the overlay and on the bare underlay,
side by side, the middle one of five. Hosts are network namespaces on one machine: nothing here is limited by a wire.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from runtime.networks import kernel, topology
from runtime.networks.network import Network
from runtime.networks.overlay import Overlay, Peer
from runtime.networks.topology import mac_of
from runtime.paths import HostPaths
from tests.integration.overlay.lab import NETWORK, Machine, Place, built

CHUNK = bytes(1 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peers", type=int, default=50, help="simulated peers, at most 250")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each stream")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hecd-bench-"))
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder)
        lab = undo.enter_context(built(folder, 2))
        one, two = (opened(machine) for machine in lab.hosts)
        convergence(lab.hosts[0], one, given.peers)
        places = [connected(lab.hosts[0], one, "a", 2), connected(lab.hosts[0], one, "b", 3)]
        places.append(connected(lab.hosts[1], two, "c", 2))
        for place in [f"{machine.root}/run/netns/{name}" for machine in lab.hosts for name in "abc"]:
            undo.callback(kernel.drop_namespace, Path(place))
        join(lab.hosts[0], one, [peer(2, lab.hosts[1].underlay)])
        join(lab.hosts[1], two, [peer(1, lab.hosts[0].underlay)])
        ways = {
            "same bridge": (places[0], places[1], "10.87.1.3"),
            "overlay": (places[0], places[2], "10.87.2.2"),
            "underlay": (*lab.hosts, lab.hosts[1].underlay),
        }
        rounds = [{name: stream(*way, given.seconds) for name, way in ways.items()} for _ in range(5)]
    figures = {name: statistics.median(each[name] for each in rounds) for name in ways}
    for name, rate in figures.items():
        print(f"one TCP stream, {name:12} {rate:6.2f} Gbit/s   {rate / figures['underlay']:.2f} of the underlay")


def convergence(machine: Machine, network: Network, count: int) -> None:
    peers = [peer(n + 2) for n in range(count)]
    join(machine, network, [])
    report(f"{count} peers reached, 3 entries each", lambda: join(machine, network, peers), 1)
    report("looked through, nothing to do", lambda: join(machine, network, peers), 20)
    moved = iter(range(10, 250))
    report(
        "one of them moved",
        lambda: join(machine, network, [replace(peers[0], underlay=f"192.0.2.{next(moved)}"), *peers[1:]]),
        20,
    )
    report(f"{count} peers let go", lambda: join(machine, network, []), 1)


def opened(machine: Machine) -> Network:
    paths = HostPaths(machine.root / "lib", machine.root / "run")
    paths.make()
    return Network(paths, topology.bridge(machine.bridge, machine.subnet))


def join(machine: Machine, network: Network, peers: list[Peer]) -> None:
    machine.do(lambda: network.join(Overlay(machine.underlay, NETWORK), peers))


def peer(number: int, underlay: str = "") -> Peer:
    subnet = f"10.87.{number}.0"
    return Peer(f"h{number}", f"{subnet}/24", underlay or f"198.51.100.{number % 250}", mac_of(subnet))


def connected(machine: Machine, network: Network, name: str, last: int) -> Place:
    """A container's place in the network, without a container."""
    address = machine.gateway.rpartition(".")[0] + f".{last}"
    machine.do(lambda: network.connect(name, address, ()))
    return Place(machine.root / "run" / "netns" / name)


def stream(here: Place, there: Place, address: str, seconds: float) -> float:
    """Gbit/s that arrive."""
    with there.listen(7100) as listener, here.connect(address, 7100) as sender:
        receiver, _ = listener.accept()
        thread = threading.Thread(target=send, args=(sender, time.monotonic() + seconds))
        thread.start()
        began, count, buffer = time.monotonic(), 0, bytearray(len(CHUNK))
        while got := receiver.recv_into(buffer):
            count += got
        took_s = time.monotonic() - began
        thread.join()
        receiver.close()
    return count * 8 / took_s / 1e9


def send(sender: socket.socket, until: float) -> None:
    while time.monotonic() < until:
        sender.sendall(CHUNK)
    sender.shutdown(socket.SHUT_WR)


def report(what: str, work: Callable[[], object], times: int) -> None:
    took_ms = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took_ms.append((time.perf_counter() - began) * 1000)
    print(f"{what:40} median {statistics.median(took_ms):6.1f} ms")


if __name__ == "__main__":
    main()
