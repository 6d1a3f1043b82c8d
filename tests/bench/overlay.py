"""What the overlay costs: python tests/bench/overlay.py [--peers 50] [--seconds 1] (as root).

Prints how long a host takes to reach many peers, to look through all that is right, to follow one that moved, and to
let them go; how long it takes to connect one container; then the throughput of one TCP stream, and the time of a round
trip of one byte, side by side: on the same bridge, through the overlay, through a VXLAN that ip(8) made in
the same way, and on the bare underlay; the middle one of five. Hosts are network namespaces on one machine: nothing
here is limited by a wire.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import subprocess
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
        first, second = lab.hosts
        by_hand = made_by_hand(first, second, undo), made_by_hand(second, first, undo)
        ways: dict[str, tuple[Place, Place, str]] = {
            "same bridge": (places[0], places[1], "10.87.1.3"),
            "overlay": (places[0], places[2], "10.87.2.2"),
            "VXLAN by hand": (*by_hand, f"10.88.{second.number}.2"),
            "underlay": (first, second, second.underlay),
        }
        streams = [{name: stream(*way, given.seconds) for name, way in ways.items()} for _ in range(5)]
        trips = [{name: round_trip_us(*way) for name, way in ways.items()} for _ in range(5)]
    rates, times = (
        {name: statistics.median(each[name] for each in found) for name in ways} for found in (streams, trips)
    )
    for name in ways:
        rate, took_us = rates[name], times[name]
        print(
            f"{name:14} {rate:6.2f} Gbit/s, {rate / rates['VXLAN by hand']:.2f} of by hand   "
            f"round trip {took_us:5.1f} us, {took_us / times['VXLAN by hand']:.2f} of by hand"
        )


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
    last = iter(range(10, 250))

    def connect() -> None:
        number = next(last)
        machine.do(lambda: network.connect(f"one-{number}", f"{machine.gateway.rpartition('.')[0]}.{number}", ()))

    report("one container connected", connect, 30)
    for number in range(10, 40):
        network.disconnect(f"one-{number}")


def opened(machine: Machine) -> Network:
    paths = HostPaths(machine.root / "lib", machine.root / "run")
    paths.make()
    switch = topology.bridge(machine.bridge, machine.subnet)
    return machine.do(lambda: Network(paths, switch))  # inside: its rules are made where it was opened


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


def made_by_hand(machine: Machine, other: Machine, undo: ExitStack) -> Place:
    """The same as ip(8) makes it: a namespace on a bridge, and a way through a VXLAN to those of the other host."""
    namespace = machine.root / "hand.net"
    kernel.ensure_namespace(namespace)
    undo.callback(kernel.drop_namespace, namespace)
    place, ends = Place(namespace), f"local {machine.underlay}"
    here, there = f"10.88.{machine.number}", f"10.88.{other.number}"
    for words in (
        "ip link add brh mtu 1450 type bridge",
        f"ip addr add {here}.1/24 dev brh",
        "ip link set brh up",
        f"ip link add vh mtu 1450 master brh type veth peer name eth0 mtu 1450 netns {namespace}",
        "ip link set vh up",
        f"ip link add vxh mtu 1450 address {_mac(machine)} type vxlan id 88 dstport 4800 nolearning {ends}",
        "ip link set vxh up",
        f"bridge fdb add {_mac(other)} dev vxh dst {other.underlay}",
        f"ip neigh add {there}.0 lladdr {_mac(other)} dev vxh nud permanent",
        f"ip route add {there}.0/24 via {there}.0 dev vxh onlink",
    ):
        subprocess.run(machine.command(*words.split()), check=True)
    for words in (
        "ip link set lo up",
        f"ip addr add {here}.2/24 dev eth0",
        "ip link set eth0 up",
        f"ip route add default via {here}.1",
    ):
        subprocess.run(place.command(*words.split()), check=True)
    return place


def _mac(machine: Machine) -> str:
    return f"02:88:00:00:00:{machine.number:02x}"


def round_trip_us(here: Place, there: Place, address: str, count: int = 2000) -> float:
    """Microseconds, the median."""
    with there.listen(7100) as listener, here.connect(address, 7100) as asker:
        answerer, _ = listener.accept()
        for side in (asker, answerer):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=echo, args=(answerer,))
        thread.start()
        took = []
        for _ in range(count):
            began = time.perf_counter()
            asker.sendall(b"x")
            asker.recv(1)
            took.append(time.perf_counter() - began)
        asker.shutdown(socket.SHUT_WR)
        thread.join()
        answerer.close()
    return statistics.median(took) * 1e6


def echo(answerer: socket.socket) -> None:
    while word := answerer.recv(1):
        answerer.sendall(word)


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
