"""Templates: confd's functions, and that no value can add a line or a directive to haproxy.cfg."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confd_py.errors import ConfdError, UnsafeValue
from confd_py.escape import haproxy_quote, haproxy_token, json_quote, nginx_token, shell_quote
from confd_py.haproxy.config import parse
from confd_py.keyspace import KeySpace
from confd_py.render import Renderer

SHIPPED = Path(__file__).parents[3] / "templates/haproxy/templates"
EVERYWHERE = {"HECD_HAPROXY_BIND": "*"}  # whether or not this machine has IPv6
GOLDEN = Path(__file__).parents[2] / "golden/haproxy"
KEYS = {
    "/app/name": "web", "/app/port": "8080", "/svc/web/1": "b:80", "/svc/web/2": "a:80", "/svc/api/1": "c:90",
    "/svc/list": "leaf", "/json": '{"a": [1, "x"]}', "/arr": "[1, 2]", "/bad": "{",
}  # fmt: skip


def render(tmp_path: Path, template: str, values: dict[str, str] | None = None, target: str = "plain") -> str:
    (tmp_path / "t.j2").write_text(template)
    return Renderer(tmp_path, "t.j2", target, KeySpace(KEYS if values is None else values), {"HOME": "/h"}).render()


@pytest.mark.parametrize(
    ("template", "output"),
    [
        ('{{ getv("/app/name") }}', "web"),
        ('{{ getv("/nope", "d") }}', "d"),
        ('{{ get("/app/name").Key }}={{ get("/app/name").Value }}', "/app/name=web"),
        ('{{ exists("/app") }} {{ exists("/app/name") }}', "False True"),
        ('{% for kv in gets("/svc/*/*") %}{{ kv.Value }} {% endfor %}', "c:90 b:80 a:80 "),
        ('{{ join(getvs("/svc/web/*"), ",") }}', "a:80,b:80"),
        ('{{ gets("/none/*") }}', "[]"),
        ('{{ ls("/svc") }}', "['api', 'list', 'web']"),
        ('{{ lsdir("/svc") }}', "['api', 'web']"),
        ('{{ ls("/") }}', "['arr', 'bad', 'json']"),
        ('{{ ls("/svc/web/") }}', "['1', '2']"),
        ('{{ json(getv("/json")).a[1] }}{{ jsonArray(getv("/arr"))[0] }}', "x1"),
        ('{{ getenv("HOME") }}{{ getenv("NOPE", "d") }}', "/hd"),
        ('{{ base("/a/b") }} {{ dir("/a/b") }} {{ base("") }} {{ dir("a") }}', "b /a . ."),
        ('{{ split("a,b", ",") }}', "['a', 'b']"),
        ('{{ replace("aaa", "a", "b", 2) }}{{ replace("aa", "a", "b", -1) }}', "bbabb"),
        ('{{ toUpper("x") }}{{ toLower("Y") }}{{ contains("abc", "b") }}', "XyTrue"),
        ("{{ add(1, 2) }} {{ sub(1, 2) }} {{ mul(2, 3) }} {{ div(-7, 2) }} {{ mod(-7, 2) }}", "3 -1 6 -3 -1"),
        ("{{ seq(1, 3) }} {{ seq(3, 1) }}", "[1, 2, 3] []"),
        ('{{ base64Encode("hi") }} {{ base64Decode("aGk=") }}', "aGk= hi"),
        ('{{ parseBool("T") }} {{ atoi("42") }} {{ trimSuffix("a.b", ".b") }}', "True 42 a"),
        ("{{ reverse([1, 2]) }} {{ sortByLength(['bb', 'a']) }} {{ map('a', 1).a }}", "[2, 1] ['a', 'bb'] 1"),
    ],
)
def test_functions(tmp_path: Path, template: str, output: str) -> None:
    assert render(tmp_path, template) == output


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("a\n{{ nope }}", "t.j2:2: 'nope' is undefined"),
        ('{{ getv("/nope") }}', "t.j2:1: key does not exist: /nope"),
        ('{{ json(getv("/bad")) }}', "this is not JSON"),
        ("\n\n{% if %}", "t.j2:3:"),
        ("{{ 1 / 0 }}", "t.j2:1: division by zero"),
        ("{{ ''.__class__ }}", "t.j2:1: access to attribute '__class__'"),
        ('{% include "gone.j2" %}', "there is no template gone.j2"),
        ('{{ json(getv("/json")).update({}) }}', "t.j2:1:"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, template: str, words: str) -> None:
    with pytest.raises(ConfdError) as caught:
        render(tmp_path, template)
    assert words in caught.value.brief


@pytest.mark.parametrize("name", ["t.j2", "t.tmpl"])
def test_a_value_that_is_refused_is_told_with_its_key(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('\n{{ getv("/v/2") }}' if name == "t.j2" else '\n{{getv "/v/2"}}')
    keys = KeySpace({"/v/1": "a", "/v/2": "b c", "/v/3": "xb cx"})
    with pytest.raises(UnsafeValue) as caught:
        Renderer(tmp_path, name, "haproxy", keys, {}).render()
    assert caught.value.details == ("in t.j2:2" if name == "t.j2" else "in t.tmpl", "from /v/2")


def test_a_part_of_a_value_that_is_refused_is_told_with_the_first_keys_that_hold_it(tmp_path: Path) -> None:
    values = {f"/v/{number}": '{"a": "b c"}' for number in range(5)}
    with pytest.raises(UnsafeValue) as caught:
        render(tmp_path, '{{ json(getv("/v/0")).a }}', values, "nginx")
    assert caught.value.details == ("in t.j2:1", "from /v/0", "from /v/1", "from /v/2")


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ('{{ lookupIP("a.b") }}', True),
        ('{% import "other.j2" as other %}', True),
        ('{% extends "other.j2" %}', True),
        ('{% from "other.j2" import a %}', True),
        ('{{ "}" ~ include("other.j2") }}', True),
        ('{{ getv("/a") }}', False),
        ('{% if true %}include mime.types;{% endif %}\ninclude {{ getv("/a") }};', False),
    ],
)
def test_what_may_ask_name_servers_is_rendered_apart(tmp_path: Path, text: str, asks: bool) -> None:
    (tmp_path / "t.j2").write_text(text)
    assert Renderer(tmp_path, "t.j2", "", KeySpace({}), {}).asks_network is asks


WORDS = st.text() | st.sampled_from(
    ["a\nserver x", "a b", "a\r", "\x00", "#", "'", '"', "\\", "a\u2028b", "\x85", "\ud800", "x;y", "{", "$HOME"]
)


def is_word(text: str) -> bool:
    return bool(text) and not any(c.isspace() or ord(c) < 32 or 127 <= ord(c) < 160 or c in "#'\"\\" for c in text)


@given(WORDS)
def test_haproxy_token_is_one_word_or_refused(value: str) -> None:
    try:
        token = haproxy_token(value)
    except UnsafeValue:
        assert not is_word(value) or "\ud800" <= max(value) <= "\udfff" or "\u2028" in value or "\u2029" in value
    else:
        assert token == value
        assert is_word(token)


@given(WORDS)
def test_quoting_filters_never_give_a_second_line(value: str) -> None:
    for quote in (haproxy_quote, shell_quote, json_quote, nginx_token):
        try:
            quoted = quote(value)
        except UnsafeValue:
            continue
        assert len(quoted.splitlines()) == 1 or not quoted


PATHS = (
    '{{ getv("/v") }}',
    '{{ getv("/v") | upper }}',
    '{{ getv("/v") ~ "x" }}',
    '{{ "%s" | format(getv("/v")) }}',
    '{{ [getv("/v"), "x"] | join(",") }}',
    "{% set x = getv('/v') %}{{ x }}",
    "{% macro m(x) %}{{ x }}{% endmacro %}{% call m(getv('/v')) %}{% endcall %}",
    "{% for c in gets('/*') %}{{ c.Value }}{% endfor %}",
    '{{ split(getv("/v"), ",")[0] }}',
    '{{ getv("/v") | haproxy_token }}',
    '{{ json(getv("/j")).k }}',
    '{{ json(getv("/j")).k | haproxy_token }}',
    '{{ json(getv("/j")) }}',
)


@given(value=WORDS, path=st.sampled_from(PATHS))
def test_no_value_adds_a_line_or_a_word(value: str, path: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "property"
    folder.mkdir(exist_ok=True)
    values = {"/v": value, "/j": json.dumps({"k": value})} if "json" in path else {"/v": value}
    try:
        text = render(folder, f"    server a {path} check\n", values, "haproxy")
    except ConfdError:
        return
    assert len(text.splitlines()) == 1
    assert len(text.split()) in (3, 4)
    assert "#" not in text


NAMES = st.text(max_size=12) | st.sampled_from(["web.1\n server evil 6.6.6.6:80", "a b", "web.1", "10.0.0.1:80", "/h"])


@given(name=NAMES, address=NAMES, path=NAMES, host=NAMES, balance=NAMES, prefix=NAMES)
def test_no_record_changes_the_shipped_configuration_beyond_its_place(
    name: str, address: str, path: str, host: str, balance: str, prefix: str
) -> None:
    port = {"published": 8080, "target": 80, "mode": "http", "hostnames": [host], "paths": [prefix]}
    traffic = {"ports": [port], "balance": balance, "check": {"path": path}}
    instance = {"instance": name, "endpoints": {"80": address}, "state": "running", "health": "healthy", "weight": 1}
    values = {
        "/services/web": json.dumps({"service": "web", "traffic": traffic}),
        "/instances/web/web.1": json.dumps(instance),
    }
    try:
        text = Renderer(SHIPPED, "haproxy.cfg.j2", "haproxy", KeySpace(values), EVERYWHERE).render()
    except ConfdError:
        return
    good = {"ports": [{**port, "hostnames": ["h"], "paths": ["/p"]}], "balance": "roundrobin", "check": {"path": "/h"}}
    values["/services/web"] = json.dumps({"service": "web", "traffic": good})
    values["/instances/web/web.1"] = json.dumps({**instance, "instance": "web.1", "endpoints": {"80": "1.1.1.1:80"}})
    model = Renderer(SHIPPED, "haproxy.cfg.j2", "haproxy", KeySpace(values), EVERYWHERE).render()

    def directives(lines: str) -> list[str]:
        words = [line.split()[0] for line in lines.splitlines() if line.strip()]
        return [w for w in words if w not in ("hash-type", "option", "http-check")]

    assert directives(text) == directives(model)
    assert len(parse(text).backends["web.80"].keys() - {"hecd-hold", "hecd-sorry"}) == 1


def record(service: str, number: int, **changes: object) -> str:
    base = {
        "instance": f"{service}.{number}", "service": service, "release": 1, "node": "n1", "state": "running",
        "endpoints": {"80": f"10.87.0.{number}:80"}, "health": "healthy", "weight": 100, "reason": "",
    }  # fmt: skip
    return json.dumps({**base, **changes})


def service(name: str, *ports: dict[str, object], **traffic: object) -> str:
    check = {"path": "/health", "interval_s": 1.0, "timeout_s": 1.0, "rise": 1, "fall": 2}
    whole = {"ports": list(ports), "balance": "roundrobin", "drain_timeout_s": 10.0, "check": check, **traffic}
    return json.dumps({"service": name, "release": 1, "replicas": 2, "traffic": whole})


def port(
    published: int, mode: str = "http", hostnames: tuple[str, ...] = (), target: int = 80, **more: object
) -> dict[str, object]:
    return {"published": published, "target": target, "mode": mode, "hostnames": list(hostnames), **more}


CASES = {
    "empty": {},
    "one": {
        "/services/web": service("web", port(8080)),
        "/instances/web/web.1": record("web", 1),
        "/instances/web/web.2": record("web", 2, state="draining"),
        "/instances/web/web.3": record("web", 3, state="starting"),
        "/instances/web/web.4": record("web", 4, health="unhealthy"),
        "/instances/web/web.5": record("web", 5, weight=1),
    },
    "held": {
        "/services/web": service("web", port(8080)),
        "/instances/web/web.1": record("web", 1),
        "/holds/web/operator": json.dumps({"service": "web", "owner": "operator", "kind": "wait", "since": 1.0}),
        "/services/shop": service("shop", port(8081)),
        "/instances/shop/shop.1": record("shop", 1),
        "/holds/shop/operator": json.dumps({"service": "shop", "owner": "operator", "kind": "sorry", "since": 1.0}),
        "/holds/shop/release": json.dumps({"service": "shop", "owner": "release", "kind": "wait", "since": 1.0}),
    },
    "canary": {
        "/services/web": service("web", port(8080)),
        "/rollouts/web": json.dumps({"service": "web", "release": 2, "weights": {"1": 99, "2": 1, "3": 0}}),
        "/instances/web/web.1": record("web", 1),
        "/instances/web/web.2": record("web", 2, release=2),
        "/instances/web/web.3": record("web", 3, release=3),
        "/instances/web/web.4": record("web", 4, release=1, state="draining"),
        "/instances/web/web.5": record("web", 5, release=0, weight=7),
    },
    "many": {
        "/services/api": service("api", port(8080, hostnames=("api.example", "*.wild.example")), balance="leastconn"),
        "/services/db": service("db", port(5432, "tcp"), check={"path": None}, balance="source-hash"),
        "/services/internal": service("internal"),
        "/services/mixed": service("mixed", port(7000, "tcp"), port(7001), port(8080, "tcp", target=90)),
        "/services/two": service("two", port(8080, hostnames=("two.example",)), port(9090, target=81)),
        "/services/web": service("web", port(8080, hostnames=())),
        "/instances/api/api.1": record("api", 1),
        "/instances/two/two.1": record("two", 1, endpoints={"80": "10.87.0.9:80", "81": "10.87.0.9:81"}),
    },
    "tls": {
        "/services/web": service("web", port(80), port(443), port(9, "tcp", target=9), tls={"port": 443, "hsts_s": 60}),
        "/services/shop": service("shop", port(81), port(8443, target=81), tls={"port": 8443, "redirect": False}),
        "/instances/web/web.1": record("web", 1),
    },
    "sticky": {
        "/services/web": service("web", port(80), sticky={"cookie": "SID", "max_idle_s": 1800.0, "max_life_s": 0.2}),
        "/services/shop": service("shop", port(443), tls={"port": 443}, sticky={"cookie": "hecd-shop"}),
        "/rollouts/web": json.dumps({"service": "web", "release": 2, "weights": {"1": 99, "2": 0}}),
        "/instances/web/web.1": record("web", 1),
        "/instances/web/web.2": record("web", 2, state="draining"),
        "/instances/web/web.3": record("web", 3, release=2),
        "/instances/shop/shop.1": record("shop", 1),
        "/holds/shop/operator": json.dumps({"service": "shop", "owner": "operator", "kind": "wait", "since": 1.0}),
    },
    "limits": {
        "/services/web": service(
            "web",
            port(80),
            retries={"attempts": 1, "on": ["503", "response-timeout", "junk-response", "nonsense"]},
            timeouts={"connect_s": 0.5, "response_s": 30.0, "queue_s": 5.0, "tunnel_s": 7200.0, "idle_s": 75.0},
            limits={"connections": 50, "requests": 100, "per_s": 10.0, "body_bytes": 10485760},
        ),
        "/services/usual": service(
            "usual",
            port(81),
            retries={"attempts": 3, "on": []},
            timeouts={"connect_s": 2.0, "response_s": 60.0, "queue_s": 10.0, "tunnel_s": 3600.0, "idle_s": 10.0},
            limits={"connections": 0, "requests": 0, "per_s": 0.0, "body_bytes": 0},
            tls=None,
            sticky=None,
            slow_start_s=0.0,
            outliers=None,
        ),
        "/services/raw": service(
            "raw", port(90, "tcp"), retries={"attempts": 0}, timeouts={"tunnel_s": 60.0}, limits={"connections": 9}
        ),
        "/instances/web/web.1": record("web", 1),
        "/instances/usual/usual.1": record("usual", 1),
        "/instances/raw/raw.1": record("raw", 1),
    },
    "outliers": {
        "/services/web": service(
            "web",
            port(80),
            slow_start_s=10.0,
            outliers={"errors": 5, "for_s": 30.0},
            limits={"connections": 9},
            timeouts={"response_s": 5.0},
        ),
        "/services/shop": service("shop", port(81), outliers={"errors": 10}, check={"interval_s": 0.1, "rise": 2}),
        "/services/raw": service("raw", port(90, "tcp"), outliers={"errors": 5}, slow_start_s=0.5),
        "/instances/web/web.1": record("web", 1),
        "/instances/web/web.2": record("web", 2, state="draining"),
        "/instances/shop/shop.1": record("shop", 1),
        "/instances/raw/raw.1": record("raw", 1),
        "/holds/shop/operator": json.dumps({"service": "shop", "owner": "operator", "kind": "wait", "since": 1.0}),
    },
    "paths": {
        "/services/api": service("api", port(80, hostnames=("h.example",), paths=["/api", "/b"], strip_path=True)),
        "/services/deep": service("deep", port(80, paths=["/api/v2", "/c"])),
        "/services/web": service("web", port(80, hostnames=("*.example", "h.example"))),
        "/instances/api/api.1": record("api", 1),
        "/instances/deep/deep.1": record("deep", 1),
        "/instances/web/web.1": record("web", 1),
    },
}


@pytest.mark.parametrize("name", CASES)
def test_shipped_template_against_the_golden_file(name: str) -> None:
    """HECD_GOLDEN=write writes them anew; read the difference before it is committed."""
    text = Renderer(SHIPPED, "haproxy.cfg.j2", "haproxy", KeySpace(CASES[name]), EVERYWHERE).render()
    golden = GOLDEN / f"{name}.cfg"
    if os.environ.get("HECD_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize(
    ("state", "release", "there"),
    [("warming", 2, {"web.1", "web.2"}), ("monitoring", 2, {"web.1"}), ("warming", 3, {"web.1"})],
)
def test_a_cookie_leads_to_no_instance_that_is_to_get_no_requests(state: str, release: int, there: set[str]) -> None:
    """But one of a release that is being warmed is there to be checked: nobody has its cookie."""
    values = {
        "/services/web": service("web", port(80), sticky={"cookie": "SID"}),
        "/rollouts/web": json.dumps({"service": "web", "release": release, "state": state, "weights": {"2": 0}}),
        "/instances/web/web.1": record("web", 1),
        "/instances/web/web.2": record("web", 2, release=2),
        "/instances/web/web.3": record("web", 3, release=2, state="draining"),
    }
    text = Renderer(SHIPPED, "haproxy.cfg.j2", "haproxy", KeySpace(values), EVERYWHERE).render()
    assert {name for name in parse(text).backends["web.80"] if not name.startswith("hecd-")} == there


def test_an_edit_during_a_rendering_waits_for_the_next(tmp_path: Path) -> None:
    """Renderings may run in a thread: what they use must not change under them."""
    (tmp_path / "t.tmpl").write_text('{{getv "/a"}}{{getv "/b"}}')

    renderer = Renderer(tmp_path, "t.tmpl", "plain", KeySpace({"/a": "1", "/b": "2"}), {})
    first = renderer._compiled, renderer._ops
    assert renderer.render() == "12"
    renderer.forget()
    assert (renderer._compiled, renderer._ops) == first
    (tmp_path / "t.tmpl").write_text("new")
    assert renderer.render() == "new"
