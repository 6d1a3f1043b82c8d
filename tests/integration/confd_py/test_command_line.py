"""confd-py as a person or a unit file starts it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.etcd_server import EtcdServer
from tests.integration.confd_py.parts import HEARD_S, ROOT, SOON_S, within


class Place:
    """A confdir with one resource over a file store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        (folder / "conf.d").mkdir()
        (folder / "templates").mkdir()
        self.values = folder / "values.yaml"
        self.values.write_text("app:\n  name: web\n")
        self.resource("t", 'name={{ getv("/app/name") }}\n', self.out)

    def resource(self, name: str, template: str, out: Path, more: str = "") -> None:
        (self.folder / "templates" / f"{name}.j2").write_text(template)
        text = f'[template]\nsrc = "{name}.j2"\ndest = "{out}"\nkeys = ["/app"]\n{more}'
        (self.folder / "conf.d" / f"{name}.toml").write_text(text)

    def argv(self, *words: str) -> list[str]:
        command = [word for word in words if word in ("check", "diff", "status")]
        flags = ["-backend", "file", "-file", str(self.values), "-confdir", str(self.folder)]
        return [sys.executable, "-m", "confd_py", *command, *flags, *(w for w in words if w not in command)]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.argv(*words), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_onetime_writes_and_ends(place: Place) -> None:
    done = place.run("-onetime")
    assert (done.returncode, place.out.read_text()) == (0, "name=web\n"), done.stderr


def test_onetime_from_the_environment(place: Place) -> None:
    argv = [sys.executable, "-m", "confd_py", "-onetime", "-backend", "env", "-confdir", str(place.folder)]
    environ = {**os.environ, "APP_NAME": "from-env"}
    subprocess.run(argv, cwd=ROOT, env=environ, check=True, timeout=60)
    assert place.out.read_text() == "name=from-env\n"


def test_a_broken_resource_stops_no_other(place: Place) -> None:
    place.resource("a", "{{ nope }}", place.folder / "a")
    (place.folder / "conf.d" / "b.toml").write_text("[template")
    done = place.run("-onetime")
    assert done.returncode == 1
    assert place.out.read_text() == "name=web\n"
    assert "a.j2:1: 'nope' is undefined" in done.stderr
    assert "b.toml:1:10: this is not TOML" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["gone.j2", "gone.tmpl"])
def test_a_template_that_is_not_there_is_named_by_who_names_it(place: Place, name: str) -> None:
    path = place.folder / "conf.d" / "t.toml"
    path.write_text(f'[template]\ndest = "{place.out}"\nsrc = "{name}"\nkeys = ["/"]\n')
    done = place.run("-onetime")
    told = f"{path}:3: there is no template {place.folder}/templates/{name}"
    assert (done.returncode, told in done.stderr) == (1, True), done.stderr


def test_files_that_begin_with_a_byte_order_mark(place: Place) -> None:
    path = place.folder / "conf.d" / "t.toml"
    path.write_text("\ufeff" + path.read_text())
    (place.folder / "confd.toml").write_text("\ufeffonetime = true\n")
    done = place.run("-config-file", str(place.folder / "confd.toml"))
    assert (done.returncode, place.out.read_text()) == (0, "name=web\n"), done.stderr


def test_noop_writes_nothing(place: Place) -> None:
    assert place.run("-onetime", "-noop").returncode == 0
    assert not place.out.exists()
    assert not Path(f"{place.out}.applied").exists()


