"""confd-py beside an operator who edits files, and a store that storms, or loses much at once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import etcdkit
from tests.fakes.etcd_server import EtcdServer
from tests.integration.confd_py.parts import HEARD_S, ROOT, SOON_S, within


class Daemon:
    """confd-py -watch over a real etcd, with its own confdir."""

    def __init__(self, folder: Path, etcd: EtcdServer) -> None:
        self.folder, self.etcd, self.out = folder, etcd, folder / "out"
        self.log = folder / "log"
        for name in ("conf.d", "templates", "out"):
            (folder / name).mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def resource(self, name: str, template: str, more: str = "", keys: str = "/app") -> Path:
        (self.folder / "templates" / f"{name}.tmpl").write_text(template)
        text = f'[template]\nsrc = "{name}.tmpl"\ndest = "{self.out}/{name}"\nkeys = ["{keys}"]\n{more}'
        (self.folder / "conf.d" / f"{name}.toml").write_text(text)
        return self.out / name

    def start(self) -> None:
        argv = [sys.executable, "-m", "confd_py", "-watch", "-backend", "etcdv3", "-node", self.etcd.endpoint]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([*argv, "-confdir", str(self.folder)], cwd=ROOT, stderr=log)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(SOON_S)
            self._process = None

    def state(self, name: str) -> dict[str, object]:
        """What the applied-state file says; empty while there is none."""
        try:
            found: dict[str, object] = json.loads((self.out / f"{name}.applied").read_text())
        except FileNotFoundError:
            return {}
        return found

    def becomes(self, path: Path, text: str, within_s: float = SOON_S) -> None:
        within(within_s, f"{path.name} is {text!r}", lambda: path.exists() and path.read_text() == text)

    def lines(self, path: Path) -> int:
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    (tmp_path / "etcd").mkdir()
    etcd = EtcdServer(tmp_path / "etcd").start()
    etcd.etcdctl("put", "/app/name", "web")
    etcd.etcdctl("put", "/other/name", "api")
    (tmp_path / "confd").mkdir()
    found = Daemon(tmp_path / "confd", etcd)
    try:
        yield found
    finally:
        found.end(signal.SIGKILL)
        etcd.kill()


def replaced(path: Path, text: str) -> None:
    """As most editors save: a new file renamed over the old one."""
    fresh = path.with_name(f".{path.name}.swp")
    fresh.write_text(text)
    fresh.rename(path)


def test_edits_take_effect_within_a_second(daemon: Daemon) -> None:
    out = daemon.resource("a", '{{getv "/app/name"}}')
    daemon.start()
    daemon.becomes(out, "web")
    took_s = []
    for number in range(5):
        begun_s = time.monotonic()
        replaced(daemon.folder / "templates/a.tmpl", f'[{number} {{{{getv "/app/name"}}}}]')
        daemon.becomes(out, f"[{number} web]", HEARD_S)
        took_s.append(time.monotonic() - begun_s)
    assert sorted(took_s)[2] < 1.0, took_s  # a single one may meet a disk that stands still
    replaced(daemon.folder / "templates/a.tmpl", '[{{getv "/app/name"}}]')
    daemon.becomes(out, "[web]", HEARD_S)
    second = daemon.resource("b", '{{getv "/other/name"}}', keys="/other")
    daemon.becomes(second, "api", HEARD_S)
    replaced(daemon.folder / "conf.d/b.toml", "[template\n")
    daemon.etcd.etcdctl("put", "/other/name", "db")
    daemon.becomes(second, "db")
    within(HEARD_S, "the fault is told", lambda: "b.toml:1:10: this is not TOML" in daemon.log.read_text())
    (daemon.folder / "conf.d/b.toml").unlink()
    within(HEARD_S, "it is gone", lambda: "a resource is gone" in daemon.log.read_text())
    daemon.etcd.etcdctl("put", "/other/name", "late")
    daemon.etcd.etcdctl("put", "/app/name", "done")
    daemon.becomes(out, "[done]")
    assert second.read_text() == "db"


def test_a_template_that_is_being_written_over_is_not_read_half(daemon: Daemon) -> None:
    out = daemon.resource("a", '{{getv "/app/name"}}')
    daemon.start()
    daemon.becomes(out, "web")
    within(SOON_S, "told", lambda: daemon.state("a").get("renders"))
    before = int(str(daemon.state("a")["renders"]))
    with (daemon.folder / "templates/a.tmpl").open("w") as writer:
        writer.write("half")
        writer.flush()
        time.sleep(0.3)
        assert out.read_text() == "web"
        writer.write(' and {{getv "/app/name"}}')
    daemon.becomes(out, "half and web")
    within(SOON_S, "told", lambda: int(str(daemon.state("a")["renders"])) == before + 1)


def test_a_broken_template_keeps_the_file_until_it_is_mended(daemon: Daemon) -> None:
    out = daemon.resource("a", '{{getv "/app/name"}}')
    daemon.start()
    daemon.becomes(out, "web")
    replaced(daemon.folder / "templates/a.tmpl", "{{nope}}")
    within(HEARD_S, "the fault is told", lambda: 'a.tmpl:1:2: function "nope" not defined' in daemon.log.read_text())
    assert out.read_text() == "web"
    replaced(daemon.folder / "templates/a.tmpl", "mended")
    daemon.becomes(out, "mended", HEARD_S)


@pytest.mark.parametrize("harm", ["edit", "remove", "replace", "chmod"])
def test_dest_is_put_back(daemon: Daemon, harm: str) -> None:
    out = daemon.resource("a", '{{getv "/app/name"}}', 'mode = "0640"\n')
    daemon.start()
    daemon.becomes(out, "web")
    within(SOON_S, "it is in effect", lambda: daemon.state("a").get("sha256"))
    time.sleep(0.2)
    if harm == "chmod":
        out.chmod(0o600)
        within(HEARD_S, "its mode is back", lambda: out.stat().st_mode & 0o777 == 0o640)
        return
    harms: dict[str, Callable[[], object]] = {
        "edit": lambda: out.write_text("mine"),
        "remove": out.unlink,
        "replace": lambda: replaced(out, "mine"),
    }
    harms[harm]()
    daemon.becomes(out, "web", HEARD_S)


def test_a_storm_makes_few_renders_and_fewer_reloads(daemon: Daemon) -> None:
    reloads = daemon.folder / "reloads"
    out = daemon.resource("a", '{{getv "/app/name"}}', f'reload_cmd = "echo r >> {reloads}"\n')
    daemon.start()
    daemon.becomes(out, "web")
    within(SOON_S, "the first reload", lambda: daemon.lines(reloads) == 1)
    time.sleep(1.5)  # quiet: what was rationed is there again
    before = int(str(daemon.state("a")["renders"]))

    async def storm() -> None:
        client = etcdkit.Client([daemon.etcd.endpoint])
        begun_s = time.monotonic()
        for number in range(1000):
            await client.put("/app/name", str(number).encode())
            await asyncio.sleep(max(0.0, begun_s + number / 1000 - time.monotonic()))
        await client.close()

    begun_s = time.monotonic()
    asyncio.run(storm())
    daemon.becomes(out, "999")
    within(
        SOON_S,
        "the last reload",
        lambda: not daemon.state("a")["reload_owed"] and daemon.state("a")["error"] is None,
    )
    renders, took_s = int(str(daemon.state("a")["renders"])) - before, time.monotonic() - begun_s
    # Four at once, then four a second; of reloads two at once, then three in four seconds.
    assert renders <= 4 + 4 * took_s, (renders, took_s)
    assert daemon.lines(reloads) - 1 <= 2 + 0.75 * took_s, (daemon.lines(reloads), took_s)


def test_one_reload_serves_two_resources(daemon: Daemon) -> None:
    reloads = daemon.folder / "reloads"
    command = f'reload_cmd = "cat {daemon.out}/a {daemon.out}/b >> {reloads}; echo >> {reloads}"\n'
    first = daemon.resource("a", '{{getv "/app/name"}}', command)
    second = daemon.resource("b", '{{getv "/app/name"}}', command)
    daemon.start()
    daemon.becomes(first, "web")
    daemon.becomes(second, "web")
    within(SOON_S, "a reload", lambda: daemon.lines(reloads) >= 1)
    daemon.etcd.etcdctl("put", "/app/name", "next")
    within(SOON_S, "both are reloaded", lambda: "nextnext\n" in reloads.read_text())
    time.sleep(0.5)
    assert reloads.read_text() == "webweb\nnextnext\n"


def test_a_process_killed_before_its_reload_leaves_it_owed(daemon: Daemon) -> None:
    done = daemon.folder / "done"
    slow = f'reload_cmd = "sleep 30; echo r > {done}"\n'
    out = daemon.resource("a", "one", f'reload_cmd = "echo first > {done}"\n')
    daemon.start()
    daemon.becomes(done, "first\n")
    within(SOON_S, "it is in effect", lambda: daemon.state("a").get("revision"))
    daemon.resource("a", "one", slow)  # first: the change of the file is to meet this command, and not the one before
    within(HEARD_S, "it is another one", lambda: "a resource is changed" in daemon.log.read_text())
    daemon.resource("a", "two", slow)
    daemon.becomes(out, "two", HEARD_S)
    daemon.end(signal.SIGKILL)
    subprocess.run(["pkill", "-9", "-f", f"sleep 30; echo r > {done}"], check=False)
    daemon.resource("a", "two", f'reload_cmd = "echo second > {done}"\n')
    daemon.start()
    daemon.becomes(done, "second\n")


def test_a_hanging_command_holds_up_no_other_resource(daemon: Daemon) -> None:
    hangs = "sleep 60.0625"  # nobody else's
    daemon.resource("a", '{{getv "/app/name"}}', f'check_cmd = "{hangs}"\ncheck_cmd_timeout = "6s"\n')
    out = daemon.resource("b", '{{getv "/app/name"}}')
    daemon.start()
    daemon.becomes(out, "web")
    told = "took longer than 6 s and was killed"
    assert told not in daemon.log.read_text(), "it was waited for"
    daemon.etcd.etcdctl("put", "/app/name", "next")
    daemon.becomes(out, "next")
    assert told not in daemon.log.read_text(), "it was waited for"
    within(SOON_S, "the hanging one is told", lambda: told in daemon.log.read_text())
    daemon.end()
    words = ["pgrep", "-f", f"^{hangs}$"]
    within(SOON_S, "nothing is left of it", lambda: not subprocess.run(words, capture_output=True, check=False).stdout)
    assert sorted(path.name for path in daemon.out.iterdir() if path.name.startswith(".")) == []


def test_a_full_disk_leaves_the_old_file(daemon: Daemon) -> None:
    small = daemon.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        (daemon.folder / "templates/a.tmpl").write_text('{{getv "/app/name"}}')
        text = f'[template]\nsrc = "a.tmpl"\ndest = "{small}/a"\nkeys = ["/app"]\n'
        text += f'applied_file = "{daemon.out}/a.applied"\n'
        (daemon.folder / "conf.d/a.toml").write_text(text)
        daemon.start()
        daemon.becomes(small / "a", "web")
        filler = small / "filler"
        filler.write_bytes(b"x" * (56 * 1024))
        daemon.etcd.etcdctl("put", "/app/name", "x" * 20_000)
        within(SOON_S, "it is told", lambda: "No space left" in str(daemon.state("a").get("error")))
        assert (small / "a").read_text() == "web"
        assert sorted(os.listdir(small)) == ["a", "filler"]
        filler.unlink()
        daemon.becomes(small / "a", "x" * 20_000)
    finally:
        daemon.end(signal.SIGKILL)
        subprocess.run(["umount", str(small)], check=True)


def test_a_bind_mounted_dest_is_written_in_place(daemon: Daemon) -> None:
    real, out = daemon.folder / "real", daemon.out / "a"
    real.write_text("old")
    out.write_text("")
    subprocess.run(["mount", "--bind", str(real), str(out)], check=True)
    try:
        daemon.resource("a", '{{getv "/app/name"}}')
        daemon.start()
        daemon.becomes(real, "web")
    finally:
        daemon.end(signal.SIGKILL)
        subprocess.run(["umount", str(out)], check=True)


def test_etcd_away_at_the_start_is_waited_for(daemon: Daemon) -> None:
    daemon.etcd.kill()
    out = daemon.resource("a", '{{getv "/app/name"}}')
    daemon.start()
    time.sleep(1.0)
    assert not out.exists()
    daemon.etcd.start()
    daemon.becomes(out, "web")


def test_many_expired_at_once_are_kept_and_told(daemon: Daemon) -> None:
    lease = daemon.etcd.etcdctl("lease", "grant", "600").split()[1]
    for number in "123":
        daemon.etcd.etcdctl("put", f"/up/{number}", number, "--lease", lease)
    daemon.etcd.etcdctl("put", "/up/4", "4")
    out = daemon.resource("a", '{{join (getvs "/up/*") ","}}', 'max_shrink = "50%"\n', keys="/up")
    daemon.start()
    daemon.becomes(out, "1,2,3,4")
    daemon.etcd.etcdctl("lease", "revoke", lease)
    within(SOON_S, "it is told", lambda: "too many entries would go" in daemon.log.read_text())
    assert out.read_text() == "1,2,3,4"
    for number in "56":
        daemon.etcd.etcdctl("put", f"/up/{number}", number)
    daemon.becomes(out, "4,5,6")
    daemon.etcd.etcdctl("del", "/up/", "--prefix")
    daemon.becomes(out, "")


def test_debounce_waits_for_the_last_of_several(daemon: Daemon) -> None:
    out = daemon.resource("a", '{{getv "/app/name"}}', 'debounce = "4s"\n')  # longer than a put stands still
    daemon.start()
    daemon.becomes(out, "web")
    for number in range(5):
        daemon.etcd.etcdctl("put", "/app/name", str(number))
        time.sleep(0.1)
        assert out.read_text() == "web"
    daemon.becomes(out, "4")


@pytest.mark.parametrize("mounted", [False, True])
def test_a_security_label_is_kept(daemon: Daemon, *, mounted: bool) -> None:
    """What SELinux goes by is an attribute of the file: a new one would get its directory's."""
    label, out = b"system_u:object_r:haproxy_etc_t:s0", daemon.resource("a", '{{getv "/app/name"}}')
    real = daemon.folder / "real"
    for path in (out, real):
        path.write_text("old")
        os.setxattr(path, "security.selinux", label)
    if mounted:
        subprocess.run(["mount", "--bind", str(real), str(out)], check=True)
    try:
        daemon.start()
        daemon.becomes(out, "web")
        assert os.getxattr(out, "security.selinux") == label
    finally:
        daemon.end(signal.SIGKILL)
        if mounted:
            subprocess.run(["umount", str(out)], check=True)


