"""What each HAProxy can be told while it runs, and what takes a reload therefore."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from confd_py.errors import HaproxyRefused
from confd_py.haproxy.capabilities import OLDEST, capabilities_of
from confd_py.haproxy.config import Server, parse, read_server
from confd_py.haproxy.master import parse_processes
from confd_py.haproxy.plan import add_command
from confd_py.haproxy.process import members_changed, words_changed
from confd_py.haproxy.reload import Reloader
from confd_py.haproxy.runtime import Runtime
from confd_py.haproxy.session import Session
from confd_py.resource import Place, Resource

SHIPPED = (
    "check inter 1000ms fastinter 250ms downinter 250ms rise 1 fall 2 observe layer4 error-limit 2 on-error fastinter"
    " pool-purge-delay 5s pool-max-conn 100"
)


@pytest.mark.parametrize(
    ("version", "words", "taken"),
    [
        (OLDEST, "", False),
        ((2, 5), "", False),
        ((2, 6), "", True),
        ((2, 6), SHIPPED, True),
        ((2, 6), "check cookie cookie", False),
        ((2, 9), "check cookie c", False),
        ((3, 0), "check cookie c", True),
        ((3, 0), "init-state up", False),
        ((3, 1), "init-state up", True),
        ((3, 2), "cookie c init-state down check", True),
        ((9, 0), SHIPPED, True),
        ((3, 4), "resolvers dns", False),
        ((3, 4), "word-of-tomorrow", False),
    ],
)
def test_words_of_a_server_that_comes(version: tuple[int, int], words: str, taken: bool) -> None:
    server = read_server((), f"s 10.0.0.1:80 {words}")
    assert server is not None
    assert capabilities_of(version).takes(server.keywords) is taken


def test_a_server_may_go_where_servers_may_come() -> None:
    assert [capabilities_of(v).takes(()) for v in ((2, 4), (2, 5), (2, 6), (3, 2))] == [False, False, True, True]


def test_ids_are_given_where_the_hash_would_be_made_without() -> None:
    assert [capabilities_of(v).needs_ids for v in ((2, 6), (2, 8), (2, 9), (3, 0))] == [True, True, True, False]
    server = Server("s", "10.0.0.1:80", 9, ())
    assert add_command(("b", "s"), server, quick=True, number=7).startswith("add server b/s 10.0.0.1:80 weight 9 id 7;")
    own = Server("s", "10.0.0.1:80", 9, ("id", "3"))
    assert add_command(("b", "s"), own, quick=True, number=7).startswith("add server b/s 10.0.0.1:80 id 3 weight 9;")


async def test_one_that_is_too_old_is_told(tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            writer.write(b"Version: 2.2.9-1\nPid: 7\n\n> ")
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / "s"):
        with pytest.raises(HaproxyRefused, match=r"is HAProxy 2\.2") as caught:
            await Session.open(str(tmp_path / "s"))
    assert caught.value.hint == "Install HAProxy 2.4 or later."


def test_values_are_no_keywords() -> None:
    server = read_server((), "s 10.0.0.1:80 cookie check inter 1s check")
    assert server is not None
    assert server.keywords == ("cookie", "inter", "check")


def test_members_changed() -> None:
    old = parse("backend b\n server a 1.1.1.1:1 check\n server c 1.1.1.2:1\nbackend same\n server a 1.1.1.1:1\n")
    new = parse(
        "backend b\n server a 1.1.1.9:1 check\n server d 1.1.1.2:1\nbackend same\n server a 1.1.1.1:1 weight 0\n"
    )
    assert members_changed(old, new) == [(), ("check",), ()]
    assert members_changed(new, new) == []


@pytest.mark.parametrize(
    ("line", "reloads"),
    [("unix@/a.sock weight 1", False), ("unix@/b.sock weight 0", True), ("unix@/a.sock weight 0 check", True)],
)
def test_of_a_server_at_a_socket_only_the_weight_changes_while_it_runs(line: str, reloads: bool) -> None:
    old = parse("backend b\n server a unix@/a.sock weight 0\n")
    assert words_changed(old, parse(f"backend b\n server a {line}\n")) is reloads


def test_parse_processes_of_the_oldest_version() -> None:
    text = """\
#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>
70              master          0               3               0d00h01m28s     2.4.0
# workers
75              worker          1               0               0d00h00m07s     2.4.0
# old workers
72              worker          [was: 1]        2               0d00h01m20s     2.4.0
# programs
"""
    found = parse_processes(text)
    assert (found.master, found.reloads, found.failed, found.worker, found.age_s, found.old) == (70, 3, 0, 75, 7, (72,))


@pytest.mark.parametrize(
    ("answer", "heard"),
    [("", True), ("Success=1\n", True), ("Success=0\n--\nAnother reload is still in progress.\n", False)],
)
async def test_a_master_that_is_busy_with_another_reload_has_not_heard(
    tmp_path: Path, answer: str, heard: bool
) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer.encode())
        writer.close()

    place = Place(str(tmp_path / "s"), str(tmp_path / "m"))
    async with await asyncio.start_unix_server(say, place.master_socket):
        assert await Reloader(Resource("r", "", Path()), place, Runtime(place.socket))._ask() is heard
