"""Every store there is: the fake, and a real etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from registrator.config import EtcdAccess
from registrator.registry.etcd import open_store
from registrator.registry.store import Store
from tests.fakes.etcd_server import EtcdServer
from tests.fakes.store import FakeStore


@pytest.fixture(params=["fake", "etcd"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "fake":
        yield FakeStore()
        return
    server = EtcdServer(tmp_path).start()
    try:
        async with open_store(EtcdAccess((server.endpoint,)), ready_within_s=30.0) as opened:
            yield opened
    finally:
        server.kill()
