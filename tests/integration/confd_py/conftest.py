"""etcd, HAProxy and confd-py as one ring, made and ended per test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.etcd_server import EtcdServer
from tests.fakes.ports import free_port
from tests.integration.confd_py.parts import HAPROXY, SOON_S, Confd, Haproxy, Web, within


class Ring:
    """The parts, and orders in the registry's own records."""

    def __init__(self, folder: Path, binary: str = HAPROXY) -> None:
        self.etcd = EtcdServer(folder / "etcd")
        self.haproxy = Haproxy(folder, binary)
        self.confd = Confd(folder, self.haproxy, self.etcd.endpoint)
        self.web = Web()
        self.port = free_port()
        self.addresses: dict[str, str] = {}

    def start(self) -> None:
        self.etcd.start()
        self.confd.start()
        within(SOON_S, "the first file", self.haproxy.config.exists)
        self.haproxy.start()
        within(SOON_S, "applied", lambda: self.confd.applied(1))

    def stop(self) -> None:
        self.confd.stop()
        self.haproxy.stop()
        self.etcd.kill()
        self.web.stop()

    def put(self, key: str, value: object, lease: str = "") -> int:
        words = ["put", key, json.dumps(value), "-w", "json", *([f"--lease={lease}"] if lease else [])]
        answer = json.loads(self.etcd.etcdctl(*words))
        return int(answer["header"]["revision"])

    def delete(self, key: str) -> int:
        answer = json.loads(self.etcd.etcdctl("del", key, "-w", "json"))
        return int(answer["header"]["revision"])

    def version(self, key: str) -> int:
        """How often it was written since it was created."""
        return int(json.loads(self.etcd.etcdctl("get", key, "-w", "json"))["kvs"][0]["version"])

    def lease(self, ttl_s: int) -> str:
        return self.etcd.etcdctl("lease", "grant", str(ttl_s)).split()[1]

    def service(self, name: str = "web", *, port: int = 0, **traffic: object) -> int:
        return self.put(*self.service_record(name, port=port, **traffic))

    def service_record(self, name: str = "web", *, port: int = 0, **traffic: object) -> tuple[str, object]:
        """Key and value."""
        published = {"published": port or self.port, "target": 80, "mode": "http", "hostnames": []}
        # All instances are one process, which may stand still: only what refuses or says no is down at once.
        check = {"path": "/health", "interval_s": 1.0, "timeout_s": 5.0, "rise": 1, "fall": 2}
        record = {"service": name, "release": 1, "replicas": 2}
        whole = {"ports": [published], "balance": "roundrobin", "drain_timeout_s": 10.0, "check": check, **traffic}
        return f"/hecd/services/{name}", {**record, "traffic": whole}

    def instance(
        self, number: int, *, service: str = "web", state: str = "running", address: str = "", lease: str = ""
    ) -> int:
        """Announce an instance; its web server is opened if no address is given."""
        return self.put(*self.instance_record(number, service=service, state=state, address=address), lease)

    def instance_record(
        self, number: int, *, service: str = "web", state: str = "running", address: str = "", weight: int = 100
    ) -> tuple[str, object]:
        """Key and value."""
        name = f"{service}.{number}"
        if address:
            self.addresses[name] = address
        elif name not in self.addresses:
            self.addresses[name] = self.web.open(name)
        record = {
            "instance": name, "service": service, "release": 1, "node": "n1", "endpoints": {"80": self.addresses[name]},
            "state": state, "health": "healthy", "weight": weight, "reason": "",
        }  # fmt: skip
        return f"/hecd/instances/{service}/{name}", record

    def withdraw(self, number: int, *, service: str = "web") -> int:
        return self.delete(f"/hecd/instances/{service}/{service}.{number}")

    def until_applied(self, revision: int, seconds: float = SOON_S) -> None:
        within(seconds, f"revision {revision} applied", lambda: self.confd.applied(revision), self.confd.told)

    def until_serving(self, *numbers: int, seconds: float = SOON_S) -> None:
        names = {f"web.{number}" for number in numbers}
        within(seconds, f"{names} serving", lambda: self.haproxy.serving() == names)


@pytest.fixture
def haproxy_binary() -> str:
    """The HAProxy of a ring; modules that are about another one say so by a fixture of this name."""
    return HAPROXY


@pytest.fixture
def idle_ring(tmp_path: Path, haproxy_binary: str) -> Iterator[Ring]:
    """Nothing runs yet."""
    ring = Ring(tmp_path, haproxy_binary)
    try:
        yield ring
    finally:
        ring.stop()


@pytest.fixture
def ring(idle_ring: Ring) -> Ring:
    """Everything runs, nothing is deployed."""
    idle_ring.start()
    return idle_ring
