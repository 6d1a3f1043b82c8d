"""hecd serve as a person types it, with a real etcd: what stands there afterwards, and what is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.etcd_server import EtcdServer

HECD = Path(sys.executable).with_name("hecd")
Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
def hecd(etcd: EtcdServer, tmp_path: Path) -> Typed:
    environment = {**os.environ, "HECD_ETCD": etcd.endpoint, "HECD_ROOT": str(tmp_path / "root"), "HECD_NODE": "one"}

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([HECD, *words], env=environment, capture_output=True, text=True, timeout=60)

    return typed


def service(etcd: EtcdServer, name: str = "web") -> dict[str, Any] | None:
    out = etcd.etcdctl("get", "--print-value-only", f"/hecd/services/{name}").strip()
    return json.loads(out) if out else None


def test_what_is_typed_stands_in_etcd(etcd: EtcdServer, hecd: Typed) -> None:
    done = hecd("serve", "web", "80:8080", "443:8443", "--host", "www.example.com", "--tls", "--check-path", "/health")
    assert (done.returncode, done.stdout) == (0, "web: served\n"), done.stderr
    found = service(etcd)
    assert found is not None and (found["release"], found["replicas"]) == (0, 0)
    ports = [(port["published"], port["target"], port["mode"]) for port in found["traffic"]["ports"]]
    assert ports == [(80, 8080, "http"), (443, 8443, "http")]
    assert found["traffic"]["ports"][0]["hostnames"] == ["www.example.com"]
    assert found["traffic"]["check"]["path"] == "/health"
    assert found["traffic"]["tls"] == {"port": 443, "redirect": True, "hsts_s": 0.0}


def test_typed_again_it_changes_and_rm_ends_it(etcd: EtcdServer, hecd: Typed) -> None:
    assert hecd("serve", "web", "80:8080").returncode == 0
    done = hecd("serve", "web", "81:9090", "--mode", "tcp", "-o", "json")
    assert done.returncode == 0 and json.loads(done.stdout) == {"service": "web", "ports": ["81:9090"]}
    found = service(etcd)
    assert found is not None
    assert [(p["published"], p["mode"]) for p in found["traffic"]["ports"]] == [(81, "tcp")]
    assert hecd("rm", "web").returncode == 0
    assert service(etcd) is None


def test_a_port_that_another_service_publishes_is_refused(etcd: EtcdServer, hecd: Typed) -> None:
    assert hecd("serve", "web", "80:8080").returncode == 0
    done = hecd("serve", "shop", "80:8080")
    assert done.returncode == 1 and "80" in done.stderr and "web" in done.stderr
    assert service(etcd, "shop") is None


def test_without_etcd_it_says_so(etcd: EtcdServer, hecd: Typed) -> None:
    etcd.kill()
    done = hecd("serve", "web", "80:8080")
    assert done.returncode == 3 and "etcd" in done.stderr.lower() and "Traceback" not in done.stderr
