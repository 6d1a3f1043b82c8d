"""Keys, codec, worlds, trust, election: the registry's plain parts."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrator.model.canary import Mark, Trial
from registrator.model.claim import Claim
from registrator.model.instance import Assignment, Instance
from registrator.model.ledger import Ledger
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName, is_label
from registrator.model.node import Edge, EdgePart, Node, ServerReport, Vtep
from registrator.model.release import Healthcheck, Limits, Mount, Release, Settings
from registrator.model.rollout import Rollout
from registrator.model.service import Port, Service, Traffic
from registrator.model.usage import Figures, Usage
from registrator.registry import schema
from registrator.registry.acknowledgement import admitted, released
from registrator.registry.codec import CodecFault, decode, encode
from registrator.registry.election import campaign
from registrator.registry.store import Delete, Put
from registrator.registry.trust import Memory, Trust, doubt
from registrator.registry.world import Part, Reader, World
from tests.fakes.store import FakeStore

WEB, N1, I1 = ServiceName("web"), NodeName("n1"), InstanceName("web.1")

RECORDS = [
    (Node(N1), "/hecd/nodes/n1"),
    (Node(N1, vtep=Vtep("192.0.2.1", "02:48:0a:57:01:00", 87, 4789)), "/hecd/nodes/n1"),
    (Service(WEB, ReleaseNumber(2), 4, traffic=Traffic((Port(80, 8080, hostnames=("a.b",)),))), "/hecd/services/web"),
    (
        Release(WEB, ReleaseNumber(2), Settings("i", command=("a",), mounts=(Mount("tmpfs", "/t"),), limits=Limits(0.5),
                environment={"A": "ü"}, healthcheck=Healthcheck("exec", test=("true",)))),
        "/hecd/releases/web/2",
    ),
    (Assignment(I1, WEB, ReleaseNumber(2), N1, True), "/hecd/assignments/n1/web.1"),
    (Instance(I1, WEB, ReleaseNumber(2), N1, {"80": "10.0.0.1:80"}, log_tail=("x",)), "/hecd/instances/web/web.1"),
    (Edge(N1, 7, {"web.80": {"web.1": ServerReport("UP", 100, 1)}}, error=None), "/hecd/edges/n1"),
    (Edge(N1, usage={"web.80": {"2": Usage(Figures(9, 1, 1, {"3": 9}), 4.5, 0.5, 3.0)}}), "/hecd/edges/n1"),
    (EdgePart(N1, "web.80", {"web.1": ServerReport("UP")}), "/hecd/servers/n1/web.80"),
    (Claim("10.87.0.0/24", N1), "/hecd/claims/10.87.0.0-24"),
    (Rollout(WEB, ReleaseNumber(2), ReleaseNumber(1)), "/hecd/rollouts/web"),
    (
        Rollout(
            WEB,
            ReleaseNumber(2),
            ReleaseNumber(1),
            "canary",
            trial=Trial(0, 5.0, {"n1": Mark(1.0, Figures(9, 1, 0, {"3": 9}))}, Figures(90), Figures(1)),
            weights={"1": 99, "2": 1},
        ),
        "/hecd/rollouts/web",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("record", "key"), RECORDS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_record_comes_back_as_it_was_under_its_key(record: schema.Record, key: str) -> None:
    assert schema.key_of(record) == key
    place = schema.room_of(key)
    assert place is not None
    assert decode(place[0].record, encode(record)) == record


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (b"{", "not JSON"),
        (b"[]", "must be an object"),
        (b'{"service":"web"}', "release is missing"),
        (b'{"service":"web","release":"2"}', "release must be an integer"),
        (b'{"service":"web","release":true}', "release must be an integer"),
        (
            b'{"service":"web","release":1,"traffic":{"ports":[{"published":1,"target":"x"}]}}',
            "traffic.ports[0].target",
        ),
        (b'{"service":"web","release":1,"updated_at":1e999}', "updated_at must be a number"),
    ],
)
def test_a_record_of_the_wrong_shape_is_refused_with_the_place(value: bytes, fault: str) -> None:
    with pytest.raises(CodecFault, match=fault.replace("[", r"\[").replace("]", r"\]")):
        decode(Service, value)


def test_fields_of_a_newer_version_are_passed_over() -> None:
    assert decode(Claim, b'{"subnet":"s","node":"n","new":1}') == Claim("s", NodeName("n"))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))  # fmt: skip
def test_no_value_in_etcd_breaks_the_reader(value: object) -> None:
    for room in schema.ROOMS:
        try:
            decode(room.record, json.dumps(value).encode())
        except CodecFault:
            continue


@given(st.text())
def test_a_label_can_not_break_a_line_of_configuration(text: str) -> None:
    assert not is_label(text) or (text.isascii() and text.replace("-", "").isalnum())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_other_readers_of_json_refuse_is_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(Ledger(number, "ann"))


async def test_a_broken_record_is_named_and_the_rest_is_read() -> None:
    store = FakeStore()
    await store.commit([schema.put(Node(N1)), Put("/hecd/nodes/n2", b"{"), Put("/hecd/nodes/n3", encode(Node(N1)))])
    world = Reader().read(store.snapshot())
    assert list(world.nodes) == ["n1"]
    assert set(world.faults) == {"/hecd/nodes/n2", "/hecd/nodes/n3"}


async def test_only_what_changed_is_read_again() -> None:
    store, reader = FakeStore(), Reader()
    await store.commit([schema.put(Node(N1)), schema.put(Claim("s", N1))])
    first = reader.read(store.snapshot())
    await store.commit([schema.put(Claim("s", NodeName("n2")))])
    second = reader.read(store.snapshot())
    assert second.nodes[N1] is first.nodes[N1]
    assert second.claims["s"].node == "n2"


@pytest.mark.parametrize(
    ("memory", "cluster", "revision", "confirmed", "doubtful"),
    [
        (Memory(), 1, 5, 0.0, False),
        (Memory(1, 5), 1, 5, 0.0, False),
        (Memory(1, 5), 1, 4, 0.0, True),
        (Memory(1, 5), 2, 9, 0.0, True),
        (Memory(1, 5, 10.0), 2, 9, 10.0, True),
        (Memory(1, 5, 10.0), 1, 9, 0.0, True),
        (Memory(1, 5, 10.0), 1, 9, 9.0, True),
        (Memory(1, 5, 10.0), 1, 9, 10.0, False),
        (Memory(1, 5, 10.0, "lost"), 1, 9, 10.0, True),
        (Memory(1, 5, 10.0, "lost"), 1, 9, 11.0, False),
        (Memory(1, 5, 10.0), 2, 9, 11.0, False),
        (Memory(1, 5), 0, 0, 0.0, True),
        (Memory(), 0, 0, 0.0, True),
    ],
)
def test_a_store_that_lost_its_memory_is_doubted_until_confirmed(
    memory: Memory, cluster: int, revision: int, confirmed: float, doubtful: bool
) -> None:
    world = World(cluster_id=cluster, revision=revision, ledger=Ledger(confirmed) if confirmed else None)
    assert (doubt(memory, world) is not None) is doubtful


def test_trust_outlives_a_restart(tmp_path: Path) -> None:
    world = World(cluster_id=1, revision=9)
    assert Trust(tmp_path / "trust").judge(world, 0.0) is None
    assert Trust(tmp_path / "trust").judge(World(cluster_id=2, revision=99), 1.0) is not None
    assert Trust(tmp_path / "trust").judge(World(cluster_id=2, revision=99, ledger=Ledger(1.0)), 2.0) is None


def test_a_doubt_stays_though_revisions_grow_until_it_is_answered(tmp_path: Path) -> None:
    trust = Trust(tmp_path / "trust")
    assert trust.judge(World(cluster_id=1, revision=60), 0.0) is None
    assert trust.judge(World(cluster_id=1, revision=5), 1.0) is not None
    assert trust.judge(World(cluster_id=1, revision=99), 2.0) is not None
    assert Trust(tmp_path / "trust").judge(World(cluster_id=1, revision=100), 3.0) is not None
    assert trust.judge(World(cluster_id=1, revision=101, ledger=Ledger(1.0)), 4.0) is None


def test_a_damaged_memory_file_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / "trust").write_text("{")
    assert Trust(tmp_path / "trust").judge(World(cluster_id=1, revision=1), 0.0) is None


SERVING = Instance(I1, WEB, ReleaseNumber(1), N1, state="running", health="healthy")
TRAFFIC = Traffic((Port(80, 8080),))


def _edge(state: str, sessions: int = 0, applied: int = 10) -> Edge:
    return Edge(N1, applied, {"web.8080": {"web.1": ServerReport(state, 100, sessions)}})


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([], True),
        ([_edge("UP")], True),
        ([_edge("no check")], True),
        ([_edge("DRAIN")], False),
        ([_edge("UP"), _edge("DOWN 1/2")], False),
        ([Edge(N1, 10)], False),
    ],
)
def test_admission_needs_every_edge(edges: list[Edge], expected: bool) -> None:
    assert admitted(SERVING, TRAFFIC, edges) is expected


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([], True),
        ([_edge("DRAIN")], True),
        ([_edge("DRAIN (agent)")], True),
        ([_edge("DRAIN", sessions=1)], False),
        ([_edge("UP")], False),
        ([_edge("MAINT", applied=8)], False),
        ([Edge(N1, 9)], True),
        ([Edge(N1, 8)], False),
        ([_edge("MAINT"), _edge("UP")], False),
    ],
)
def test_release_needs_every_edge_to_have_heard_and_finished(edges: list[Edge], expected: bool) -> None:
    assert released(SERVING, 9, edges) is expected


async def test_one_leads_and_the_next_follows_when_its_lease_ends() -> None:
    store = FakeStore()
    first, second = await store.lease(10), await store.lease(10)
    leader = await campaign(store, "a", first)
    waiting = asyncio.create_task(campaign(store, "b", second))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    store.expire(first.id)
    successor = await asyncio.wait_for(waiting, 20.0)
    await store.commit([schema.put(Node(N1))], [successor.guard])
    with pytest.raises(Exception, match="guard"):
        await store.commit([schema.put(Node(N1))], [leader.guard])


async def test_a_leader_whose_answer_was_lost_finds_itself_leading() -> None:
    store = FakeStore()
    lease = await store.lease(10)
    assert await campaign(store, "a", lease) == await campaign(store, "a", lease)


WEBS = [ServiceName("web"), ServiceName("api")]
NODES = [N1, NodeName("n2")]
NAMES = [I1, InstanceName("web.2"), InstanceName("api.1")]
ENTRIES = st.one_of(
    st.builds(lambda s, i, n, w: Instance(i, s, ReleaseNumber(1), n, weight=w),
              st.sampled_from(WEBS), st.sampled_from(NAMES), st.sampled_from(NODES), st.integers(1, 2)),
    st.builds(lambda s, i, n: Assignment(i, s, ReleaseNumber(1), n),
              st.sampled_from(WEBS), st.sampled_from(NAMES), st.sampled_from(NODES)),
    st.builds(lambda n, at: Edge(n, at, {"web.1": {}}), st.sampled_from(NODES), st.integers(1, 3)),
    st.builds(lambda n, b, u: EdgePart(n, b, {"web.1": ServerReport("UP", u)}),
              st.sampled_from(NODES), st.sampled_from(["web.1", "web.2"]), st.integers(1, 3)),
    st.builds(lambda n, v: Node(n, version=v), st.sampled_from(NODES), st.sampled_from("ab")),
    st.builds(Ledger, st.floats(0, 9)),
).map(schema.put)  # fmt: skip
STEPS = st.one_of(
    ENTRIES,
    ENTRIES.map(lambda put: Delete(put.key)),
    ENTRIES.map(lambda put: Put(put.key, b"{")),
    st.just(Put(schema.LEADER, b"h1")),
    st.just(Delete(schema.LEADER)),
)


@given(st.lists(st.lists(STEPS, min_size=1, max_size=4, unique_by=lambda write: write.key), max_size=12))
async def test_a_world_read_step_by_step_is_the_one_read_at_once(steps: list[list[Put | Delete]]) -> None:
    """Where two keys speak of one instance, it is as long as it takes to read once more."""
    store, reader = FakeStore(), Reader()
    for writes in steps:
        await store.commit(writes)
        reader.read(store.snapshot())
        world, anew = reader.read(store.snapshot()), Reader().read(store.snapshot())
        assert world == anew
        assert {s: p for s, p in world.parts.items() if p != Part()} == dict(World.parts.func(anew))  # type: ignore[attr-defined]


async def test_what_did_not_change_is_the_same_object() -> None:
    store, reader = FakeStore(), Reader()
    other = Instance(InstanceName("api.1"), ServiceName("api"), ReleaseNumber(1), N1)
    await store.commit(
        [schema.put(SERVING), schema.put(other), schema.put(EdgePart(N1, "web.80")), schema.put(Edge(N1))]
    )
    first = reader.read(store.snapshot())
    await store.commit([schema.put(replace(SERVING, weight=1))])
    second = reader.read(store.snapshot())
    assert second.part(other.service) is first.part(other.service)
    assert second.part(WEB) != first.part(WEB)
    assert (second.nodes, second.edges[N1]) == (first.nodes, first.edges[N1])
    assert second.edges[N1] is first.edges[N1] and second.nodes is first.nodes
