"""One Docker for each module, one etcd for each test, all in a network namespace of this module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.etcd_server import EtcdServer
from tests.integration.announce.dockerd import Dockerd
from tests.integration.announce.namespace import own_network
from tests.integration.announce.parts import Host


@pytest.fixture(scope="module")
def dockerd() -> Iterator[Dockerd]:
    """A running Docker with the test image."""
    with own_network():
        daemon = Dockerd()
        try:
            daemon.start().load_image()
            yield daemon
        finally:
            daemon.stop()


@pytest.fixture
def host(dockerd: Dockerd, tmp_path: Path) -> Iterator[Host]:
    """A host without containers and with an empty etcd; its announcer is not started yet."""
    etcd = EtcdServer(tmp_path / "etcd").start()
    made = Host(dockerd, etcd, tmp_path)
    try:
        yield made
        assert "Traceback" not in made.log()
    finally:
        made.close()
        etcd.kill()
        dockerd.empty()
