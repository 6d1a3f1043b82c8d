"""Template resources: confd's keys, ours, and what is refused."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

from confd_py.errors import ResourceFault
from confd_py.functions import environment_expander
from confd_py.notation import parse_duration_s
from confd_py.resource import Resource, parse_resource

SHIPPED = Path(__file__).parents[3] / "templates/haproxy/conf.d/haproxy.toml"


def parse(body: str, prefix: str = "", environ: dict[str, str] | None = None) -> Resource:
    text = f'[template]\nsrc = "t.j2"\ndest = "/x/y"\n{body}'
    return parse_resource("/c/conf.d/app.toml", text, prefix=prefix, expand=environment_expander(environ or {}))


def test_defaults_are_confds() -> None:
    found = parse('keys = ["/app"]')
    assert (found.name, found.keys, found.prefix, found.apply, found.format) == (
        "app", ("/app",), "/", "command", "plain",
    )  # fmt: skip
    assert found.guard_grace_s == 0
    assert found.applied_file == Path("/x/y.applied")


@pytest.mark.parametrize(
    ("own", "given", "keys"),
    [
        ("/b/", "", ("/b/c", "/b/d")),
        ("b", "", ("/b/c", "/b/d")),
        ("/b", "/a", ("/a/c", "/a/d")),
        ("", "a/", ("/a/c", "/a/d")),
        ("", "", ("/c", "/d")),
    ],
)
def test_the_given_prefix_replaces_the_resources_own_as_in_confd(own: str, given: str, keys: tuple[str, ...]) -> None:
    found = parse(f'prefix = "{own}"\nkeys = ["c", "/d/"]', prefix=given)
    assert found.keys == keys


def test_variables_of_commands_are_the_shells() -> None:
    text = """check_cmd = 'n=7; test "${n}" = 7'\nreload_cmd = "kill ${PID:-1}"\napplied_file = "${HERE:-/x}/z" """
    found = parse(text, environ={"n": "1"})
    assert (found.check_cmd, found.reload_cmd) == ('n=7; test "${n}" = 7', "kill ${PID:-1}")
    assert str(found.applied_file) == "/x/z"


def test_the_applied_state_has_a_file_of_its_own() -> None:
    with pytest.raises(ResourceFault, match=r"app\.toml:4: applied_file has to be another file than dest"):
        parse(f'applied_file = "{parse("").dest}"')


def test_keys_match_without_case_and_unknown_ones_are_left_alone() -> None:
    assert parse('Reload_Cmd = "x"\nfoo = 1').reload_cmd == "x"


@pytest.mark.parametrize(
    ("written", "mode", "warned"),
    [
        ("0644", 0o644, False),
        ("644", 0o644, True),
        ("0", 0, False),
        ("7", 0o7, False),
        ("600", 0o600, True),
        ("493", 0o755, True),
        ("999", 0o747, True),
        ("0_644", 0o644, False),
        ("01777", 0o777, True),
        ("0o640", 0o640, False),
        ("0O600", 0o600, False),
        ("0x1a4", 0o644, False),
        ("0b110", 0o6, False),
        ("04755", 0o755, True),
        ("0100644", 0o644, True),
    ],
)
def test_mode_is_octal_and_what_may_surprise_is_said(written: str, mode: int, warned: bool) -> None:
    found = parse(f'mode = "{written}"')
    assert found.mode == mode
    expected = f'/c/conf.d/app.toml:4: mode = "{written}" is read as {mode:04o}; '
    assert [told.startswith(expected) for told in found.warnings] == [True] * warned


def test_whether_a_mode_was_octal_or_decimal_is_told_with_what_to_write() -> None:
    assert parse('mode = "644"').warnings[0].endswith('confd takes it for decimal. Write "0644".')
    assert parse('mode = "04755"').warnings[0].endswith('beyond 0777 is cut off, as in confd. Write "0755".')
    assert parse('mode = "999"').warnings[0].endswith('it is decimal, as in confd. Write "0747".')


@pytest.mark.parametrize(
    "written", ['"rw"', '"0o"', '"0x"', '"08"', '"-1"', '"+7"', '"99999999999"', '" 644"', "0o644", "420"]
)
def test_what_is_no_mode_is_refused(written: str) -> None:
    with pytest.raises(ResourceFault, match=r"^/c/conf\.d/app\.toml:4: mode has to be"):
        parse(f"mode = {written}")


def test_owner_and_group_are_names_and_numbers_win() -> None:
    found = parse('owner = "root"\ngroup = "root"')
    assert (found.uid, found.gid, found.owner, found.group) == (0, 0, "root", "root")
    found = parse('owner = "nobody"\nuid = 7\ngroup = "12"')
    assert (found.uid, found.gid) == (7, 12)
    assert (parse("").uid, parse("").gid) == (-1, -1)


def test_guards_and_waits() -> None:
    found = parse('min_servers = 2\nmax_shrink = "50%"\ndebounce = "200ms"\nmin_reload_interval = 5')
    assert (found.min_servers, found.max_shrink, found.debounce_s, found.min_reload_interval_s) == (2, 0.5, 0.2, 5.0)
    found = parse("max_shrink = 0.25")
    assert (found.min_servers, found.max_shrink, found.debounce_s) == (0, 0.25, 0.0)
    assert parse("").max_shrink == 1.0


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("keys = 5", ":4: keys has to be a list of strings, not 5"),
        ('\nuid = "root"', ":5: uid has to be a whole number"),
        ('owner = "no-such-user"', ":4: owner 'no-such-user' is not known on this host"),
        ('group = "no-such-group"', ":4: group 'no-such-group' is not known on this host"),
        ('apply = "magic"', ":4: apply has to be one of command, haproxy"),
        ('format = "xml"', ":4: format has to be one of"),
        ('guard_grace = "soon"', ":4: guard_grace has to be seconds or a duration"),
        ("debounce = 1e300", ":4: debounce has to be seconds or a duration"),
        ('debounce = "9999999h"', ":4: debounce has to be seconds or a duration"),
        ("debounce = true", ":4: debounce has to be seconds"),
        ("debounce = inf", ":4: debounce has to be seconds"),
        ('max_shrink = "120%"', ":4: max_shrink has to be a share"),
        ("max_shrink = nan", ":4: max_shrink has to be a share"),
        ("max_shrink = true", ":4: max_shrink has to be a share"),
        ("min_servers = -1", ":4: min_servers has to be 0 or more"),
        ("RELOAD_CMD = true", ":4: reload_cmd has to be a string"),
        ('[template.haproxy]\nsoket = "/x"', ":5: template.haproxy.soket is not known"),
        ('[template.haproxy]\ncheck_interval = "x"', ":5: check_interval has to be seconds"),
        ("haproxy = 5", ":4: template.haproxy has to be a table"),
        ("keys = [", ":4:9: this is not TOML: "),
        ("a =\nb = 1", ":4:4: this is not TOML: Invalid value"),
        ('src = "again"', ":4:14: this is not TOML: Cannot overwrite a value"),
    ],
)
def test_faults_name_file_and_line(body: str, told: str) -> None:
    with pytest.raises(ResourceFault) as caught:
        parse(body)
    assert caught.value.brief.startswith("/c/conf.d/app.toml" + told)
    assert "\n" not in caught.value.brief
    assert caught.value.hint


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
        (".s", None),
        ("inf", None),
        ("nan", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert parse_duration_s(text) == seconds


def test_the_shipped_resource_takes_its_places_from_the_environment() -> None:
    environ = {"HECD_HAPROXY_RUN": "/r", "HECD_HAPROXY_CFG": "/r/h.cfg", "HECD_GUARD_GRACE": "5s"}
    found = parse_resource(str(SHIPPED), SHIPPED.read_text(), prefix="", expand=environment_expander(environ))
    assert (found.dest, *astuple(found.haproxy.places[0])) == (
        Path("/r/h.cfg"), "/r/admin.sock", "/r/master.sock", "/r/state",
    )  # fmt: skip
    keys = ("/hecd/services", "/hecd/instances", "/hecd/rollouts", "/hecd/holds")
    assert (found.keys, found.guard_grace_s) == (keys, 5.0)
    debian = parse_resource(str(SHIPPED), SHIPPED.read_text(), prefix="", expand=environment_expander({}))
    assert (str(debian.dest), debian.haproxy.places[0].socket) == (
        "/etc/haproxy/haproxy.cfg",
        "/run/haproxy/admin.sock",
    )


def test_unknown_keys_are_told_with_what_may_be_meant() -> None:
    text = '[template]\nsrc = "a"\ndest = "b"\nreload_cmdd = "x"\nzzz = 1\nkeys = []\nuid = 0\nmin_servers = 1\n'
    warnings = parse_resource("r.toml", text, prefix="", expand=str).warnings
    assert sorted(warnings) == [
        "r.toml:4: reload_cmdd is not known and passed over; is reload_cmd meant?",
        "r.toml:5: zzz is not known and passed over",
    ]


@pytest.mark.parametrize("line", ["uid = -5", "uid = 4294967295", "gid = 99999999999999999999", 'owner = "5000000000"'])
def test_ids_that_no_file_can_have_are_refused(line: str) -> None:
    with pytest.raises(ResourceFault, match=r"app\.toml:\d: [ug]id has to be from 0 to 4294967294, not "):
        parse(line)


def test_a_store_of_its_own_is_refused_not_passed_over() -> None:
    with pytest.raises(ResourceFault, match=r"app\.toml:4: a resource with a \[backend\] of its own is not served"):
        parse('[backend]\nbackend = "vault"')


def test_a_time_limit_of_zero_is_none_as_in_the_fork() -> None:
    found = parse('check_cmd_timeout = "0s"\nreload_cmd_timeout = 0')
    assert (found.check_cmd_timeout_s, found.reload_cmd_timeout_s) == (float("inf"), float("inf"))
