"""The only member is killed, frozen, compacted, wiped or restored."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from etcdkit import Change, Client, Compacted, HistoryBroke, Mirror, Unavailable, absent, channels, put
from tests.fakes.becoming import becomes
from tests.fakes.etcd_server import EtcdServer
from tests.fakes.ports import free_port


def elsewhere(etcd: EtcdServer, *writes: tuple[str, ...]) -> None:
    """Do `writes` while nobody who knows the endpoint sees them; it does not run before, nor after."""
    port, etcd.port = etcd.port, free_port()
    etcd.start()
    for write in writes:
        etcd.etcdctl(*write)
    etcd.stop()
    etcd.port = port


def caused(changes: list[Change]) -> set[tuple[str, bool, str]]:
    """Each change as (key, whether it is there now, cause)."""
    return {(c.key, c.new is not None, c.cause) for c in changes}


async def test_a_mirror_misses_nothing_that_happened_while_it_was_cut_off(etcd: EtcdServer, client: Client) -> None:
    for key in ("stays", "changes", "goes"):
        await client.put(f"/k/{key}", b"1")
    async with Mirror(client, "/k/") as mirror:
        await mirror.ready()
        changes: list[Change] = []
        mirror.listen(changes.extend)
        etcd.kill()
        await becomes(lambda: not mirror.connected)
        assert len(mirror.snapshot().entries) == 3 and mirror.last_error is not None
        elsewhere(etcd, ("put", "/k/changes", "2"), ("del", "/k/goes"), ("put", "/k/comes", "2"))
        etcd.start()
        await becomes(lambda: mirror.connected)
        assert caused(changes) == {
            ("/k/changes", True, "resync"), ("/k/goes", False, "resync"), ("/k/comes", True, "resync"),
        }  # fmt: skip
        assert mirror.snapshot().epoch == 0
        last = await client.put("/k/after", b"3")
        await becomes(lambda: mirror.snapshot().revision == last)


async def test_compaction_while_cut_off_costs_a_mirror_nothing_and_is_told_a_watcher(
    etcd: EtcdServer, client: Client
) -> None:
    start = await client.put("/k/a", b"1")
    batches = client.watch_prefix("/k/", start)
    await anext(batches)
    async with Mirror(client, "/k/") as mirror, aclosing(batches):
        await mirror.ready()
        etcd.kill()
        elsewhere(
            etcd,
            *[("put", "/k/a", str(n)) for n in range(5)],
            ("compact", "--physical", str(start + 4)),
            ("del", "/k/a"),
        )
        etcd.start()
        with pytest.raises(Compacted):
            await asyncio.wait_for(anext(batches), 30)
        await becomes(lambda: not mirror.snapshot().entries)
        assert mirror.snapshot().epoch == 0


async def test_a_watch_goes_on_where_it_was_after_a_restart(etcd: EtcdServer, client: Client) -> None:
    first = await client.put("/k/a", b"1")
    async with aclosing(client.watch_prefix("/k/", first)) as batches:
        seen = [(await anext(batches)).events[-1][2]]
        etcd.kill()
        elsewhere(etcd, ("put", "/k/a", "2"), ("put", "/other", "x"), ("del", "/k/a"))
        etcd.start()
        while len(seen) < 3:
            seen += [revision for _, _, revision in (await asyncio.wait_for(anext(batches), 30)).events]
    assert seen == [first, first + 1, first + 3]


async def test_a_wiped_store_is_a_reset_and_lists_what_vanished(etcd: EtcdServer, client: Client) -> None:
    for number in range(5):
        last = await client.put(f"/k/{number}", b"1")
    async with Mirror(client, "/k/") as mirror, aclosing(client.watch_prefix("/k/", last)) as batches:
        await anext(batches)
        await mirror.ready()
        before = mirror.snapshot()
        changes: list[Change] = []
        mirror.listen(changes.extend)
        etcd.kill()
        etcd.wipe()
        etcd.start()
        await becomes(lambda: mirror.snapshot().epoch == 1)
        assert caused(changes) == {(f"/k/{number}", False, "reset") for number in range(5)}
        now = mirror.snapshot()
        assert now.revision < before.revision and not now.entries and len(before.entries) == 5
        with pytest.raises(HistoryBroke):
            await asyncio.wait_for(anext(batches), 30)
        await client.put("/k/new", b"2")
        await becomes(lambda: list(mirror.snapshot().entries) == ["/k/new"])


async def test_a_wiped_store_is_a_reset_even_when_its_revision_is_past_ours(etcd: EtcdServer, client: Client) -> None:
    await client.put("/k/mine", b"1")
    async with Mirror(client, "/k/") as mirror:
        await mirror.ready()
        before = mirror.snapshot()
        etcd.kill()
        etcd.wipe()
        elsewhere(etcd, *[("put", f"/k/{number}", "other") for number in range(6)])
        etcd.start()
        await becomes(lambda: mirror.snapshot().epoch == 1, told=lambda: (before, mirror.snapshot(), mirror.last_error))
        now = mirror.snapshot()
        assert now.revision > before.revision and now.cluster_id == before.cluster_id and "/k/mine" not in now.entries


async def test_an_old_backup_is_a_reset(etcd: EtcdServer, client: Client, tmp_path: Path) -> None:
    await client.put("/k/old", b"1")
    etcd.stop()
    etcd.save(tmp_path / "backup")
    etcd.start()
    await client.put("/k/old", b"2", repeatable=True)
    await client.put("/k/new", b"2")
    async with Mirror(client, "/k/") as mirror:
        await mirror.ready()
        changes: list[Change] = []
        mirror.listen(changes.extend)
        etcd.stop()
        etcd.restore(tmp_path / "backup")
        etcd.start()
        await becomes(lambda: mirror.snapshot().epoch == 1)
        assert caused(changes) == {("/k/old", True, "reset"), ("/k/new", False, "reset")}
        assert mirror.snapshot().entries["/k/old"].value == b"1"


async def test_a_frozen_member_is_noticed_and_heard_again(etcd: EtcdServer, client: Client) -> None:
    await client.put("/k/a", b"1")
    async with Mirror(client, "/k/") as mirror:
        await mirror.ready()
        etcd.freeze()
        await becomes(lambda: not mirror.connected)
        etcd.thaw()
        await becomes(lambda: mirror.connected)
        await client.put("/k/a", b"2", repeatable=True)
        await becomes(lambda: mirror.snapshot().entries["/k/a"].value == b"2")
        assert mirror.snapshot().epoch == 0


async def test_what_may_have_happened_is_not_done_twice(etcd: EtcdServer) -> None:
    async with Client([etcd.endpoint], timeout_s=5.0) as client:
        await client.get("/connect")
        etcd.freeze()
        with pytest.raises(Unavailable) as away:
            await client.transaction(success=[put("/once", b"1")])
        assert away.value.ambiguous
        etcd.thaw()
        entry = await client.get("/once")
        assert entry is None or entry.mod_revision == entry.create_revision


async def test_what_surely_did_not_happen_is_tried_again(etcd: EtcdServer, client: Client) -> None:
    etcd.kill()
    asked = asyncio.ensure_future(client.transaction(compare=[absent("/once")], success=[put("/once", b"1")]))
    await asyncio.sleep(0.3)
    assert not asked.done()
    etcd.start(wait=False)
    assert (await asyncio.wait_for(asked, 30)).succeeded


async def test_a_client_that_has_nothing_to_ask_is_not_hung_up_on(
    etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """etcd refuses pings while no call is open; ours would come six times a second here."""
    hasty = [(name, 150 if name == "grpc.keepalive_time_ms" else value) for name, value in channels.OPTIONS]
    monkeypatch.setattr(channels, "OPTIONS", hasty)
    async with Client([etcd.endpoint]) as idle:
        await idle.put("/a", b"1")
        await asyncio.sleep(4.0)
        await idle.put("/a", b"2")
    assert "too_many_pings" not in capfd.readouterr().err
