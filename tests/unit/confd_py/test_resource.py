"""Template resources: confd's keys, ours, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from confd_py.errors import ResourceFault
from confd_py.functions import environment_expander
from confd_py.resource import parse_duration_s, parse_resource

SHIPPED = Path(__file__).parents[3] / "templates/haproxy/conf.d/haproxy.toml"


def parse(body: str, prefix: str = "", environ: dict[str, str] | None = None):
    text = f'[template]\nsrc = "t.j2"\ndest = "/x/y"\n{body}'
    return parse_resource("/c/conf.d/app.toml", text, prefix=prefix, expand=environment_expander(environ or {}))


def test_defaults_are_confds() -> None:
    found = parse('keys = ["/app"]')
    assert (found.name, found.keys, found.prefix, found.apply, found.format) == (
        "app", ("/app",), "/", "command", "plain",
    )  # fmt: skip
    assert found.guard_grace_s == 0
    assert found.applied_file == Path("/x/y.applied")


def test_prefixes_are_joined() -> None:
    assert parse('prefix = "/b/"\nkeys = ["c", "/d/"]', prefix="a").keys == ("/a/b/c", "/a/b/d")


def test_keys_match_without_case_and_unknown_ones_are_left_alone() -> None:
    assert parse('Reload_Cmd = "x"\nfoo = 1').reload_cmd == "x"


@pytest.mark.parametrize(("written", "mode"), [('"0644"', 0o644), ('"644"', 0o644), ('"4755"', 0o4755)])
def test_mode_is_octal(written: str, mode: int) -> None:
    assert parse(f"mode = {written}").mode == mode


@pytest.mark.parametrize(
    "body",
    [
        "keys = 5",
        'mode = "rw"',
        'uid = "root"',
        'apply = "magic"',
        'format = "xml"',
        'guard_grace = "soon"',
        "reload_cmd = true",
        '[template.haproxy]\nsoket = "/x"',
        "keys = [",
    ],
)
def test_faults_name_the_file(body: str) -> None:
    with pytest.raises(ResourceFault) as caught:
        parse(body)
    assert caught.value.brief.startswith("/c/conf.d/app.toml: ")


@pytest.mark.parametrize("text", ["", "[other]", "[template]\nsrc='a'", "[template]\ndest='a'"])
def test_what_is_no_resource_is_refused(text: str) -> None:
    with pytest.raises(ResourceFault):
        parse_resource("x.toml", text, prefix="", expand=str)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("1m30s", 90.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        ("", None),
        ("5x", None),
        ("s", None),
        ("-1", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration_s(text) == seconds


def test_the_shipped_resource_takes_its_places_from_the_environment() -> None:
    environ = {"HECD_HAPROXY_RUN": "/r", "HECD_HAPROXY_CFG": "/r/h.cfg", "HECD_GUARD_GRACE": "5s"}
    found = parse_resource(str(SHIPPED), SHIPPED.read_text(), prefix="", expand=environment_expander(environ))
    assert (found.dest, found.haproxy.socket, found.haproxy.master_socket, found.haproxy.state_file) == (
        Path("/r/h.cfg"), "/r/admin.sock", "/r/master.sock", "/r/state",
    )  # fmt: skip
    assert (found.keys, found.guard_grace_s) == (("/hecd/services", "/hecd/instances"), 5.0)
    debian = parse_resource(str(SHIPPED), SHIPPED.read_text(), prefix="", expand=environment_expander({}))
    assert (str(debian.dest), debian.haproxy.socket) == ("/etc/haproxy/haproxy.cfg", "/run/haproxy/admin.sock")
