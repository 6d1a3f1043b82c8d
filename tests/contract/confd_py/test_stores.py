"""One suite for every store: what a resource may rely on, whatever is behind the port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from confd_py.errors import ConfigFault, StoreUnavailable
from confd_py.store import Batch, Store
from confd_py.stores.env import EnvStore
from confd_py.stores.etcd import EtcdStore
from confd_py.stores.file import FileStore
from confd_py.stores.redis import RedisStore
from tests.fakes.etcd_server import EtcdServer
from tests.fakes.redis_server import RedisServer

VALUES = {"/app/name": "web", "/app/port": "8080", "/other": "x"}


class Held(Protocol):
    """A store under test, and a way to change it."""

    @property
    def store(self) -> Store: ...

    def set(self, values: dict[str, str]) -> None: ...


class HeldEtcd:
    def __init__(self, server: EtcdServer) -> None:
        self.server = server
        self.store = EtcdStore([server.endpoint])
        self._known: set[str] = set()

    def set(self, values: dict[str, str]) -> None:
        for key in self._known - values.keys():
            self.server.etcdctl("del", key)
        for key, value in values.items():
            self.server.etcdctl("put", key, value)
        self._known = set(values)


class HeldFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.store = FileStore([str(path)])

    def set(self, values: dict[str, str]) -> None:
        tree: dict[str, Any] = {}
        for key, value in values.items():
            *parents, name = key.strip("/").split("/")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[name] = value
        fresh = self._path.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(tree))
        fresh.rename(self._path)


class HeldRedis:
    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.store = RedisStore([server.node])
        self._known: set[str] = set()

    def set(self, values: dict[str, str]) -> None:
        for key in self._known - values.keys():
            self.server.cli("del", key)
        for key, value in values.items():
            self.server.cli("set", key, value)
        self._known = set(values)


@pytest.fixture(params=["etcd", "file", "redis"])
async def held(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Held]:
    if request.param == "redis":
        redis = RedisServer(tmp_path).start()
        store = HeldRedis(redis)
        try:
            yield store
        finally:
            await store.store.close()
            redis.kill()
        return
    if request.param == "file":
        yield HeldFile(tmp_path / "values.yaml")
        return
    server = EtcdServer(tmp_path).start()
    found = HeldEtcd(server)
    try:
        yield found
    finally:
        await found.store.close()
        server.kill()


def values_of(batch: Batch) -> dict[str, str]:
    return {change.key: change.new.value for change in batch.changes if change.new is not None}


async def until(probe: Callable[[], object]) -> None:
    async with asyncio.timeout(30):  # machines stand still
        while not probe():
            await asyncio.sleep(0.01)


async def test_read_gives_everything_at_one_revision(held: Held) -> None:
    held.set(VALUES)
    batch = await held.store.read(("/app", "/other"))
    assert values_of(batch) == VALUES
    assert batch.revision > 0
    assert {change.cause for change in batch.changes} == {"first"}
    assert all(change.old is None for change in batch.changes)


async def test_follow_delivers_the_whole_first_and_then_each_change(held: Held) -> None:
    held.set(VALUES)
    got: list[Batch] = []
    task = asyncio.create_task(held.store.follow(("/app", "/other"), got.append))
    try:
        await until(lambda: got)
        assert values_of(got[0]) == VALUES
        held.set({**VALUES, "/app/port": "9090"})
        await until(lambda: any(c.new and c.new.value == "9090" for b in got[1:] for c in b.changes))
        changed = next(c for b in got[1:] for c in b.changes if c.key == "/app/port")
        assert changed.old is not None
        assert (changed.old.value, changed.cause) == ("8080", "event")
        held.set({"/app/name": "web"})
        await until(lambda: {c.key for b in got for c in b.changes if c.new is None} == {"/app/port", "/other"})
        assert [b.revision for b in got] == sorted(b.revision for b in got)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_an_empty_store_is_an_empty_first_batch(held: Held) -> None:
    held.set({})
    got: list[Batch] = []
    task = asyncio.create_task(held.store.follow(("/app",), got.append))
    await until(lambda: got)
    assert got[0].changes == ()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_values_that_are_no_utf8_come_through(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path).start()
    store = EtcdStore([server.endpoint])
    try:
        import etcdkit

        async with etcdkit.Client([server.endpoint]) as client:
            await client.put("/app/raw", b"\xff\x00")
        value = values_of(await store.read(("/app",)))["/app/raw"]
        assert value.encode("utf-8", "surrogateescape") == b"\xff\x00"
    finally:
        await store.close()
        server.kill()


async def test_the_fate_of_leases(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path).start()
    store = EtcdStore([server.endpoint])
    try:
        lease = server.etcdctl("lease", "grant", "60").split()[1]
        number = int(lease, 16)
        assert await store.lease_fate(number) == "alive"
        server.etcdctl("lease", "revoke", lease)
        assert await store.lease_fate(number) == "gone"
        server.kill()
        assert await store.lease_fate(number) == "unknown"
    finally:
        await store.close()
        server.kill()


async def test_etcd_away_is_said_when_asked_once() -> None:
    store = EtcdStore(["127.0.0.1:1"])
    with pytest.raises(StoreUnavailable):
        await store.read(("/app",))
    await store.close()


async def test_the_environment_maps_names_to_paths_and_matches_by_their_first_characters() -> None:
    store = EnvStore({"APP_NAME": "web", "APP_DB__HOST": "h", "APPLE_X": "a", "app_lower": "no", "OTHER": "x"})
    assert values_of(await store.read(("/app",))) == {"/app/db/host": "h", "/app/name": "web", "/apple/x": "a"}
    assert store.covers(("/App",), "/app/name")
    assert not store.covers(("/app/name",), "/app/db/host")
    assert await store.lease_fate(1) == "alive"


async def test_files_and_folders_later_ones_win(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text("app:\n  ports: [80, 443]\n  flag: true\n  none: null\n  name: old\n")
    (tmp_path / "sub" / "b.json").write_text(json.dumps({"app": {"name": "web"}, "apple": 1}))
    (tmp_path / "c.txt").write_text(": not : yaml : [")
    store = FileStore([str(tmp_path)], "*.[jy]*")
    expected = {
        "/app/ports/0": "80", "/app/ports/1": "443", "/app/flag": "true", "/app/name": "web", "/apple": "1",
    }  # fmt: skip
    assert values_of(await store.read(("/",))) == expected
    assert values_of(await store.read(("/appl",))) == {"/apple": "1"}
    reversed_order = FileStore([str(tmp_path / "sub" / "b.json"), str(tmp_path / "a.yaml")])
    assert values_of(await reversed_order.read(("/app/name",))) == {"/app/name": "old"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", r"a\.yaml:\d:\d: "),
        ("\nx\ny: z\n", r"a\.yaml:3:2: "),
        ("- a", r"a\.yaml cannot be read: it has to be a mapping"),
        (None, r"a\.yaml cannot be read: No such file"),
    ],
)
async def test_a_broken_file_is_said_with_its_place_when_asked_once(
    text: str | None, told: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(StoreUnavailable, match=told):
        await FileStore([str(tmp_path / "a.yaml")]).read(("/",))


def test_a_filter_that_is_no_pattern_is_refused() -> None:
    with pytest.raises(ConfigFault, match="is no pattern"):
        FileStore(["/x"], "a[")


@contextlib.asynccontextmanager
async def following(store: Store) -> AsyncIterator[list[dict[str, str]]]:
    """Every state the store delivers, whole."""
    states: list[dict[str, str]] = []

    def deliver(batch: Batch) -> None:
        state = dict(states[-1]) if states else {}
        for change in batch.changes:
            state.pop(change.key, None)
            state.update({change.key: change.new.value} if change.new else {})
        states.append(state)

    task = asyncio.create_task(store.follow(("/",), deliver))
    try:
        yield states
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_file_that_breaks_or_goes_keeps_its_last_good_values(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("k: 1")
    async with following(FileStore([str(file)])) as states:
        await until(lambda: states == [{"/k": "1"}])
        file.write_text("k: [")
        await asyncio.sleep(0.3)  # nothing may come of it
        file.unlink()
        await asyncio.sleep(0.3)
        assert states == [{"/k": "1"}]
        file.write_text("k: 2")
        await until(lambda: states[-1] == {"/k": "2"})


async def test_a_file_that_is_written_over_is_not_taken_for_empty_in_between(tmp_path: Path) -> None:
    """Who writes over a file empties it first, and may stand still before the rest comes."""
    file = tmp_path / "a.yaml"
    file.write_text("k: 1")
    async with following(FileStore([str(file)])) as states:
        await until(lambda: states == [{"/k": "1"}])
        with file.open("w") as writer:
            await asyncio.sleep(0.3)
            assert states == [{"/k": "1"}]
            writer.write("k: 2")
        await until(lambda: len(states) > 1)
        assert states == [{"/k": "1"}, {"/k": "2"}]
        file.write_text("")
        await until(lambda: states[-1] == {})


async def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    async with following(FileStore([str(tmp_path / "later" / "a.yaml")])) as states:
        await asyncio.sleep(0.2)
        assert not states
        (tmp_path / "later").mkdir()
        (tmp_path / "later" / "a.yaml").write_text("k: 1")
        await until(lambda: states == [{"/k": "1"}])


async def test_a_watched_folder_shows_new_changed_and_removed_files_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("k: 1")
    async with following(FileStore([str(tmp_path)], "*.yaml")) as states:
        await until(lambda: states == [{"/k": "1"}])
        took_s = []

        async def shows(state: dict[str, str]) -> None:
            begun_s = time.monotonic()
            await until(lambda: states[-1] == state)
            took_s.append(time.monotonic() - begun_s)

        (tmp_path / "sub").mkdir()
        (tmp_path / "sub" / "b.yaml").write_text("l: 2")
        await shows({"/k": "1", "/l": "2"})
        (tmp_path / "a.yaml").unlink()
        await shows({"/l": "2"})
        (tmp_path / "sub" / "new").write_text("l: 3")
        (tmp_path / "sub" / "new").rename(tmp_path / "sub" / "b.yaml")
        await shows({"/l": "3"})
        assert max(took_s) < 8.0, took_s  # who does not hear of it looks at everything every 10 s


async def test_a_mounted_directory_of_links_is_followed_when_it_is_swapped(tmp_path: Path) -> None:
    """As Kubernetes changes what it mounts: the file is a link through a link to a directory."""
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "a.yaml").write_text(f"k: {number}")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    async with following(FileStore([str(tmp_path / "a.yaml")])) as states:
        await until(lambda: states == [{"/k": "1"}])
        (tmp_path / "..fresh").symlink_to("..2")
        (tmp_path / "..fresh").rename(tmp_path / "..data")
        await until(lambda: states[-1] == {"/k": "2"})