@pytest.mark.parametrize("loss", ["emptied", "restored", "wiped"])
def test_in_step_two_seconds_after_a_store_with_another_past_answers(daemon: Daemon, loss: str) -> None:
    """confd goes deaf: it waits for a revision that the store does not reach for a long time."""
    out = daemon.resource("a", '{{range gets "/app/*"}}{{.Key}}={{.Value}} {{end}}')
    daemon.start()
    daemon.becomes(out, "/app/name=web ")
    if loss == "restored":
        daemon.etcd.stop()
        daemon.etcd.save(daemon.folder / "backup")
        daemon.etcd.start()
    for number in range(20):
        daemon.etcd.etcdctl("put", "/app/late", str(number))
    daemon.becomes(out, "/app/late=19 /app/name=web ")
    if loss == "emptied":
        daemon.etcd.etcdctl("del", "--prefix", "/")
        daemon.becomes(out, "")
        return
    took_s = []
    for _ in range(3):
        daemon.etcd.kill()
        if loss == "restored":
            daemon.etcd.restore(daemon.folder / "backup")
        else:
            daemon.etcd.wipe()
        daemon.etcd.start()  # returns when it answers
        begun_s = time.monotonic()
        daemon.becomes(out, "/app/name=web " if loss == "restored" else "")
        took_s.append(time.monotonic() - begun_s)
        daemon.etcd.etcdctl("put", "/app/name", "again")
        daemon.becomes(out, "/app/name=again ")
    assert sorted(took_s)[1] < 2.0, took_s  # a single one may meet a disk that stands still


