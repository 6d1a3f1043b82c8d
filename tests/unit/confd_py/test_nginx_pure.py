"""nginx.conf, nginx's log and the kernel's table of sockets, as far as the applier reads them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from confd_py.errors import NginxAway, ResourceFault
from confd_py.nginx.config import Address, final, listens, refusals, stamp_of, stamped, words_of_check
from confd_py.nginx.generation import find_master, hang_up
from confd_py.nginx.listening import Listener, parse
from confd_py.resource import NginxSettings, Resource, parse_resource

STATUS = "127.0.0.1:8405"


def test_the_stamp_goes_first_into_http() -> None:
    text = "# http {\nevents {}\nhttp {\n    server { listen 80; }\n}\n"
    found = stamped(text, stamp_of(text), STATUS)
    before, _, after = found.partition(f'return 200 "$pid {stamp_of(text)}\\n"')
    assert before.startswith("# http {\nevents {}\nhttp {\n")
    assert f"listen {STATUS};" in before
    assert after.endswith("    server { listen 80; }\n}\n")


def test_a_text_without_http_gets_one() -> None:
    assert stamped("events {}\n", "s", STATUS).startswith("events {}\n\nhttp {\n")


def test_texts_that_differ_have_other_stamps() -> None:
    assert stamp_of("a") != stamp_of("a\n")
    assert stamp_of("a") == stamp_of("a")


LOG = """\
2026/11/27 03:30:24 [notice] 41#41: signal 1 (SIGHUP) received from 9, reconfiguring
2026/11/27 03:30:24 [emerg] 41#41: bind() to 127.0.0.1:80 failed (98: Address already in use)
2026/11/27 03:30:24 [emerg] 42#42: a check of somebody else
2026/11/27 03:30:25 [alert] 41#41: worker process 43 exited on signal 9
2026/11/27 03:30:25 [emerg] 41#41: bind() to 127.0.0.1:80 failed (98: Address already in use)
"""


def test_the_masters_own_words() -> None:
    assert refusals(LOG, 41) == ("bind() to 127.0.0.1:80 failed (98: Address already in use)",)
    assert not final(refusals(LOG, 41))
    assert final(refusals(LOG + "2026/11/27 03:30:26 [emerg] 41#41: still could not bind()\n", 41))


def test_the_words_of_a_check_name_the_final_file() -> None:
    lines = ('2026/11/27 03:30:24 [emerg] 9#9: no "x" in /e/.n1:5', "nginx: configuration file /e/.n1 test failed")
    assert words_of_check(lines, "/e/.n1", "/e/n") == ('no "x" in /e/n:5', "configuration file /e/n test failed")
    assert words_of_check(("nginx: [warn] a",), "/e/.n1", "/e/n") == ("a",)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("listen 80;", [("0.0.0.0", 80)]),
        ("listen *:80 default_server;\nlisten 80;", [("0.0.0.0", 80)]),
        ("server{listen 127.0.0.1:81;}", [("127.0.0.1", 81)]),
        ("listen 10.0.0.1;", [("10.0.0.1", 80)]),
        ("listen [::]:80 ipv6only=on; listen [0:0::1];", [("::", 80), ("::1", 80)]),
        ("listen unix:/run/x.sock; listen name:80; listen 53 udp;", []),
        ("# listen 80;\nx; # listen 81;\nreturn 200 a#b; listen 82;", [("0.0.0.0", 82)]),
        ("listening 80; proxy_pass http://listen;", []),
    ],
)
def test_where_a_text_listens(lines: str, found: list[tuple[str, int]]) -> None:
    assert [(address.host, address.port) for address in listens(lines)] == found


def test_the_kernels_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """One taken from a little-endian machine."""
    monkeypatch.setattr("sys.byteorder", "little")
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rest = "00000000:00000000 00:00000000 00000000     0        0 {} 1 0000000000000000 100 0 0 10 0\n"
    four = f"   0: 0100007F:1F90 00000000:0000 0A {rest.format(71)}"
    four += f"   1: 0100007F:1F91 00000000:0000 01 {rest.format(72)}"
    assert parse(head + four) == [Listener(Address("127.0.0.1", 8080), 71)]
    six = f"   0: 00000000000000000000000001000000:0050 {'0' * 32}:0000 0A {rest.format(73)}"
    assert parse(head + six) == [Listener(Address("::1", 80), 73)]


def test_nobody_but_nginx_is_taken_for_its_master(tmp_path: Path) -> None:
    """A pid file outlives a kill -9, and its pid becomes somebody else's."""
    pid_file = tmp_path / "pid"
    for text in ("", "x", str(2**22 + 1)):
        pid_file.write_text(text)
        with pytest.raises(NginxAway):
            find_master(str(pid_file))
    with subprocess.Popen(["sleep", "60"]) as other:
        pid_file.write_text(str(other.pid))
        with pytest.raises(NginxAway):
            find_master(str(pid_file))
        with pytest.raises(NginxAway):
            hang_up(other.pid)
        assert other.poll() is None
        other.kill()
    with pytest.raises(NginxAway):
        find_master(os.fspath(tmp_path / "none"))


def resource(lines: str) -> Resource:
    text = f'[template]\nsrc = "a"\ndest = "/x"\napply = "nginx"\n[template.nginx]\n{lines}\n'
    return parse_resource("c.toml", text, prefix="", expand=str)


def test_settings() -> None:
    assert resource("").nginx == NginxSettings()
    assert (resource("").format, resource("").guard_grace_s) == ("nginx", 60.0)
    found = resource('binary = "/n"\nreload_timeout = "3s"\nstatus = "[::1]:1"\nold_generations = 0').nginx
    assert found == NginxSettings(binary="/n", reload_timeout_s=3.0, status="[::1]:1", old_generations=0)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('pidfile = "/p"', r":6: template.nginx.pidfile is not known"),
        ('status = "8405"', r":6: status has to be an address like 127.0.0.1:8405, not '8405'"),
        ('reload_timeout = "soon"', r":6: reload_timeout has to be seconds"),
        ("old_generations = -1", r":6: old_generations has to be 0 or more"),
        ("binary = 5", r":6: binary has to be a string"),
    ],
)
def test_what_does_not_fit_is_refused(lines: str, fault: str) -> None:
    with pytest.raises(ResourceFault, match=fault):
        resource(lines)
