"""How an edge's report is written: a small one in one record, a large one in parts, and never a half of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from registrator.agent.report import FIGURES_BYTES_PER_S, WHOLE_BYTES, EdgeRecord, calm_s
from registrator.model.names import NodeName
from registrator.model.node import Edge, EdgePart, ServerReport
from registrator.registry import schema
from registrator.registry.store import Delete, Guard, Put, Write
from registrator.registry.world import Reader, World
from tests.fakes.store import FakeStore

E1 = NodeName("e1")


class Written(FakeStore):
    """Remembers what was written, transaction by transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[str]] = []
        self.worlds: list[World] = []

    async def commit(self, writes: Sequence[Write], guards: Sequence[Guard] = ()) -> int:
        revision = await super().commit(writes, guards)
        self.seen.append([("-" if isinstance(w, Delete) else "") + w.key.removeprefix(schema.ROOT) for w in writes])
        self.worlds.append(Reader().read(self.snapshot()))
        return revision


def report(backends: int, applied: int = 1, sessions: int = 0, each: int = 50) -> Edge:
    servers = {
        f"s{b}.80": {f"s{b}.{n}": ServerReport("UP", 100, sessions, "L7OK") for n in range(each)}
        for b in range(backends)
    }
    return Edge(E1, applied, servers)


class Speaker:
    def __init__(self, store: Written, lease: int) -> None:
        self.store, self.lease, self.record = store, lease, EdgeRecord(store, E1)

    async def say(self, edge: Edge, now: float) -> list[list[str]]:
        """What was written for it."""
        before = len(self.store.seen)
        await self.record.say(edge, self.lease, now, (), Reader().read(self.store.snapshot()))
        return self.store.seen[before:]

    @property
    def told(self) -> Edge:
        return replace(Reader().read(self.store.snapshot()).edges[E1], at=0.0)


async def speaker() -> Speaker:
    store = Written()
    return Speaker(store, (await store.lease(10)).id)


async def test_a_small_report_is_one_record_and_figures_come_once_a_second() -> None:
    it = await speaker()
    assert await it.say(report(2), 10.0) == [["edges/e1"]]
    assert await it.say(report(2, sessions=1), 10.5) == []
    assert await it.say(report(2, sessions=1), 11.0) == [["edges/e1"]]
    assert await it.say(report(2, sessions=1), 12.1) == []
    assert await it.say(report(2, applied=2), 12.2) == [["edges/e1"]]
    assert it.told == report(2, applied=2)


async def test_of_a_large_report_only_what_changed_is_written_again() -> None:
    it = await speaker()
    await it.say(report(40), 10.0)
    assert it.told == report(40)
    changed = report(40, applied=2, sessions=3)
    changed.servers["s7.80"]["s7.1"] = ServerReport("DRAIN", 100, 3, "L7OK")
    assert await it.say(changed, 10.1) == [["servers/e1/s7.80", "edges/e1"]]
    assert it.told.servers["s7.80"] == changed.servers["s7.80"] and it.told.servers["s1.80"]["s1.1"].sessions == 0
    size_bytes = len(schema.put(changed).value)
    assert size_bytes > max(WHOLE_BYTES, FIGURES_BYTES_PER_S)
    assert await it.say(changed, 10.0 + calm_s(size_bytes)) == []
    assert len((await it.say(changed, 10.2 + calm_s(size_bytes)))[0]) == 40
    assert it.told == changed
    changed = replace(changed, servers={b: s for b, s in changed.servers.items() if b != "s7.80"})
    assert await it.say(changed, 99.0) == [["-servers/e1/s7.80", "edges/e1"]]
    assert it.told == changed


async def test_until_all_parts_are_there_nobody_hears_of_the_revision() -> None:
    it = await speaker()
    written = await it.say(report(150, applied=7, each=5), 10.0)
    assert len(written) == 2 and written[-1][-1] == "edges/e1"
    assert E1 not in it.store.worlds[0].edges, "a server that is not told of would be taken for one without requests"
    later = report(150, applied=8, sessions=2, each=5)
    await it.say(later, 99.0)
    assert it.store.worlds[2].edges[E1].applied_revision == 7
    assert it.told == later


async def test_what_an_earlier_run_left_is_not_taken_for_true() -> None:
    it = await speaker()
    await it.store.commit([schema.put(EdgePart(E1, "old.80", {"old.1": ServerReport("UP")}), it.lease)])
    assert await it.say(report(1), 10.0) == [["-servers/e1/old.80", "servers/e1/s0.80", "edges/e1"]]
    assert it.told == report(1)


async def test_after_a_write_that_failed_all_is_said_again() -> None:
    it = await speaker()
    await it.say(report(40), 10.0)
    it.store.away = True
    changed = report(40, applied=2)
    changed.servers["s7.80"]["s7.1"] = ServerReport("DOWN")
    try:
        await it.say(changed, 10.1)
        raise AssertionError("it is away")
    except Exception as err:
        assert "away" in str(err)
    it.store.away = False
    await it.say(report(40), 10.2)
    assert it.told == report(40)
    assert isinstance(schema.put(EdgePart(E1, "a.1")), Put)
