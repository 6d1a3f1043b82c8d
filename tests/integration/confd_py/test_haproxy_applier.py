"""What the applier leaves is what a HAProxy that starts with the file has, whatever was before."""

from __future__ import annotations

import asyncio
import http.client
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.confd_py.direct import Backends, Direct, running
from tests.integration.confd_py.parts import SOON_S, Web

SPREADING = {
    "random": ("balance random",),
    "uri": ("balance uri", "hash-type consistent"),
    "source": ("balance hdr(x-client)", "hash-type consistent"),
    "roundrobin": ("balance roundrobin",),
}


@pytest.fixture
def direct(tmp_path: Path, haproxy_binary: str) -> Direct:
    return Direct(tmp_path, haproxy_binary)


@pytest.fixture
def web() -> Iterator[Web]:
    found = Web()
    yield found
    found.stop()


@pytest.mark.parametrize("lines", SPREADING.values(), ids=SPREADING)
async def test_every_server_added_to_an_empty_backend_gets_requests(
    direct: Direct, web: Web, lines: tuple[str, ...]
) -> None:
    """Without ids of their own, all servers added at run time but two would get none of 2.6 (haproxy#3413)."""
    servers = tuple(f"server w{number} {web.open(f'w{number}')} weight 100 check" for number in range(6))
    async with running(direct, {"main": lines}):
        for count in (1, 3, 6):
            await direct.apply({"main": (*lines, *servers[:count])})
            await direct.settled()
        await direct.apply({"main": (*lines, *servers[1:])})
        await direct.settled()
        await direct.apply({"main": (*lines, *servers)})
        await direct.settled()
        served = await asyncio.to_thread(ask_often, direct.port, 300)
    assert set(served) == {f"w{number}" for number in range(6)}
    assert min(served.values()) >= 10, served


def ask_often(port: int, times: int) -> Counter[str]:
    served: Counter[str] = Counter()
    for number in range(times):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON_S)
        client.request("GET", f"/{number}", headers={"x-client": str(number)})
        served[client.getresponse().read().decode()] += 1
        client.close()
    return served


# -- random pairs of configurations --------------------------------------------------------------------

# The last of each do not suit a server that is added at run time.
ALGORITHMS = (*["balance roundrobin", "balance leastconn", "balance random", "balance first"] * 2, "balance source")
WORDS = ("", "", "maxconn 5", "check", "check inter 1s", "disabled", "backup", "check cookie c", "non-stick")


Configuration = tuple[Backends, int]


@st.composite
def pairs(draw: st.DrawFn, addresses: tuple[str, ...]) -> tuple[Configuration, Configuration]:
    """One or two backends, one of them with the frontend's name. In most pairs only servers differ."""
    names = ["main", *draw(st.lists(st.sampled_from(["b1", "b2"]), unique=True, max_size=1))]
    heads = {name: draw(st.sampled_from(ALGORITHMS)) for name in names}
    words = {name: draw(st.sampled_from(WORDS)) for name in "abcde"}
    places, weights = st.sampled_from(addresses), st.sampled_from((0, 1, 7, 100, 256))

    def servers() -> list[str]:
        chosen = draw(st.lists(st.sampled_from("abcde"), unique=True, min_size=2))
        return [f"server {name} {draw(places)} weight {draw(weights)} {words[name]}" for name in chosen]

    first = {name: (head, *servers()) for name, head in heads.items()}
    words["a"] = draw(st.sampled_from((words["a"], "maxconn 7")))
    second = {name: (head, *servers()) for name, head in heads.items()}
    return (first, 0), (second, draw(st.sampled_from((0, 0, 0, 1))))


def as_started(direct: Direct, folder: Path) -> dict[tuple[str, str], tuple[str, int, int]]:
    """What a HAProxy of its own has right after it started with the file, which listens nowhere but on its sockets."""
    other = Direct(folder, direct.haproxy.binary)
    text = direct.haproxy.config.read_text().replace(f"bind 127.0.0.1:{direct.port}", f"bind 127.0.0.1:{other.port}")
    other.haproxy.config.write_text(text)
    Path(other.place.state_file).write_text("1\n")
    other.haproxy.start()
    try:
        return other.servers()
    finally:
        other.haproxy.stop()


async def test_random_pairs_of_configurations(direct: Direct, web: Web, tmp_path: Path) -> None:
    """One HAProxy lives through all of them."""
    addresses = (web.open("one"), web.open("two"))
    folders = iter(range(1_000_000))
    loop = asyncio.get_running_loop()

    async def step(wanted: Configuration) -> None:
        await direct.apply(*wanted)
        await direct.settled()
        fresh = await asyncio.to_thread(as_started, direct, tmp_path / str(next(folders)))
        assert direct.servers() == fresh

    @settings(max_examples=20, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(pairs(addresses))
    def examples(pair: tuple[Configuration, Configuration]) -> None:
        for wanted in pair:
            asyncio.run_coroutine_threadsafe(step(wanted), loop).result(180)

    async with running(direct, {"main": ()}):
        await asyncio.to_thread(examples)
    assert direct.applier.tally.runtime_ops > 30  # it was no matter of reloads only


# -- files that people write ---------------------------------------------------------------------------

# Each has a place for one more server, which comes later; {one} to {three} are addresses of servers that answer.
ODD = {
    "indented sections": "  backend main\n server s1 {one} check\n MORE server s2 {two} check\n"
    "\tbackend other\n server x {three}\n",
    "tabs": "backend\tmain\n\tserver\ts1\t{one}\tcheck\n\tMORE server\ts2\t{two}\tweight\t50\tcheck\n",
    "comments": "backend main # of all\n server s1 {one} weight 20#c\n MORE server s2 {two} check # new\n",
    "quotes": 'backend "main"\n server "s1" {one} check\n MORE server "s2" {two} check sni "str(www. x)"\n',
    "quoted words": 'backend main\n server s1 {one} check\n MORE server s2 {two} check sni "str(www. x)"\n',
    "server-template": "backend main\n server-template st 2 {one} check\n MORE server s2 {two} check\n",
    "conditions": "backend main\n server s1 {one}\n.if defined(ABSENT_CANARY)\n server c {three}\n.endif\n"
    " MORE server s2 {two}\n",
    "named defaults": "defaults checked\n mode http\n timeout connect 2s\n timeout client 9s\n timeout server 9s\n"
    " default-server check maxconn 3\ndefaults unchecked from checked\n default-server weight 77 backup\n"
    "backend main from checked\n server s1 {one}\n MORE server s2 {two}\n",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
async def test_files_that_people_write(direct: Direct, web: Web, tmp_path: Path, text: str) -> None:
    """What is not understood for certain is HAProxy's own business: it reloads."""
    places = {name: web.open(name) for name in ("one", "two", "three")}
    body = text.format(**places)
    without = "".join(line for line in body.splitlines(keepends=True) if "MORE" not in line)
    head = direct.text({})
    folders = iter(range(100))
    async with running(direct, {"main": ()}):
        for wanted in (without, body.replace("MORE ", ""), without, body.replace("MORE ", "")):
            await direct.applier.apply(head + wanted)
            await direct.settled()
            fresh = await asyncio.to_thread(as_started, direct, tmp_path / str(next(folders)))
            assert direct.servers() == fresh
            served = await asyncio.to_thread(ask_often, direct.port, 20)
            assert set(served) <= {"one", "two"}
        again: list[None] = []
        process = direct.applier._processes[0]
        await process._look_for_drift(lambda: None, lambda: again.append(None))
        assert not again
        assert direct.servers() == fresh
    assert direct.applier.tally.drift_repairs == 0