def test_sync_only_runs_no_command(place: Place) -> None:
    place.resource("t", "x", place.out, f'check_cmd = "false"\nreload_cmd = "touch {place.folder}/reloaded"\n')
    assert place.run("-onetime", "-sync-only").returncode == 0
    assert place.out.read_text() == "x"
    assert not (place.folder / "reloaded").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["-h"], 0, "Usage of confd-py"),
        (["-nope"], 2, "flag provided but not defined: -nope"),
        (["-interval", "abc"], 2, 'invalid value "abc" for flag -interval'),
        (["-onetime", "-backend", "consul"], 1, "the store consul is not served"),
        (["-onetime", "-confdir", "/nonexistent"], 0, "there is no directory confdir=/nonexistent"),
        (["-onetime", "-confdir", "/usr"], 1, "there is no directory /usr/conf.d"),
        (["-onetime", "-file", "/nonexistent.yaml"], 1, "/nonexistent.yaml cannot be read"),
        (["-onetime", "-config-file", "/dev/null/x"], 1, "/dev/null/x"),
        (["-onetime", "-backend", "etcd", "-node", ""], 1, "-node '' is no address of etcd"),
        (["-onetime", "-backend", "etcd", "-node", "http://[x"], 1, "-node 'http://[x' is no address of etcd"),
        (["-onetime", "-backend", "etcd", "-node", "h:99999"], 1, "-node 'h:99999' is no address of etcd"),
    ],
)
def test_faults_are_one_clear_message(place: Place, words: list[str], code: int, told: str) -> None:
    done = place.run(*words)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_behind_flags_is_refused(place: Place) -> None:
    argv = place.argv("-onetime")
    done = subprocess.run([*argv, "check"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, place.out.exists()) == (2, False)
    assert "check is a command and stands first: confd-py check" in done.stderr
    done = subprocess.run([*argv, "chek"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, place.out.exists()) == (0, True)  # as confd
    assert "passed over: chek" in done.stderr


def test_version(place: Place) -> None:
    done = place.run("-version")
    assert (done.returncode, done.stdout[:9]) == (0, "confd-py ")


def test_check_diff_and_status(place: Place) -> None:
    assert "t: in order" in place.run("check").stdout
    place.run("-onetime")
    place.values.write_text("app:\n  name: other\n")
    done = place.run("diff")
    assert "-name=web" in done.stdout
    assert "+name=other" in done.stdout
    assert place.out.read_text() == "name=web\n"
    process = subprocess.Popen(place.argv("-watch"), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        within(SOON_S, "in effect", lambda: "revision=1" in place.run("status").stdout)
        assert place.run("status").returncode == 0
    finally:
        process.terminate()
        process.wait(SOON_S)
    place.resource("t", "{{ nope }}", place.out)
    assert place.run("check").returncode == 1


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_diff_is_coloured_for_a_person_who_likes_it(place: Place, environ: dict[str, str], *, coloured: bool) -> None:
    ours, theirs = pty.openpty()
    env = {**{k: v for k, v in os.environ.items() if k != "NO_COLOR"}, "TERM": "xterm", **environ}
    subprocess.run(place.argv("diff"), cwd=ROOT, env=env, stdout=theirs, check=False, timeout=60)
    os.close(theirs)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    assert ("\x1b[32m+name=web" in text, "+name=web" in text) == (coloured, True)


def test_watch_follows_rereads_and_ends_cleanly(place: Place) -> None:
    process = subprocess.Popen(place.argv("-watch"), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        within(SOON_S, "first", lambda: place.out.exists() and place.out.read_text() == "name=web\n")
        place.values.write_text("app:\n  name: second\n")
        within(HEARD_S, "second", lambda: place.out.read_text() == "name=second\n")
        place.resource("t", 'again={{ getv("/app/name") }}\n', place.out)
        process.send_signal(signal.SIGHUP)
        within(SOON_S, "reread", lambda: place.out.read_text() == "again=second\n")
        process.terminate()
        told = process.communicate(timeout=SOON_S)[1]
        assert process.returncode == 0
        assert "Traceback" not in told
    finally:
        process.kill()
        process.wait()


def test_a_failed_check_is_tried_again_without_any_change(place: Place) -> None:
    flag = place.folder / "flag"
    place.resource("t", "x", place.out, f'check_cmd = "test -e {flag}"\n')
    process = subprocess.Popen(place.argv("-watch"), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        assert not place.out.exists()
        flag.touch()
        within(SOON_S, "held at last", place.out.exists)
    finally:
        process.kill()
        process.wait()


def test_an_etcd_that_refuses_is_named(place: Place, tmp_path: Path) -> None:
    etcd = EtcdServer(tmp_path / "etcd").start()
    try:
        etcd.etcdctl("user", "add", "root", "--new-user-password=secret")
        etcd.etcdctl("user", "grant-role", "root", "root")
        etcd.etcdctl("auth", "enable")
        argv = [sys.executable, "-m", "confd_py", "-onetime", "-backend", "etcdv3", "-node", etcd.endpoint]
        argv += ["-confdir", str(place.folder), "-username", "root", "-password"]
        wrong = subprocess.run([*argv, "bad"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
        assert wrong.returncode == 1
        assert "etcd refused" in wrong.stderr
        assert "Traceback" not in wrong.stderr
        etcd.etcdctl("put", "/app/name", "from-etcd", user="root:secret")
        subprocess.run([*argv, "secret"], cwd=ROOT, check=True, timeout=60)
        assert place.out.read_text() == "name=from-etcd\n"
    finally:
        etcd.kill()


@pytest.mark.parametrize("hang", ["template-pipe", "endless", "dest-pipe", "dest-circle"])
def test_a_resource_that_hangs_stops_no_other_and_no_end(place: Place, hang: str) -> None:
    bad = place.folder / "bad"
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}"
    place.resource("a", endless if hang == "endless" else "", bad)
    if hang == "template-pipe":
        (place.folder / "templates" / "a.j2").unlink()
        os.mkfifo(place.folder / "templates" / "a.j2")
    elif hang == "dest-pipe":
        os.mkfifo(bad)
    elif hang == "dest-circle":
        bad.symlink_to(bad)
    with (place.folder / "log").open("wb") as log:
        running = subprocess.Popen(place.argv("-watch"), cwd=ROOT, stderr=log)
        try:
            within(SOON_S, "the other is written", place.out.exists)
            place.values.write_text("app:\n  name: web2\n")
            within(HEARD_S, "a change takes effect", lambda: place.out.read_text() == "name=web2\n")
            running.send_signal(signal.SIGTERM)
            assert running.wait(SOON_S) == 0
        finally:
            running.kill()
            running.wait()
    assert "Traceback" not in (place.folder / "log").read_text()


def test_the_end_during_a_command_is_silent(place: Place) -> None:
    begun = place.folder / "begun"
    place.resource("t", "x", place.out, f'reload_cmd = "touch {begun}; sleep 300 & sleep 300"\n')
    with (place.folder / "log").open("wb") as log:
        running = subprocess.Popen(place.argv("-watch"), cwd=ROOT, stderr=log)
        try:
            within(SOON_S, "the command runs", begun.exists)
            running.send_signal(signal.SIGTERM)
            assert running.wait(SOON_S) == 0
        finally:
            running.kill()
            running.wait()
    told = (place.folder / "log").read_text()
    assert "Traceback" not in told
    assert "loop is closed" not in told


def test_a_template_that_takes_too_long_holds_up_neither_the_others_nor_the_end(place: Place) -> None:
    slow = '{% set x = repeat(60000, "a") %}{% for n in range(99999) %}{{ regexMatch("(a?){1000}b", x) }}{% endfor %}'
    place.resource("slow", slow, place.folder / "slow")
    service = subprocess.Popen(place.argv("-watch"), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        within(SOON_S, "the other one is in effect", place.out.exists)
        place.values.write_text("app:\n  name: api\n")
        within(
            HEARD_S, "a change is in effect while the slow one goes on", lambda: place.out.read_text() == "name=api\n"
        )
        time.sleep(0.5)  # in the middle of one
        service.send_signal(signal.SIGTERM)
        _, told = service.communicate(timeout=10)
    finally:
        service.kill()
        service.wait()
    assert service.returncode == 0, told


def test_a_second_one_of_the_same_confdir_says_that_it_takes_over_the_status(place: Place) -> None:
    socket = place.folder / "status.sock"
    argv = place.argv("-watch", "-status-socket", str(socket))
    running = [subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL)]
    try:
        within(
            SOON_S, "the first one tells", lambda: place.run("status", "-status-socket", str(socket)).returncode == 0
        )
        running.append(subprocess.Popen(argv, cwd=ROOT, stderr=(place.folder / "log").open("w")))
        told = f"another confd-py answers there, and from now on this one does status_socket={socket}"
        within(SOON_S, "the second one warns", lambda: told in (place.folder / "log").read_text())
    finally:
        for process in running:
            process.kill()
            process.wait()


def test_a_socket_whose_path_is_too_long_is_told(place: Place) -> None:
    done = subprocess.run(
        place.argv("-watch", "-status-socket", str(place.folder / ("x" * 120))),
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, "None" in done.stderr) == (1, False)
    assert "AF_UNIX path too long\n    Name a short path that can be written." in done.stderr


def test_status_of_what_was_never_applied_is_not_good(place: Place) -> None:
    done = place.run("status", "-status-socket", str(place.folder / "none"))
    assert done.returncode == 1
    assert "t: revision=0 " in done.stdout
    assert "nothing was applied yet" in done.stdout


def test_what_fails_when_asked_once_is_told_once(place: Place) -> None:
    place.resource("bad", "{{ getv('/app/absent') }}", place.folder / "bad")
    done = place.run("-onetime")
    assert (done.returncode, done.stderr.count("/app/absent")) == (1, 1), done.stderr


def test_a_difference_is_shown_on_a_terminal_that_cannot_show_it(place: Place) -> None:
    place.values.write_text('app:\n  name: "b\u00fccher"\n')
    environ = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run(
        place.argv("diff"), cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert "+name=b\\xfccher" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr


def test_reloads_do_not_overlap_when_everything_is_read_again(place: Place) -> None:
    seen = place.folder / "seen"
    more = f'reload_cmd = "echo begin >> {seen}; sleep 0.7; echo end >> {seen}"\n'
    place.resource("t", 'name={{ getv("/app/name") }}\n', place.out, more)
    service = subprocess.Popen(place.argv("-watch"), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        within(SOON_S, "the reload is under way", seen.exists)
        for _ in range(2):
            service.send_signal(signal.SIGHUP)
            time.sleep(0.2)
        within(SOON_S, "what was owed is done", lambda: seen.read_text().split().count("end") >= 2)
        time.sleep(1.0)
        words = seen.read_text().split()
        assert words == (["begin", "end"] * len(words))[: len(words)], words  # one more may be under way
    finally:
        service.kill()
        service.wait()


def test_what_runs_keeps_its_file_when_another_resource_wants_it(place: Place) -> None:
    service = subprocess.Popen(place.argv("-watch"), cwd=ROOT, stderr=(place.folder / "log").open("w"))
    try:
        within(SOON_S, "it is in effect", place.out.exists)
        place.resource("a", "other={{ getv('/app/name') }}\n", place.out)
        told = f"a.toml:3: {place.folder}/conf.d/t.toml writes {place.out}, too"
        within(HEARD_S, "the newcomer is told", lambda: told in (place.folder / "log").read_text())
        place.values.write_text("app:\n  name: api\n")
        within(HEARD_S, "the one that runs goes on", lambda: place.out.read_text() == "name=api\n")
        (place.folder / "conf.d" / "t.toml").unlink()
        within(HEARD_S, "the newcomer has it then", lambda: place.out.read_text() == "other=api\n")
    finally:
        service.kill()
        service.wait()


def test_noop_claims_nothing(place: Place) -> None:
    socket = place.folder / "status.sock"
    service = subprocess.Popen(
        place.argv("-watch", "-noop", "-status-socket", str(socket)), cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        words = ("status", "-status-socket", str(socket))
        within(SOON_S, "it looked, and nothing is in effect", lambda: " wanted_revision=1 " in place.run(*words).stdout)
        assert "t: revision=0 wanted_revision=1 " in place.run(*words).stdout
        assert not place.out.exists()
        place.out.write_text("name=web\n")
        service.send_signal(signal.SIGHUP)
        within(SOON_S, "what is there by itself is in effect", lambda: "t: revision=1 " in place.run(*words).stdout)
    finally:
        service.kill()
        service.wait()
