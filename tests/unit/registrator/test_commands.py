"""Commands as they are typed, against a registry in memory that no control loop looks after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import click
import pytest
from click.testing import CliRunner, Result

from registrator.cli import hecd, session
from registrator.registry.world import Reader, World
from tests.unit.registrator.test_orders import WEB, Desk, spec


class Typed:
    """`hecd` and what it did to the registry."""

    def __init__(self) -> None:
        self.desk = Desk()
        asyncio.run(self._set_up())

    async def _set_up(self) -> None:
        for release in (1, 2):
            await self.desk.deploy(spec(), digest=f"sha256:{release}")
        await self.desk.ended("done", 2, proven=(1, 2))

    def hecd(self, *words: str) -> Result:
        return CliRunner().invoke(hecd, words)

    @property
    def world(self) -> World:
        return self.desk.world()


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Typed]:
    made = Typed()

    @asynccontextmanager
    async def registry(_: click.Context) -> AsyncIterator[object]:
        yield made.desk.store, Reader().read(made.desk.store.snapshot())

    monkeypatch.setattr(session, "registry", registry)
    yield made


def test_who_does_not_wait_gets_the_order_given_and_told(typed: Typed) -> None:
    scaled = typed.hecd("scale", "web=5", "-d")
    assert (scaled.exit_code, scaled.output) == (0, "web: 5 ordered\n")
    assert typed.world.services[WEB].replicas == 5
    back = typed.hecd("rollback", "--detach")
    assert (back.exit_code, back.output) == (0, "web: goes to release 1; `hecd rollout status -f web` follows it\n")
    assert typed.world.services[WEB].release == 1


def test_two_numbers_for_one_service_are_none(typed: Typed) -> None:
    done = typed.hecd("scale", "web=3", "web=4")
    assert done.exit_code == 2 and "web is named twice: web=3 and web=4" in done.output
    assert typed.world.services[WEB].replicas == 2
