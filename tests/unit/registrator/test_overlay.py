"""Whom a node reaches: by the records, by what it knew before, and while etcd's word is in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registrator.agent import claim, peers
from registrator.agent.overlay import Overlay
from registrator.agent.peers import Peer
from registrator.errors import HecdError
from registrator.model.claim import Claim
from registrator.model.names import NodeName
from registrator.model.node import Node, Vtep
from registrator.registry import schema
from registrator.registry.trust import Memory, Trust
from registrator.registry.world import World
from tests.fakes.becoming import becomes
from tests.fakes.store import FakeStore
from tests.fakes.tunnel import FakeTunnel

N1, N2, N3 = NodeName("n1"), NodeName("n2"), NodeName("n3")
NET1, NET2 = "10.87.1.0/24", "10.87.2.0/24"
OWN = Node(N1, subnet=NET1, vtep=Vtep("192.0.2.1", "02:48:0a:57:01:00", 87, 4789))
TWO = Node(N2, subnet=NET2, vtep=Vtep("192.0.2.2", "02:48:0a:57:02:00", 87, 4789))
PEER = Peer(N2, NET2, Vtep("192.0.2.2", "02:48:0a:57:02:00", 87, 4789))


def world(*records: Claim | Node) -> World:
    return World(
        nodes={r.node: r for r in records if isinstance(r, Node)},
        claims={r.subnet: r for r in records if isinstance(r, Claim)},
    )


def decided(known: list[Peer], *records: Claim | Node, doubted: bool = False) -> list[Peer]:
    decision = peers.decide(world(*records), {p.subnet: p for p in known}, OWN, doubted=doubted)
    return list(decision.peers.values())


def test_a_node_with_a_claim_and_a_tunnel_end_is_a_peer_and_this_one_is_not() -> None:
    assert decided([], Claim(NET1, N1), OWN, Claim(NET2, N2), TWO) == [PEER]
    assert decided([], Claim(NET2, N2)) == []
    assert decided([], TWO) == []
    assert decided([PEER], Claim(NET2, N2), replace(TWO, vtep=None)) == []


def test_one_whose_lease_ended_is_reached_on_until_its_claim_is_gone_or_anothers() -> None:
    assert decided([PEER], Claim(NET2, N2)) == [PEER]
    assert decided([PEER]) == []
    assert decided([PEER], Claim(NET2, N3)) == []
    three = replace(TWO, node=N3)
    assert decided([PEER], Claim(NET2, N3), three) == [replace(PEER, node=N3)]


def test_doubt_ends_nothing_but_who_speaks_is_heard() -> None:
    assert decided([PEER], doubted=True) == [PEER]
    assert decided([PEER], Claim(NET2, N3), doubted=True) == [PEER]
    moved = replace(PEER.vtep, address="192.0.2.9")
    assert decided([PEER], Claim(NET2, N2), replace(TWO, vtep=moved), doubted=True) == [replace(PEER, vtep=moved)]


def test_a_node_with_another_vni_is_named() -> None:
    other = replace(TWO, vtep=replace(PEER.vtep, vni=5))
    decision = peers.decide(world(Claim(NET2, N2), other), {}, OWN, doubted=False)
    assert decision.peers == {}
    assert decision.strangers == ("n2: it has VNI 5 at port 4789, this node VNI 87 at port 4789",)


def test_one_that_encrypts_and_one_that_does_not_are_strangers() -> None:
    known = world(Claim(NET2, N2), replace(TWO, vtep=replace(PEER.vtep, key="k")))
    decision = peers.decide(known, {}, OWN, doubted=False)
    assert decision.strangers == ("n2: its tunnels are encrypted, this node's are not",)
    own = replace(OWN, vtep=replace(PEER.vtep, key="own"))
    decision = peers.decide(world(Claim(NET2, N2), TWO), {}, own, doubted=False)
    assert decision.strangers == ("n2: its tunnels are not encrypted, this node's are",)


@asynccontextmanager
async def at_work(store: FakeStore, tunnel: FakeTunnel, tmp: Path, **more: Any) -> AsyncIterator[None]:
    trust = Trust(tmp / "trust")
    trust.memory = Memory(cluster_id=1, revision=1)
    task = asyncio.create_task(Overlay(store, tunnel, OWN, trust, **more).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_it_reaches_who_joins_and_follows_who_moves(tmp_path: Path) -> None:
    store, tunnel = FakeStore(), FakeTunnel()
    async with at_work(store, tunnel, tmp_path):
        await becomes(lambda: tunnel.told == [[]])
        await store.commit([schema.put(Claim(NET2, N2)), schema.put(TWO)])
        await becomes(lambda: tunnel.told[-1] == [PEER])
        moved = replace(PEER.vtep, address="192.0.2.9")
        await store.commit([schema.put(replace(TWO, vtep=moved))])
        await becomes(lambda: tunnel.told[-1] == [replace(PEER, vtep=moved)])
        await store.commit([schema.put(replace(TWO, vtep=moved, version="2"))])
        await store.commit([schema.delete(TWO)])
        await asyncio.sleep(0.05)
        assert len(tunnel.told) == 3, "what changes nothing, and a lease that ended, are no reason to act"
        await store.commit([schema.delete(Claim(NET2, N2))])
        await becomes(lambda: tunnel.told[-1] == [])


async def test_a_wiped_etcd_cuts_nobody_off(tmp_path: Path) -> None:
    store, tunnel = FakeStore(), FakeTunnel()
    await store.commit([schema.put(Claim(NET2, N2)), schema.put(TWO)])
    async with at_work(store, tunnel, tmp_path, resync_s=0.01):
        await becomes(lambda: tunnel.told[-1:] == [[PEER]])
        store.wipe()
        told = len(tunnel.told)
        await becomes(lambda: len(tunnel.told) > told + 3)
        assert tunnel.told[-1] == [PEER]


async def test_after_a_reboot_without_etcd_the_peers_of_before_are_reached(tmp_path: Path) -> None:
    store, tunnel = FakeStore(), FakeTunnel(before=[PEER])
    store._cluster = 0  # it has not answered yet
    async with at_work(store, tunnel, tmp_path):
        await becomes(lambda: tunnel.told == [[PEER]])


async def test_what_the_kernel_refused_is_tried_again(tmp_path: Path) -> None:
    store, tunnel = FakeStore(), FakeTunnel(refuse="no")
    async with at_work(store, tunnel, tmp_path):
        await asyncio.sleep(0.02)
        assert tunnel.told == []
        tunnel.refuse = ""
        await becomes(lambda: tunnel.told == [[]])


async def test_a_claim_keeps_away_from_addresses_that_the_machine_has(tmp_path: Path) -> None:
    store = FakeStore()
    await store.commit([schema.put(Claim("10.87.1.0/24", N2))])
    others = ["10.87.0.1", "192.0.2.1", "10.87.2.200"]
    assert await claim.claim(store, N1, "10.87.0.0/16", tmp_path / "subnet", others) == "10.87.3.0/24"
    assert await claim.claim(store, N1, "10.87.0.0/16", tmp_path / "subnet", [*others, "10.87.3.1"]) == "10.87.3.0/24"
    with pytest.raises(HecdError, match="is claimed, or has an address"):
        await claim.claim(store, NodeName("n3"), "10.87.0.0/24", tmp_path / "other", others)


async def test_a_claim_that_vanished_is_made_again_but_not_taken_from_another(tmp_path: Path) -> None:
    store = FakeStore()
    task = asyncio.create_task(claim.keep(store, N1, NET1))
    key = schema.key_of(Claim(NET1, N1))
    try:
        await becomes(lambda: key in store.snapshot().entries)
        store.wipe()
        await becomes(lambda: key in store.snapshot().entries)
        await store.commit([schema.put(Claim(NET1, N2))])
        await asyncio.sleep(0.02)
        assert b"n2" in store.snapshot().entries[key].value
    finally:
        task.cancel()
        await asyncio.wait([task])
