"""Reading configurations and states, and planning between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confd_py.haproxy.admission import Admission, admitted, idle, next_look_s, overlooked
from confd_py.haproxy.config import Server, parse, read_server, stamped
from confd_py.haproxy.master import Processes, parse_processes
from confd_py.haproxy.old_workers import drained_between, longest_idle_s
from confd_py.haproxy.plan import Action, Add, Admit, Key, Remove, Weigh, add_command, plan
from confd_py.haproxy.state import HEADER, Seen, parse_state, stat_rows, state_file

TEXT = """\
global
    # comment
    daemon

defaults
    mode http
    default-server inter 5s

backend web.80
    balance roundrobin
    default-server check inter 1s weight 100
    server web.1 10.0.0.1:80
    server web.2 10.0.0.2:80 weight 0
listen both
    bind :1
    server a 10.0.0.9:80 no-check maxconn 5 # because
"""


def test_a_server_that_errors_take_out_is_never_checked_in_a_hurry() -> None:
    """Or the checks that let it in again would be over in no time."""
    text = "backend b\n  default-server check downinter 250ms on-error {}\n  server a 10.0.0.1:80"
    assert [parse(text.format(word)).backends["b"]["a"].hurried for word in ("mark-down", "fastinter")] == [False, True]


def test_a_server_that_is_added_gets_the_cookie_that_haproxy_makes_of_its_address() -> None:
    text = "backend b\n  dynamic-cookie-key k\n  cookie C insert dynamic\n  server a 10.0.0.1:80 check\nbackend c\n"
    servers = parse(text + "  server a 10.0.0.1:80").backends
    assert (servers["b"]["a"].dynamic_cookie, servers["c"]["a"].dynamic_cookie) == (True, False)
    command = add_command(("b", "a"), servers["b"]["a"], quick=False)
    assert "enable dynamic-cookie backend b" in command.split(";")[:-1], "before it gets requests"
    assert "dynamic-cookie" not in add_command(("c", "a"), servers["c"]["a"], quick=False)


def test_parse_spells_servers_out_and_keeps_the_rest_as_structure() -> None:
    config = parse(TEXT)
    assert config.backends["web.80"] == {
        "web.1": Server("web.1", "10.0.0.1:80", 100, ("inter", "1s", "check")),
        "web.2": Server("web.2", "10.0.0.2:80", 0, ("inter", "1s", "check")),
    }
    assert config.backends["both"]["a"].words == ("inter", "5s", "no-check", "maxconn", "5")
    assert "server " not in config.structure.replace("default-server", "")


def test_stamp_changes_with_structure_only() -> None:
    stamp = parse(TEXT).stamp
    assert parse(TEXT.replace("10.0.0.1:80", "10.0.0.3:80").replace("    # comment\n", "")).stamp == stamp
    assert parse(TEXT.replace("roundrobin", "leastconn")).stamp != stamp
    assert parse(TEXT.replace("check inter 1s", "check inter 2s")).stamp != stamp
    text = stamped(TEXT, stamp)
    assert f"global\n    setenv CONFD_PY_CONFIG {stamp}\n" in text
    assert parse(text).stamp == stamp


def test_stamped_makes_a_global_section_if_there_is_none() -> None:
    assert stamped("backend b\n", "x").startswith("global\n    setenv CONFD_PY_CONFIG x\n")


@given(st.text())
def test_parse_never_fails(text: str) -> None:
    parse(text)


@pytest.mark.parametrize(
    ("line", "dynamic"), [("a 10.0.0.1:80", True), ("a [::1]:80", True), ("a host:80", False), ("a /run/x", False)]
)
def test_dynamic(line: str, dynamic: bool) -> None:
    server = read_server((), line)
    assert server is not None
    assert server.dynamic is dynamic


SERVER = Server("s", "10.0.0.1:80", 100, ("check", "downinter", "5s"))
DISABLED = Server("s", "10.0.0.1:80", 100, ("check", "disabled"))
UP = Seen(1, "10.0.0.1:80", 2, 0, 100, False)


@pytest.mark.parametrize(
    ("wanted", "seen", "tended", "expected"),
    [
        ({"s": SERVER}, {"s": UP}, (), []),
        ({"s": SERVER}, {}, (), [Add]),
        ({}, {"s": UP}, (), [Remove]),
        ({"s": SERVER}, {"s": Seen(1, "10.0.0.9:80", 2, 0, 100, False)}, (), [Remove]),
        ({"s": SERVER}, {"s": Seen(1, "10.0.0.9:80", 2, 0, 100, True)}, (), []),
        ({"s": SERVER}, {"s": Seen(1, "10.0.0.1:80", 0, 1, 100, False)}, (), [Remove]),
        ({"s": SERVER}, {"s": Seen(1, "10.0.0.1:80", 2, 8, 100, False)}, (), [Admit]),
        ({"s": DISABLED}, {"s": Seen(1, "10.0.0.1:80", 0, 1, 100, False)}, (), []),
        ({"s": DISABLED}, {"s": UP}, (), [Remove]),
        ({"s": SERVER}, {"s": Seen(1, "10.0.0.1:80", 2, 0, 0, False)}, (), [Weigh]),
        ({"s": SERVER}, {"s": Seen(1, "10.0.0.1:80", 2, 8, 100, False)}, (("b", "s"),), []),
        ({}, {"s": Seen(1, "10.0.0.1:80", 2, 1, 100, False)}, (("b", "s"),), []),
    ],
)
def test_plan(
    wanted: dict[str, Server], seen: dict[str, Seen], tended: tuple[Key, ...], expected: list[type[Action]]
) -> None:
    actions = plan("b", wanted, seen, tended)
    assert [type(action) for action in actions] == expected
    moved = [a for a in actions if isinstance(a, Remove) and wanted]
    assert all(a.successor == wanted["s"] for a in moved)


def test_at_every_moment_of_a_change_of_weights_somebody_takes_requests() -> None:
    first, second = (Server(name, f"10.0.0.{n}:80", 100 * (n == 2), ()) for n, name in enumerate("ab", 1))
    seen = {"a": Seen(1, "10.0.0.1:80", 2, 0, 100, False), "b": Seen(2, "10.0.0.2:80", 2, 0, 0, False)}
    found = plan("b", {"a": first, "b": second}, seen, ())
    assert found == (Weigh(("b", "b"), 100), Weigh(("b", "a"), 0))


def test_add_command_admits_by_a_check_that_comes_at_once() -> None:
    assert add_command(("b", "s"), SERVER, quick=True) == (
        "add server b/s 10.0.0.1:80 check downinter 2ms weight 100;enable health b/s;set server b/s state drain"
    )
    assert "check downinter 5s weight 100;" in add_command(("b", "s"), SERVER, quick=False)


def test_add_command_leaves_a_disabled_server_in_maintenance() -> None:
    assert add_command(("b", "s"), DISABLED, quick=False) == "add server b/s 10.0.0.1:80 check disabled weight 100"


@pytest.mark.parametrize("server", [Server("s", "1.1.1.1:1", 0, ("check",)), Server("s", "1.1.1.1:1", 9, ())])
def test_add_command_needs_no_admission_without_check_or_weight(server: Server) -> None:
    assert add_command(("b", "s"), server, quick=True).endswith(";set server b/s state ready")


@pytest.mark.parametrize(
    ("status", "quick", "age_s", "expected"),
    [("INI", True, 0.04, True), ("INI", True, 0.02, False), ("* INI", True, 9, False), ("INI", False, 9, False)],
)
def test_overlooked(status: str, quick: bool, age_s: float, expected: bool) -> None:
    item = Admission(("b", "s"), "3 4 1", SERVER, quick, 100.0)
    assert overlooked({"check_status": status}, item, 100.0 + age_s) is expected


@pytest.mark.parametrize(
    ("status", "check", "good"),
    [
        ("DRAIN", "L7OK", True),
        ("DRAIN", "* L7OK", True),
        ("DRAIN", "L4OK", True),
        ("DRAIN 1/2", "INI", False),
        ("DRAIN 1/2", "* INI", False),
        ("DRAIN 1/2", "L7OK", False),
        ("DOWN", "L7STS", False),
        ("DOWN 1/2", "L7OK", False),
        ("no check", "", True),
    ],
)
def test_admitted(status: str, check: str, good: bool) -> None:
    assert admitted({"status": status, "check_status": check}, SERVER) is good


def test_idle_needs_no_session_and_no_used_connection() -> None:
    assert idle({"scur": "0", "used_conn_cur": "0"})
    assert not idle({"scur": "1", "used_conn_cur": "0"})
    assert not idle({"scur": "0", "used_conn_cur": "2"})


def test_next_look_slows_down_with_age() -> None:
    item = Admission(("b", "s"), "3 4 1", SERVER, True, 100.0)
    assert [next_look_s(item, 100.0 + age) for age in (0, 0.5, 5, 60)] == [0.002, 0.02, 0.1, 0.5]


ROW = "3 web.80 {id} {name} {ip} {op} {admin} {weight} 100 1 6 3 2 6 0 0 0 - {port} - 0 0 - - 0"


def row(name: str, ip: str, *, op: int = 2, admin: int = 0, weight: int = 100) -> str:
    return ROW.format(id=1, name=name, ip=ip, op=op, admin=admin, weight=weight, port=80)


def test_parse_state() -> None:
    found = parse_state(HEADER + row("web.1", "10.0.0.1", op=0, admin=8, weight=7) + "\n" + row("six", "fe80::1"))
    assert found["web.80"]["web.1"] == Seen(1, "10.0.0.1:80", 0, 8, 7, False, 3)
    assert found["web.80"]["six"].address == "[fe80::1]:80"


def test_state_file_keeps_the_known_and_closes_the_new() -> None:
    rows = [row("web.1", "10.0.0.1", op=0, weight=3), row("web.2", "10.0.0.99"), row("gone", "10.0.0.7")]
    out = parse_state(state_file(HEADER + "\n".join(rows), parse(TEXT)))
    web = out["web.80"]
    assert (web["web.1"].operational, web["web.1"].admin, web["web.1"].weight) == (0, 0, 100)
    assert web["web.2"].in_maintenance  # it moved
    assert "gone" not in web
    assert "both" not in out  # not checked, so nothing could let it in


def test_state_file_knows_the_servers_of_a_backend_that_was_renamed() -> None:
    dump = (
        HEADER
        + row("web.1", "10.0.0.1").replace("web.80", "old")
        + "\n"
        + row("web.2", "10.9.9.9").replace("web.80", "old")
    )
    web = parse_state(state_file(dump, parse(TEXT)))["web.80"]
    assert web["web.1"].operational == 2 and not web["web.1"].in_maintenance
    assert web["web.2"].in_maintenance  # another address: another server


def test_state_file_does_not_hand_on_drain_and_maintenance() -> None:
    out = parse_state(state_file(HEADER + row("web.1", "10.0.0.1", admin=8), parse(TEXT)))
    assert out["web.80"]["web.1"].in_maintenance


def test_stat_rows() -> None:
    assert list(stat_rows("# pxname,svname,scur\nb,s,0\n\n")) == [{"pxname": "b", "svname": "s", "scur": "0"}]


def test_drained_between() -> None:
    after = TEXT.replace("server web.1 10.0.0.1:80", "server web.1 10.0.0.8:80").replace(
        "web.2 10.0.0.2:80 weight 0", ""
    )
    assert drained_between(parse(TEXT), parse(TEXT)) == set()
    assert drained_between(parse(TEXT), parse(after)) == {("web.80", "web.1")}
    assert drained_between(parse(TEXT), parse("global\n")) == {("web.80", "web.1"), ("both", "a")}
    assert drained_between(parse("global\n"), parse(TEXT)) == set()


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ("timeout http-keep-alive 10s", 10.0),
        ("timeout client 2m", 120.0),
        ("timeout client 60s\n  timeout http-keep-alive 500", 0.5),
        (
            "timeout http-keep-alive 75s\nfrontend a\n  timeout http-keep-alive 2s\nfrontend b\n  timeout client 90s",
            75.0,
        ),
        ("timeout http-keep-alive 10s\nfrontend a\n  timeout http-keep-alive 75000ms\nfrontend b", 75.0),
        ("mode http", 60.0),
    ],
)
def test_longest_idle(lines: str, seconds: float) -> None:
    assert longest_idle_s(parse(f"defaults\n  {lines}\n")) == seconds


def test_parse_processes_of_two_generations() -> None:
    old = (
        "#<PID> <type> <reloads> <uptime> <version>\n"
        "10 master 3 [failed: 1] 0d00h00m08s 2.6.12\n# workers\n12 worker 1 0d00h00m02s 2.6.12\n# old workers\n"
        "11 worker 2 0d00h00m08s 2.6.12\n# programs\n"
    )
    assert parse_processes(old) == Processes(10, 3, 1, 12, 2.0, (11,))
    new = "10 master 0 0d00h00m08s 3.0.1\n# workers\n12 worker 0 1d02h03m04s 3.0.1\n# programs\n"
    assert parse_processes(new) == Processes(10, 0, 0, 12, 93784.0, ())


def test_what_is_not_understood_is_structure() -> None:
    head = "global\nbackend a\n    server s 10.0.0.1:80\n"
    odd = [
        'server "t" 10.0.0.2:80',
        "server t 10.0.0.2:80 weight 1x",
        "server-template t 2 10.0.0.2:80",
        '"server" t x:1',
    ]
    for line in odd:
        assert parse(f"{head}    {line}\n").backends == {}
        assert parse(f"{head}    {line}\nbackend b\n server u 10.0.0.3:80\n").backends.keys() == {"b"}
    assert parse(f"{head}.if defined(X)\n.endif\n").backends == {}
    assert parse('defaults\n default-server sni "x y"\nbackend a\n server s 10.0.0.1:80\n').backends == {}
    assert parse("backend a from absent\n server s 10.0.0.1:80\n").backends == {}


def test_tabs_comments_indents_and_named_defaults() -> None:
    text = (
        "defaults one\n default-server check\ndefaults two from one # more\n default-server maxconn 3\n"
        "  backend\ta\tfrom\tone\n\tserver\ts\t10.0.0.1:80 weight 5#c\n"
        "backend b\n server s 10.0.0.1:80\ndefaults\nbackend c\n server s 10.0.0.1:80\n"
    )
    backends = parse(text).backends
    assert (backends["a"]["s"].words, backends["a"]["s"].weight) == (("check",), 5)
    assert backends["b"]["s"].words == ("check", "maxconn", "3")
    assert backends["c"]["s"].words == ()