async def put_all(daemon: Daemon, values: dict[str, str]) -> None:
    async with etcdkit.Client([daemon.etcd.endpoint]) as client:
        for key, value in values.items():
            await client.put(key, value.encode())


def test_a_change_touches_only_the_resources_that_read_it(daemon: Daemon) -> None:
    outs = [
        daemon.resource(f"r{number:03}", '{{range gets "/many/*/*"}}{{.Value}} {{end}}', keys=f"/many/{number:03}")
        for number in range(200)
    ]
    asyncio.run(put_all(daemon, {f"/many/{out.name[1:]}/a": out.name for out in outs}))
    daemon.start()
    within(SOON_S, "all are told", lambda: all(daemon.state(out.name).get("sha256") for out in outs))
    before = [daemon.state(out.name)["renders"] for out in outs]
    times = [out.stat().st_mtime_ns for out in outs]
    daemon.etcd.etcdctl("put", "/many/007/b", "more")
    daemon.becomes(outs[7], "r007 more ")
    within(SOON_S, "told", lambda: daemon.state("r007")["renders"] == int(str(before[7])) + 1)
    daemon.etcd.etcdctl("put", "/other/name", "nobody reads it")
    daemon.etcd.etcdctl("put", "/many/008/b", "last")
    daemon.becomes(outs[8], "r008 last ")  # all that came before it was looked at
    rest = [index for index in range(200) if index not in (7, 8)]
    assert [daemon.state(outs[index].name)["renders"] for index in rest] == [before[index] for index in rest]
    assert [outs[index].stat().st_mtime_ns for index in rest] == [times[index] for index in rest]
