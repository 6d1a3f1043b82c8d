"""What a deploy would change, and what the other orders write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from registrator.errors import HecdError, NotFound, ReleaseFailed
from registrator.model.instance import Assignment, Instance
from registrator.model.ledger import Ledger
from registrator.model.lock import Lock
from registrator.model.names import InstanceName, NodeName, ReleaseNumber, ServiceName
from registrator.model.node import Edge, Node
from registrator.model.outcome import Outcome
from registrator.model.placement import Placement
from registrator.model.release import Settings
from registrator.model.rollout import Rollout
from registrator.model.service import Project, ServiceSpec
from registrator.model.traffic import Port, Tls, Traffic
from registrator.orders import follow, give
from registrator.orders.history import history
from registrator.orders.moved import moved, unmoved
from registrator.orders.plan import Change, plan
from registrator.orders.steps import steps
from registrator.registry import schema
from registrator.registry.lock import lock
from registrator.registry.store import MOST_AT_ONCE, Guard, Put, Write
from registrator.registry.world import Reader, World
from tests.fakes.store import FakeStore

WEB = ServiceName("web")


def spec(name: str = "web", *, replicas: int = 2, published: int = 80, mode: str = "http", hosts: tuple[str, ...] = (),
         paths: tuple[str, ...] = (), tls: Tls | None = None, environment: dict[str, str] | None = None,
         ) -> ServiceSpec:  # fmt: skip
    traffic = Traffic((Port(published, 8080, mode, hosts, paths),), tls=tls)
    return ServiceSpec(ServiceName(name), Settings("image:1", environment=environment or {}), replicas, traffic=traffic)


class Desk:
    def __init__(self) -> None:
        self.store = FakeStore()

    def world(self) -> World:
        return Reader().read(self.store.snapshot())

    async def ended(self, state: str, release: int, proven: tuple[int, ...] = ()) -> None:
        record = Rollout(WEB, ReleaseNumber(release), ReleaseNumber(0), state, proven=tuple(map(ReleaseNumber, proven)))
        await self.store.commit([schema.put(record)])

    def plan(self, *specs: ServiceSpec, digest: str = "sha256:1") -> list[Change]:
        return plan(Project("p", specs), self.world(), {"image:1": digest}, now=5.0, who="me")

    async def deploy(self, *specs: ServiceSpec, digest: str = "sha256:1") -> list[Change]:
        changes = self.plan(*specs, digest=digest)
        await give.deploy(self.store, changes, now=5.0, who="me")
        return changes


async def test_the_first_deploy_creates_and_confirms() -> None:
    desk = Desk()
    (change,) = await desk.deploy(spec())
    assert (change.kind, change.release, change.reloads) == ("create", 1, True)
    world = desk.world()
    assert world.services[WEB].replicas == 2
    assert world.releases[WEB, ReleaseNumber(1)].settings.digest == "sha256:1"
    assert world.ledger == Ledger(5.0, "me")


@pytest.mark.parametrize("other", ["scale", "removed"])
async def test_scaling_that_is_overtaken_ends_and_says_by_what(other: str) -> None:
    desk = Desk()
    await desk.deploy(spec())
    after = await give.scale(desk.store, desk.world(), {WEB: 9}, now=6.0, who="me")
    waiting = asyncio.create_task(follow.replicas(desk.store, {WEB: 9}, 5.0, after=after))
    await asyncio.sleep(0)
    assert not waiting.done()
    if other == "scale":
        await give.scale(desk.store, desk.world(), {WEB: 12}, now=7.0, who="you")
        expected = r"^scaling web to 9 was overtaken: 12 are wanted now \(you\)$"
    else:
        await desk.store.commit([schema.delete(desk.world().services[WEB])])
        expected = "^web was removed meanwhile$"
    with pytest.raises(ReleaseFailed, match=expected):
        await waiting


async def test_a_deploy_ends_though_a_load_balancer_is_away_and_says_what_that_one_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(follow, "APPLIED_WITHIN_S", 0.05)
    desk = Desk()
    (change,) = await desk.deploy(spec())
    await desk.ended("done", 1)
    waiting = follow.releases(desk.store, {WEB: change.release}, after=1, show=lambda _: None)
    await desk.store.commit([schema.put(Edge(NodeName("n1"), 1, {}, error="HAProxy does not answer"))])
    with pytest.raises(ReleaseFailed, match="load balancer on n1: HAProxy does not answer"):
        async with asyncio.timeout(5.0):
            await waiting


async def test_more_replicas_than_there_can_be_are_refused() -> None:
    desk = Desk()
    await desk.deploy(spec())
    with pytest.raises(HecdError, match="web: 99999999999 replicas are too many"):
        await give.scale(desk.store, desk.world(), {WEB: 99_999_999_999}, now=6.0, who="me")
    assert desk.world().services[WEB].replicas == 2


async def test_what_is_too_much_at_once_is_refused_as_a_whole() -> None:
    desk = Desk()
    specs = [spec(f"web{n}", published=1000 + n) for n in range(60)]
    with pytest.raises(HecdError, match="60 services are more than etcd takes at once"):
        await desk.deploy(*specs)
    assert desk.world().services == {}
    await desk.deploy(*specs[:30])
    assert len(desk.world().services) == 30


async def test_the_same_file_changes_nothing() -> None:
    desk = Desk()
    await desk.deploy(spec())
    (change,) = desk.plan(spec())
    assert (change.kind, change.writes) == ("nothing", ())


@pytest.mark.parametrize(
    ("after", "digest", "kind", "release", "reloads", "reason"),
    [
        (spec(replicas=5), "sha256:1", "update", 1, False, "replicas: 2 -> 5"),
        (spec(published=81), "sha256:1", "update", 1, True, "traffic.ports"),
        (spec(paths=("/a",)), "sha256:1", "update", 1, True, "traffic.ports"),
        (spec(tls=Tls(80)), "sha256:1", "update", 1, True, "traffic.tls: none -> port=80 redirect=True hsts_s=0.0"),
        (spec(), "sha256:2", "release", 2, False, "digest: sha256:1 -> sha256:2"),
        (spec(environment={"SECRET": "hush"}), "sha256:1", "release", 2, False, "environment.SECRET changed"),
    ],
)
async def test_what_a_change_means(
    after: ServiceSpec, digest: str, kind: str, release: int, reloads: bool, reason: str
) -> None:
    desk = Desk()
    await desk.deploy(spec())
    (change,) = desk.plan(after, digest=digest)
    assert (change.kind, change.release, change.reloads) == (kind, release, reloads)
    assert reason in " ".join(change.reasons)
    assert "hush" not in " ".join(change.reasons)


async def test_a_plan_says_what_a_change_of_placement_leaves_without_a_place() -> None:
    desk, n1 = Desk(), NodeName("n1")
    await desk.deploy(spec())
    orders = [Assignment(InstanceName(f"web.{n}"), WEB, ReleaseNumber(1), n1) for n in (1, 2)]
    await desk.store.commit([schema.put(Node(n1)), *map(schema.put, orders)])
    nowhere = replace(spec(), placement=Placement(constraints=("node.labels.disk==ssd",)))
    (change,) = desk.plan(nowhere)
    told = "2 can't be placed: n1: not node.labels.disk==ssd; 2 stay where they are until there is one"
    assert (change.kind, change.places) == ("update", (told,))
    (change,) = desk.plan(spec(replicas=3))
    assert (change.kind, change.places) == ("update", ())


@pytest.mark.parametrize(
    ("first", "second", "fault"),
    [
        (spec("a"), spec("b"), "80 is published by a already"),
        (spec("a", mode="tcp"), spec("b"), "80 is tcp already"),
        (spec("a", hosts=("x.y",)), spec("b", hosts=("x.y",)), "80 with host x.y is published by a already"),
        (spec("a", paths=("/a",)), spec("b", paths=("/b", "/a")), "80 with path /a is published by a already"),
        (
            spec("a", hosts=("x.y", "z"), paths=("/a",)),
            spec("b", hosts=("x.y",), paths=("/a",)),
            "80 with host x.y and path /a is published by a already",
        ),
        (spec("a", tls=Tls(80)), spec("b", hosts=("x.y",)), "services.b.ports: 80 is http with TLS already, for a"),
    ],
)
async def test_ports_that_clash_are_refused(first: ServiceSpec, second: ServiceSpec, fault: str) -> None:
    desk = Desk()
    with pytest.raises(HecdError) as caught:
        desk.plan(first, second)
    assert fault in " ".join(caught.value.details)
    await desk.deploy(first)
    with pytest.raises(HecdError):
        desk.plan(second)


async def test_hosts_share_a_port() -> None:
    desk = Desk()
    assert len(desk.plan(spec("a", hosts=("a.x",)), spec("b", hosts=("b.x",)), spec("c"))) == 3


async def test_paths_share_a_host() -> None:
    desk = Desk()
    hosts = ("a.x",)
    specs = (spec("a", hosts=hosts), spec("b", hosts=hosts, paths=("/b",)), spec("c", hosts=hosts, paths=("/b/c",)))
    assert len(desk.plan(*specs)) == 3


async def test_a_plan_made_on_an_older_world_is_refused() -> None:
    desk = Desk()
    changes = desk.plan(spec())
    await desk.deploy(spec(replicas=7))
    with pytest.raises(HecdError):
        await give.deploy(desk.store, changes, now=6.0, who="me")
    assert desk.world().services[WEB].replicas == 7


async def test_numbers_go_on_after_what_runs_even_if_etcd_forgot() -> None:
    desk = Desk()
    running = Instance(InstanceName("web.9"), WEB, ReleaseNumber(6), NodeName("n1"))
    await desk.store.commit([schema.put(running)])
    (change,) = desk.plan(spec())
    assert change.release == 7


async def test_old_releases_are_forgotten_but_ten() -> None:
    desk = Desk()
    for n in range(15):
        await desk.deploy(spec(), digest=f"sha256:{n}")
    assert sorted(n for _, n in desk.world().releases) == list(range(6, 16))


async def test_rollback_goes_to_the_release_before_or_the_one_named() -> None:
    desk = Desk()
    for n in range(3):
        await desk.deploy(spec(), digest=f"sha256:{n}")
    await desk.ended("done", 3, proven=(1, 2, 3))
    to, _ = await give.rollback(desk.store, desk.world(), WEB, None, now=1.0, who="me")
    assert to == desk.world().services[WEB].release == 2
    to, _ = await give.rollback(desk.store, desk.world(), WEB, ReleaseNumber(3), now=1.0, who="me")
    assert to == 3
    with pytest.raises(NotFound, match="no release 9"):
        await give.rollback(desk.store, desk.world(), WEB, ReleaseNumber(9), now=1.0, who="me")


async def test_rollback_passes_over_releases_that_never_served() -> None:
    desk = Desk()
    for n in range(3):
        await desk.deploy(spec(), digest=f"sha256:{n}")
    await desk.ended("done", 3, proven=(1, 3))
    to, _ = await give.rollback(desk.store, desk.world(), WEB, None, now=1.0, who="me")
    assert to == 1
    await desk.ended("done", 1, proven=(1, 3))
    with pytest.raises(NotFound, match="that has served"):
        await give.rollback(desk.store, desk.world(), WEB, None, now=1.0, who="me")


@pytest.mark.parametrize("state", ["rolled-back", "paused"])
async def test_the_same_file_after_a_failure_tries_again(state: str) -> None:
    desk = Desk()
    await desk.deploy(spec())
    await desk.ended(state, 1)
    (change,) = desk.plan(spec())
    assert (change.kind, change.release) == ("release", 2)
    assert "tried again" in change.reasons[0]


async def test_scaling_an_unknown_service_names_the_known_ones() -> None:
    desk = Desk()
    await desk.deploy(spec())
    with pytest.raises(NotFound) as caught:
        await give.scale(desk.store, desk.world(), {ServiceName("wbe"): 2}, now=1.0, who="me")
    assert "web" in caught.value.hint


async def test_a_service_is_removed_in_two_steps() -> None:
    desk = Desk()
    await desk.deploy(spec())
    await give.retire(desk.store, desk.world(), WEB, now=1.0, who="me")
    assert desk.world().services[WEB].replicas == 0
    await give.forget(desk.store, desk.world(), WEB)
    assert not desk.world().services
    assert not desk.world().releases


async def test_more_orders_than_etcd_takes_at_once_are_restored_and_confirmed_last() -> None:
    desk = Desk()
    [first] = await desk.deploy(spec())
    kept = [Put(key, raw.value) for key, raw in desk.store.snapshot().entries.items() if "/audit/" not in key]
    orders = [Assignment(InstanceName(f"web.{n}"), WEB, first.release, NodeName("n1")) for n in range(MOST_AT_ONCE)]
    kept = [put for put in kept if put.key != schema.LEDGER] + [schema.put(order) for order in orders]
    desk.store.wipe()

    confirmed: list[int] = []
    commit = desk.store.commit

    async def watched(writes: Sequence[Write], guards: Sequence[Guard] = ()) -> int:
        assert desk.world().ledger is None, "confirmed before all was there"
        confirmed.append(len(writes))
        return await commit(writes, guards)

    desk.store.commit = watched  # type: ignore[method-assign]
    assert await give.restore(desk.store, desk.world(), kept, now=9.0, who="me") == len(kept)
    assert len(confirmed) > 1
    assert len(desk.world().assignments) == MOST_AT_ONCE
    assert desk.world().ledger == Ledger(9.0, "me")


async def test_the_history_is_newest_first_with_what_became_of_each() -> None:
    desk = Desk()
    for n in range(12):
        await desk.deploy(spec(), digest=f"sha256:{n}")
    await desk.ended("rolling", 12, proven=(11,))
    outcome = Outcome(WEB, ReleaseNumber(10), "rolled-back", "exit code 3", "me", 1.0, 2.0)
    await desk.store.commit([schema.put(outcome)])
    found = history(desk.world(), WEB)
    assert [e.release for e in found] == list(range(12, 2, -1))
    assert [e.outcome for e in found[:4]] == ["rolling", "done", "rolled-back", "waiting"]
    assert [e.serves for e in found[:2]] == [True, False]
    assert [e.served for e in found[:3]] == [False, True, False]
    assert (found[2].reason, found[2].ended_at, found[0].digest, found[0].by) == ("exit code 3", 2.0, "sha256:11", "me")


async def test_a_release_that_never_served_is_not_said_to_serve_while_another_does() -> None:
    desk = Desk()
    for n in range(2):
        await desk.deploy(spec(), digest=f"sha256:{n}")
    await desk.ended("paused", 2, proven=(1,))
    assert [e.serves for e in history(desk.world(), WEB)] == [True, False], "nothing runs: what is wanted"
    old = Instance(InstanceName("web.1"), WEB, ReleaseNumber(1), NodeName("n1"), {}, "running", "healthy")
    await desk.store.commit([schema.put(old)])
    assert [e.serves for e in history(desk.world(), WEB)] == [False, True]


async def test_what_is_forgotten_takes_its_history_along() -> None:
    desk = Desk()
    await desk.deploy(spec())
    await desk.store.commit([schema.put(Outcome(WEB, ReleaseNumber(1), "done"))])
    for n in range(10):
        await desk.deploy(spec(), digest=f"sha256:{n}x")
    assert not desk.world().history


async def test_a_release_that_failed_is_not_gone_back_to() -> None:
    desk = Desk()
    for n in range(2):
        await desk.deploy(spec(), digest=f"sha256:{n}")
    await desk.ended("rolled-back", 2, proven=(1,))
    with pytest.raises(HecdError, match="release 2 of web did not succeed"):
        await give.rollback(desk.store, desk.world(), WEB, ReleaseNumber(2), now=1.0, who="me")


async def test_what_rollback_takes_is_named_with_what_became_of_it() -> None:
    desk = Desk()
    for n in range(4):
        await desk.deploy(spec(), digest=f"sha256:{n}")
    serves = Rollout(WEB, ReleaseNumber(4), ReleaseNumber(1), "rolled-back", proven=(ReleaseNumber(1),))
    failed = Outcome(WEB, ReleaseNumber(3), "rolled-back", "exit code 3", "me", 1.0, 2.0)
    await desk.store.commit([schema.put(serves), schema.put(failed)])
    with pytest.raises(NotFound, match="no release before 1 that has served") as caught:
        await give.rollback(desk.store, desk.world(), WEB, None, now=1.0, who="me")
    assert caught.value.hint == "`hecd rollback web RELEASE` takes 2, 3 (rolled-back); `hecd history web` tells more."


async def test_a_service_need_not_be_named_where_it_is_the_only_one() -> None:
    desk = Desk()
    with pytest.raises(NotFound, match="no services"):
        give.chosen(desk.world(), None)
    await desk.deploy(spec())
    assert give.chosen(desk.world(), None).service == WEB
    await desk.deploy(spec("api", published=81))
    with pytest.raises(HecdError, match="which service") as caught:
        give.chosen(desk.world(), None)
    assert "api, web" in caught.value.hint


async def test_every_order_is_in_the_audit_with_who_and_when() -> None:
    desk = Desk()
    await desk.deploy(spec())
    await desk.deploy(spec(), digest="sha256:2")
    await desk.ended("done", 2, proven=(1, 2))
    await give.scale(desk.store, desk.world(), {WEB: 5}, now=6.0, who="ann")
    await give.rollback(desk.store, desk.world(), WEB, None, now=7.0, who="bob")
    await lock(desk.store, Lock(WEB, "bob", 8.0), give.deed(8.0, "bob", "lock", WEB, "moving"))
    assert (await give.unlock(desk.store, desk.world(), WEB, now=9.0, who="ann")).holder == "bob"
    await give.retire(desk.store, desk.world(), WEB, now=10.0, who="ann")
    deeds = [deed for _, deed in sorted(desk.world().audit.items())]
    assert [(d.who, d.what, d.target, d.at) for d in deeds[2:]] == [
        ("ann", "scale", "web", 6.0),
        ("bob", "rollback", "web", 7.0),
        ("bob", "lock", "web", 8.0),
        ("ann", "unlock", "web", 9.0),
        ("ann", "rm", "web", 10.0),
    ]
    assert sorted(d.detail[:9] for d in deeds[:2]) == ["release 1", "release 2"]
    assert [d.detail for d in deeds[2:4]] == ["2 -> 5", "release 2 -> 1"]
    with pytest.raises(NotFound, match="not locked"):
        await give.unlock(desk.store, desk.world(), WEB, now=9.0, who="ann")


async def test_a_refused_order_is_not_in_the_audit() -> None:
    desk = Desk()
    changes = desk.plan(spec())
    await desk.deploy(spec(replicas=7))
    before = desk.world().audit
    with pytest.raises(HecdError):
        await give.deploy(desk.store, changes, now=6.0, who="me")
    assert desk.world().audit == before


async def test_what_moved_on_since_a_plan_is_named() -> None:
    desk = Desk()
    await desk.deploy(spec(), spec("api", published=81))
    since = desk.world().revision
    await give.scale(desk.store, desk.world(), {ServiceName("api"): 5}, now=6.0, who="ann")
    assert moved(desk.world(), [WEB], since) == []
    guards = unmoved(desk.world(), [WEB])
    await give.scale(desk.store, desk.world(), {WEB: 5}, now=6.0, who="ann")
    found = " | ".join(moved(desk.world(), [WEB], since))
    assert "services/web changed at revision" in found
    assert "ann at revision" in found
    with pytest.raises(HecdError):
        await give.deploy(desk.store, desk.plan(spec(replicas=9)), now=6.0, who="me", under=guards)


async def test_a_service_that_was_removed_since_has_moved_on() -> None:
    desk = Desk()
    await desk.deploy(spec())
    since = desk.world().revision
    await give.retire(desk.store, desk.world(), WEB, now=6.0, who="ann")
    await give.forget(desk.store, desk.world(), WEB)
    assert "rm web" in " ".join(moved(desk.world(), [WEB], since))


async def test_the_steps_of_a_release_are_those_that_will_be_made() -> None:
    desk = Desk()
    await desk.store.commit([schema.put(Node(NodeName("n1"))), schema.put(Edge(NodeName("n1")))])
    (first,) = desk.plan(spec(replicas=2))
    assert first.service_record is not None
    made = steps(desk.world(), first.service_record, first.release_record)
    assert [line.split(" (")[0] for line in made] == [
        "start web.1 of release 1 on n1",
        "start web.2 of release 1 on n1",
    ]
    assert made[0].endswith("HAProxy: add server web.8080/web.1")
    await give.deploy(desk.store, [first], now=5.0, who="me")
    for name in ("web.1", "web.2"):
        order = Assignment(InstanceName(name), WEB, ReleaseNumber(1), NodeName("n1"))
        endpoints = {"8080": "10.0.0.1:8080"}
        await desk.store.commit(
            [schema.put(order), schema.put(Instance(order.instance, WEB, order.release, order.node, endpoints))]
        )
    await desk.ended("done", 1, proven=(1,))
    (second,) = desk.plan(spec(replicas=2), digest="sha256:2")
    assert second.service_record is not None
    made = steps(desk.world(), second.service_record, second.release_record)
    assert [" ".join(line.split()[:2]) for line in made] == ["start web.3", "drain web.2", "start web.4", "drain web.1"]
