"""Three agents over a real etcd, each in a host of the lab: they find each other, and what happens to one is no
other's concern."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest

from registrator.model.instance import Assignment
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.release import Healthcheck, Release, Settings
from registrator.model.service import Service
from registrator.registry import schema
from registrator.registry.store import Put
from runtime.host import Host
from runtime.paths import HostPaths
from tests.integration.overlay.lab import NETWORK, OUTSIDE, Lab, Machine, Place, built, streaming
from tests.integration.runtime.conftest import IMAGE, SERVE, becomes

ETCD = f"{OUTSIDE}:2379"
WEB = ServiceName("web")
CHECK = Healthcheck("http", "/index.html", port=80, interval_s=0.5, start_interval_s=0.05)
RELEASE = Release(WEB, ReleaseNumber(1), Settings(IMAGE, command=SERVE, healthcheck=CHECK, target_ports=(80,)))


@dataclass
class Etcd:
    """In the switch, so that a host that is cut off is cut off from it too."""

    place: Place
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [
            "etcd", "--name=one", f"--data-dir={self.folder / 'etcd'}", f"--listen-client-urls=http://{ETCD}",
            f"--advertise-client-urls=http://{ETCD}", f"--listen-peer-urls=http://{OUTSIDE}:2380",
            f"--initial-advertise-peer-urls=http://{OUTSIDE}:2380", f"--initial-cluster=one=http://{OUTSIDE}:2380",
        ]  # fmt: skip
        with (self.folder / "etcd.log").open("ab") as log:
            self.process = subprocess.Popen(self.place.command(*argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        becomes(lambda: self._done("endpoint", "health").returncode == 0, 30.0)

    def ctl(self, *words: str) -> str:
        done = self._done(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def put(self, *writes: Put) -> None:
        for write in writes:
            self.ctl("put", write.key, write.value.decode())

    def record(self, key: str) -> dict[str, Any] | None:
        out = self.ctl("get", "--print-value-only", key).strip()
        return json.loads(out) if out else None

    def _done(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = self.place.command("etcdctl", f"--endpoints=http://{ETCD}", "--command-timeout=5s", *words)
        return subprocess.run(
            argv, env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=20
        )


@dataclass
class Node:
    """An agent in a host of the lab."""

    machine: Machine
    etcd: Etcd
    address: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.machine.name

    @property
    def paths(self) -> HostPaths:
        return HostPaths(self.machine.root / "lib" / "runtime", self.machine.root / "run" / "runtime")

    @property
    def tunnel(self) -> str:
        return f"vx{self.paths.id}"

    @property
    def web(self) -> Place:
        """Its container's place in the network."""
        return Place(self.paths.namespace(f"web.{self.machine.number}"))

    @property
    def record(self) -> dict[str, Any] | None:
        return self.etcd.record(f"/hecd/nodes/{self.name}")

    @property
    def instance(self) -> dict[str, Any] | None:
        return self.etcd.record(f"/hecd/instances/web/web.{self.machine.number}")

    def start(self, **more: str) -> None:
        settings = {
            "HECD_ROOT": str(self.machine.root), "HECD_NODE": self.name, "HECD_ROLES": "worker",
            "HECD_ADDRESS": self.address, "HECD_ETCD": ETCD, "HECD_SUBNET_POOL": NETWORK,
            "HECD_BRIDGE": self.machine.bridge, "HECD_LEASE_TTL": "2",
            **more,
        }  # fmt: skip
        argv = self.machine.command(sys.executable, "-m", "registrator", "agent")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def log(self) -> Path:
        return self.machine.root.with_suffix(".log")

    def end(self, how: signal.Signals) -> None:
        """nsenter became the agent: there is no process between."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            self.process = None

    def empty(self) -> None:
        def emptied() -> None:
            host = Host.open(self.paths.lib, self.paths.run)
            for container in host.containers.list():
                host.containers.remove(container.name)
            host.network.leave()
            host.network.names.end()
            host.close()

        self.machine.do(emptied)


@dataclass
class Cluster:
    lab: Lab
    etcd: Etcd
    nodes: list[Node] = field(default_factory=list)
    address: dict[str, str] = field(default_factory=dict)  # of each node's container

    def becomes(self, condition: Callable[[], bool], within_s: float = 30.0) -> None:
        becomes(condition, within_s, self.logs)

    def reaches(self, here: Node, address: str) -> None:
        """A container of that node becomes able to reach this address."""
        self.becomes(lambda: here.web.reaches(address, within_s=1.0))

    def logs(self) -> str:
        return "\n".join(f"--- {n.name}\n" + "\n".join(n.log.read_text().splitlines()[-15:]) for n in self.nodes)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, layout: Path) -> Iterator[Cluster]:
    """Every node serves one container, and all reach each other."""
    folder = tmp_path_factory.mktemp("agents")
    with ExitStack() as undo:
        lab = undo.enter_context(built(folder))
        found = Cluster(lab, undo.enter_context(_running(Etcd(lab.switch, folder))))
        for machine in lab.hosts:
            node = Node(machine, found.etcd, machine.underlay)
            found.nodes.append(node)
            undo.callback(node.empty)
            undo.callback(node.end, signal.SIGKILL)
            _load(node, layout)
            node.start()
        found.etcd.put(schema.put(RELEASE), *(schema.put(_order(node)) for node in found.nodes))
        found.becomes(lambda: all((node.instance or {}).get("state") == "running" for node in found.nodes), 60.0)
        for node in found.nodes:
            endpoint = (node.instance or {})["endpoints"]["80"]
            found.address[node.name] = endpoint.partition(":")[0]
        yield found


@contextmanager
def _running(etcd: Etcd) -> Iterator[Etcd]:
    try:
        etcd.start()
        yield etcd
    finally:
        if etcd.process is not None:
            etcd.process.kill()
            etcd.process.wait(20)


def _load(node: Node, layout: Path) -> None:
    def loaded() -> None:
        host = Host.open(node.paths.lib, node.paths.run)
        host.images.load(layout)
        host.close()

    node.machine.do(loaded)


def _order(node: Node) -> Assignment:
    name = InstanceName(f"web.{node.machine.number}")
    return Assignment(name, WEB, RELEASE.number, NodeName(node.name), reason="the test says so")


def test_nodes_announce_their_tunnel_ends_and_containers_reach_all_others(cluster: Cluster) -> None:
    for node in cluster.nodes:
        record = node.record
        assert record is not None
        assert record["vtep"] == {
            "address": node.address, "vni": 87, "port": 4789, "key": "",
            "mac": "02:48:" + ":".join(f"{int(n):02x}" for n in record["subnet"].partition("/")[0].split(".")),
        }  # fmt: skip
    for here in cluster.nodes:
        for address in cluster.address.values():
            cluster.reaches(here, address)
            assert here.machine.reaches(address), "the load balancer of the node"


def test_an_agent_that_is_killed_costs_no_packet_whether_it_comes_back_soon_or_late(cluster: Cluster) -> None:
    one, two, three = cluster.nodes
    with (
        streaming(one.web, two.web, cluster.address["h2"]) as others,
        streaming(one.machine, three.web, cluster.address["h3"]) as its,
    ):
        three.end(signal.SIGKILL)
        three.start()
        cluster.becomes(lambda: "adopted web.3" in three.log.read_text())
        three.end(signal.SIGKILL)
        cluster.becomes(lambda: three.record is None)  # its lease is gone
        assert one.web.reaches(cluster.address["h3"])
        three.start()
        cluster.becomes(lambda: three.record is not None)
    assert others.sent > 500
    assert (others.lost, its.lost) == (0, 0)


def test_a_node_that_was_cut_off_is_reached_as_soon_as_its_cable_is_in(cluster: Cluster) -> None:
    one, two, three = cluster.nodes
    subnet = (three.record or {})["subnet"]
    with streaming(one.web, two.web, cluster.address["h2"]) as others:
        cluster.lab.plug(three.machine, state="down")
        cluster.becomes(lambda: three.record is None)
        assert subnet in _shell(one.machine, "ip route"), "a lease that ended is no order"
        assert not one.web.reaches(cluster.address["h3"], within_s=0.3)
        assert three.machine.reaches(cluster.address["h3"]), "its container runs on"
        cluster.lab.plug(three.machine, state="up")
        becomes(lambda: one.web.reaches(cluster.address["h3"], within_s=0.5), 10.0)
        cluster.becomes(lambda: three.record is not None, 30.0)
    assert others.lost == 0


def test_a_node_that_moved_is_followed(cluster: Cluster) -> None:
    one, two, three = cluster.nodes
    with streaming(one.web, two.web, cluster.address["h2"]) as others:
        three.end(signal.SIGTERM)
        cluster.lab.give(three.machine, "10.200.0.103")
        three.address = "10.200.0.103"
        three.start()
        cluster.becomes(lambda: (three.record or {}).get("address") == three.address)
        cluster.becomes(lambda: one.web.reaches(cluster.address["h3"], within_s=0.5))
        assert three.web.reaches(cluster.address["h2"])
        cluster.becomes(
            lambda: all(
                "10.200.0.103" in _shell(node.machine, f"bridge fdb show dev {node.tunnel}") for node in (one, two)
            )
        )
    assert others.lost == 0


def test_a_node_is_let_go_with_its_claim_and_back_with_it(cluster: Cluster) -> None:
    one, two, three = cluster.nodes
    subnet = (three.record or {})["subnet"]
    with streaming(one.web, two.web, cluster.address["h2"]) as others:
        three.end(signal.SIGKILL)
        cluster.etcd.ctl("del", f"/hecd/claims/{subnet.replace('/', '-')}")
        cluster.becomes(lambda: all(subnet not in _shell(node.machine, "ip route") for node in (one, two)))
        three.start()
        cluster.becomes(lambda: all(subnet in _shell(node.machine, "ip route") for node in (one, two)))
        cluster.becomes(lambda: one.web.reaches(cluster.address["h3"], within_s=0.5))
    assert others.lost == 0


def test_what_somebody_deleted_comes_back_by_itself(cluster: Cluster) -> None:
    one, two, _ = cluster.nodes
    subnet = (two.record or {})["subnet"]
    _shell(one.machine, f"ip route del {subnet} dev {one.tunnel}")
    _shell(one.machine, f"ip link set {one.tunnel} down")
    cluster.becomes(lambda: subnet in _shell(one.machine, "ip route"), 40.0)
    assert one.web.reaches(cluster.address["h2"])


def test_containers_find_a_service_by_name_also_while_an_agent_is_away(cluster: Cluster) -> None:
    one = cluster.nodes[0]
    cluster.etcd.put(schema.put(Service(WEB, RELEASE.number, 3)))
    everybody = sorted(cluster.address.values())
    server = (one.record or {})["subnet"].replace("0/24", "1")

    def found(name: str) -> list[str]:
        query = dns.message.make_query(name, "A")
        reply = one.web.do(lambda: dns.query.udp(query, server, timeout=20.0))
        return sorted(item.address for rrset in reply.answer for item in rrset)

    cluster.becomes(lambda: found("web") == found("web.hecd") == everybody)
    one.end(signal.SIGKILL)
    cluster.becomes(lambda: one.record is None)
    assert found("web") == everybody
    one.start()
    cluster.becomes(lambda: one.record is not None)
    cluster.becomes(lambda: found("web") == everybody)


def test_a_node_that_is_told_to_leaves_and_the_others_let_go(cluster: Cluster) -> None:
    one, _, three = cluster.nodes
    three.end(signal.SIGTERM)
    three.start(HECD_OVERLAY="off")
    cluster.becomes(lambda: (record := three.record) is not None and record["vtep"] is None)
    assert three.tunnel not in _shell(three.machine, "ip link")
    cluster.becomes(lambda: (three.record or {})["subnet"] not in _shell(one.machine, "ip route"))
    three.end(signal.SIGTERM)
    three.start()
    cluster.becomes(lambda: one.web.reaches(cluster.address["h3"], within_s=0.5))


def _shell(place: Place, line: str) -> str:
    done = subprocess.run(place.command(*line.split()), capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout
