"""An etcd of its own for each test, and a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from etcdkit import Client
from tests.fakes.etcd_server import EtcdServer, cluster


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdServer]:
    server = EtcdServer(tmp_path).start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
async def client(etcd: EtcdServer) -> AsyncIterator[Client]:
    async with Client([etcd.endpoint]) as client:
        yield client


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[EtcdServer]]:
    with cluster(tmp_path) as members:
        yield members
