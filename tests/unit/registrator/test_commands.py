"""Commands as they are typed, against a registry in memory that no control loop looks after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import click
import pytest
from click.testing import CliRunner, Result

from registrator.cli import hecd, session
from registrator.errors import NotFound
from registrator.model.instance import Instance
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.orders import give
from registrator.registry import schema
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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("pause web --for nan", "'nan' is no number of seconds"),
        ("drain n1 --within nan", "'nan' is no number of seconds"),
        ("drain n1 --within inf", "'inf' is no number of seconds"),
        ("drain n1 --within -5", "-5.0 is not in the range x>=0"),
        ("top --every nan", "'nan' is no number of seconds"),
        ("lab up --within nan", "'nan' is no number of seconds"),
        ("lab up 0", "0 is not in the range x>=1"),
        ("lab slow h1 --kbit 99999999999999999", "is not in the range 8<=x<=10000000"),
        (f"scale web={'9' * 5000}", "is not SERVICE=REPLICAS"),
    ],
)
def test_a_number_that_is_none_is_wrong_usage_and_orders_nothing(typed: Typed, words: str, told: str) -> None:
    before = typed.world.revision
    done = typed.hecd(*words.split())
    assert done.exit_code == 2 and told in done.output
    assert typed.world.revision == before


@pytest.mark.parametrize("command", ["ps", "events", "audit", "history", "lock"])
def test_a_name_of_nothing_is_an_error_with_what_there_is(typed: Typed, command: str) -> None:
    done = typed.hecd(command, "webb", *(["-m", "x"] if command == "lock" else []))
    assert isinstance(done.exception, NotFound) and done.exception.exit_code == 4
    assert done.exception.brief.startswith("there is no service") and done.exception.brief.endswith(" 'webb'")
    assert done.exception.hint == "Did you mean web? Known: web."


def test_what_is_gone_is_still_known_to_the_audit_and_what_runs_without_an_order_to_ps(typed: Typed) -> None:
    lost = Instance(InstanceName("old.1"), ServiceName("old"), ReleaseNumber(1), NodeName("n1"))
    gone = give.deed(1.0, "ann", "rm", "gone")
    asyncio.run(typed.desk.store.commit([schema.put(lost), gone]))
    assert "old.1" in typed.hecd("ps", "old").output
    assert "ann" in typed.hecd("audit", "gone").output
    assert typed.hecd("ps", "web").output == "nothing of web runs; `hecd status` tells what is wanted\n"
    assert typed.hecd("events", "old.1", "gone", "n1").exit_code != 0, "n1 has left no trace"


@pytest.mark.parametrize("words", ["lock web", "rollout pause web", "pause web", "maintenance web on"])
def test_a_message_is_one_line(typed: Typed, words: str) -> None:
    done = typed.hecd(*words.split(), "-m", "moving\nthe database")
    assert done.exit_code == 2 and "write one line" in done.output


def test_a_row_is_a_line_whatever_somebody_wrote_into_etcd(typed: Typed) -> None:
    asyncio.run(typed.desk.store.commit([give.deed(1.0, "ann", "lock", "web", "moving\nthe\x1b[2J database")]))
    (line,) = [line for line in typed.hecd("audit", "web").output.splitlines() if "ann" in line]
    assert line.endswith("moving the [2J database")
