"""What containers are given, what they write, and what is run in them: the same with each engine."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runtime.copying import HERE, copy
from runtime.errors import InvalidSpec, NotRunning, PortTaken
from runtime.host import Host
from runtime.model import Limits, LogLine, Mount, PublishedPort, State
from tests.contract.runtime.engines.conftest import Engine, Root
from tests.fakes.ports import free_port
from tests.integration.runtime.conftest import answers, becomes, finished, run, texts


def said(host: Host, *argv: str, **options: Any) -> list[str]:
    """What a container of this description writes."""
    finished(host, "said", *argv, **options)
    found = texts(host, "said")
    host.containers.remove("said")
    return found


# A container stands still until the test lets it go on.
HOLD = "while ! [ -e /go.{} ]; do sleep 0.02; done"


def go_on(host: Host, name: str, step: int) -> None:
    assert host.inside.exec_probe(name, ["/bin/busybox", "touch", f"/go.{step}"], 30.0)[0] == 0


# given


def test_environment_user_and_place(host: Host) -> None:
    script = "echo $A; id -u; id -g; pwd; echo $HOME; busybox hostname; echo $HOSTNAME"
    found = said(
        host, "/bin/sh", "-c", script, environment={"A": "one two"}, user="app", working_dir="/tmp", hostname="other"
    )
    assert found == ["one two", "1000", "1000", "/tmp", "/home/app", "other", "other"]
    assert said(host, "/bin/busybox", "hostname") == ["said"], "its name, where no host name is given"


def test_an_entrypoint_of_ones_own_drops_the_images_command(host: Host) -> None:
    assert said(host, entrypoint=("/bin/echo", "mine")) == ["mine"]
    assert said(host, "two", entrypoint=("/bin/echo", "one")) == ["one two"]


def test_no_power_beyond_what_is_needed(host: Host) -> None:
    found = said(host, "/bin/busybox", "grep", "-E", "^(NoNewPrivs|CapBnd)", "/proc/self/status")
    fields = dict(line.split(":\t") for line in found)
    assert fields == {"NoNewPrivs": "1", "CapBnd": "00000000a80425fb"}
    none = [f"{kind}:\t0000000000000000" for kind in ("CapPrm", "CapEff", "CapBnd")]
    assert said(host, "/bin/busybox", "grep", "-E", "Cap(Prm|Eff|Bnd)", "/proc/self/status", user="app") == none


def test_limits_reach_the_kernel(host: Host) -> None:
    running = run(host, "small", limits=Limits(cpus=0.5, memory_bytes=64 << 20, pids=50))
    lines = [line.split(":", 2) for line in Path(f"/proc/{running.pid}/cgroup").read_text().splitlines()]
    groups = {kind: path for _, kinds, path in lines for kind in kinds.split(",")}
    values = {
        kind: Path(f"/sys/fs/cgroup/{kind}{groups[kind]}/{file}").read_text().strip()
        for kind, file in (("memory", "memory.limit_in_bytes"), ("pids", "pids.max"), ("cpu", "cpu.cfs_quota_us"))
    }
    assert values == {"memory": str(64 << 20), "pids": "50", "cpu": "50000"}


def test_mounts(host: Host, tmp_path: Path) -> None:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "in" / "file").write_text("from the host\n")
    mounts = (
        Mount("bind", "/in", source=str(tmp_path / "in"), read_only=True),
        Mount("bind", "/out", source=str(tmp_path / "out")),
        Mount("tmpfs", "/fast", size_bytes=1 << 20),
    )
    script = "cat /in/file; echo x >/in/no; echo yes >/out/file; busybox df -k /fast | busybox tail -1"
    *found, size = said(host, "/bin/sh", "-c", f"({script}) 2>&1", mounts=mounts)
    assert found[0] == "from the host" and "Read-only" in found[1]
    assert size.split()[1] == "1024" and (tmp_path / "out" / "file").read_text() == "yes\n"
    with pytest.raises(InvalidSpec, match="does not exist"):
        run(host, "none", mounts=(Mount("bind", "/in", source=str(tmp_path / "none")),))
    assert host.containers.list() == []


def test_a_read_only_root_has_room_for_scratch(host: Host) -> None:
    script = (
        "echo x >/x; echo fine >/tmp/x && cat /tmp/x; busybox cp /bin/busybox /run/busybox && /run/busybox echo runs"
    )
    found = said(host, "/bin/sh", "-c", f"({script}) 2>&1", read_only=True)
    assert "Read-only" in found[0] and found[1:] == ["fine", "runs"]


# reached


def test_published_ports(host: Host, root: Root) -> None:
    port = free_port()
    run(host, "web", ports=(PublishedPort(port, 80),))
    assert "hello" in answers("127.0.0.1", port)
    with pytest.raises(PortTaken, match="another container"):
        run(host, "other", ports=(PublishedPort(port, 80),))
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        with pytest.raises(PortTaken, match="a program of this host"):
            run(host, "other", ports=(PublishedPort(taken.getsockname()[1], 80),))
    assert [c.name for c in host.containers.list()] == ["web"], "nothing is left of who was refused"
    host.containers.stop("web", 30.0)
    host.containers.start("web")
    assert "hello" in answers("127.0.0.1", port)
    host.containers.remove("web")
    run(host, "next", ports=(PublishedPort(port, 80),))
    assert "hello" in answers("127.0.0.1", port)


def test_containers_reach_each_other_by_address_and_by_name(host: Host) -> None:
    web = run(host, "web")
    host.network.names.serve({"shop": [web.address]})
    run(host, "asker", "/bin/sleep", "60")
    get = 'printf "GET /index.html HTTP/1.0\\r\\n\\r\\n" | busybox nc'

    def reach(there: str) -> None:
        found: list[object] = []

        def reached() -> bool:
            found[:] = host.inside.exec_probe("asker", ["/bin/sh", "-c", f"{get} {there} 80"], 30.0)
            return "hello" in str(found)

        becomes(reached, 10.0, lambda: str(found))

    for there in (web.address, "shop", "shop.hecd"):
        reach(there)
    host.network.names.end()


def test_anyone_may_listen_on_low_ports(host: Host) -> None:
    assert "hello" in answers(run(host, "web", user="app").address)


# written


def written(host: Host, name: str, lines: list[str]) -> None:
    """These lines, and no more, become what it wrote."""
    becomes(lambda: texts(host, name) == lines)


def test_lines_have_their_stream_and_their_time(host: Host, engine: Engine) -> None:
    whole_seconds = engine.name == "podman"  # its socket tells no more
    before = datetime.now(UTC) - timedelta(seconds=whole_seconds)
    # Whoever reads both streams late reads them in any order: each is written once the one before is in the log.
    run(host, "job", "/bin/sh", "-c", f"echo one; {HOLD.format(1)}; echo two >&2; {HOLD.format(2)}; printf three")
    for step, there in enumerate((["one"], ["one", "two"]), 1):
        written(host, "job", there)
        go_on(host, "job", step)
    assert host.containers.wait("job", 30.0)
    found = list(host.inside.logs("job"))
    assert [(x.stream, x.text) for x in found] == [("stdout", "one"), ("stderr", "two"), ("stdout", "three")]
    assert all(isinstance(x, LogLine) and before < x.timestamp < datetime.now(UTC) for x in found)
    assert found[1].timestamp > found[0].timestamp or whole_seconds
    assert whole_seconds == all(x.timestamp.microsecond == 0 for x in found)


def test_the_last_lines(host: Host, engine: Engine) -> None:
    finished(host, "job", "/bin/sh", "-c", "echo one; echo two; echo three")
    assert [x.text for x in host.inside.logs("job", 2)] == list(host.inside.tail("job", 2)) == ["two", "three"]
    assert list(host.inside.logs("job", 0)) == []
    finished(host, "open", "/bin/sh", "-c", "echo one; echo two; printf three")
    last = ["one", "twothree"] if engine.name == "podman" else ["two", "three"]  # Podman counts an open line twice
    assert list(host.inside.tail("open", 2)) == last


def test_a_long_line_is_one(host: Host) -> None:
    script = "busybox head -c 40000 /dev/zero | busybox tr '\\0' x; echo; echo end"
    finished(host, "job", "/bin/sh", "-c", script)
    assert [len(text) for text in texts(host, "job")] == [40000, 3]


def test_following_ends_with_the_container(host: Host) -> None:
    run(host, "job", "/bin/sh", "-c", "echo before; while ! [ -e /go ]; do sleep 0.02; done; echo after")
    becomes(lambda: texts(host, "job") == ["before"])
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.extend(x.text for x in host.inside.follow_logs("job")))
    reader.start()
    time.sleep(0.2)
    host.inside.exec_probe("job", ["/bin/busybox", "touch", "/go"], 30.0)
    reader.join(10.0)
    assert not reader.is_alive() and found == ["before", "after"]
    assert [x.text for x in host.inside.follow_logs("job", 1)] == ["after"], "of what has ended: what there is"


# run inside


def test_a_command_has_code_and_output(host: Host) -> None:
    run(host, "job", "/bin/sleep", "60", user="app", environment={"A": "b"})
    probe = host.inside.exec_probe
    assert probe("job", ["/bin/sh", "-c", "echo out; exit 3"], 30.0) == (3, "out")
    code, words = probe("job", ["/bin/sh", "-c", "echo out; echo err >&2; exit 4"], 30.0)  # two streams, in any order
    assert (code, sorted(words.split("\n"))) == (4, ["err", "out"])
    assert probe("job", ["/bin/sh", "-c", "id -u; echo $A"], 10.0) == (0, "1000\nb")
    assert probe("job", ["/bin/busybox", "grep", "NoNewPrivs", "/proc/self/status"], 10.0) == (0, "NoNewPrivs:\t1")
    code, words = probe("job", ["/bin/sh", "-c", "busybox seq 5000"], 10.0)
    assert code == 0 and len(words) <= 4096 and words.endswith("\n5000")
    assert probe("job", ["/bin/nonesuch"], 10.0)[0] != 0


def test_a_command_that_takes_too_long_is_killed_inside(host: Host) -> None:
    run(host, "job", "/bin/sleep", "60")
    for limit_s in (0.5, 3.0, 30.0):  # it may be over before the command has begun
        begun = time.monotonic()
        code, words = host.inside.exec_probe("job", ["/bin/sh", "-c", "echo begun; sleep 4321"], limit_s)
        assert code == 124 and f"no answer within {limit_s:g} s" in words
        assert time.monotonic() - begun < limit_s + 60.0
        if words.startswith("begun"):
            break
    assert words.startswith("begun")
    becomes(lambda: "4321" not in host.inside.exec_probe("job", ["/bin/busybox", "ps"], 10.0)[1])
    assert host.containers.inspect("job").state is State.RUNNING


def test_a_command_whose_time_is_over_before_it_begins_is_killed_all_the_same(host: Host) -> None:
    run(host, "job", "/bin/sleep", "60")
    for _ in range(3):
        assert host.inside.exec_probe("job", ["/bin/sleep", "4322"], 0.0)[0] == 124
    time.sleep(0.5)  # in which it would have begun
    becomes(lambda: "4322" not in host.inside.exec_probe("job", ["/bin/busybox", "ps"], 30.0)[1])


def test_a_command_lasts_no_longer_than_its_shell(host: Host) -> None:
    run(host, "job", "/bin/sleep", "60")
    begun = time.monotonic()
    assert host.inside.exec_probe("job", ["/bin/sh", "-c", "sleep 90 & echo done"], 80.0) == (0, "done")
    assert time.monotonic() - begun < 60.0


SAYING = (
    "import sys\nfrom pathlib import Path\nfrom runtime.host import Host\nfrom runtime.model import Manner\n"
    "host = Host.open(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    "sys.exit(host.inside.exec_interactive('job', ['/bin/sh', '-c', sys.argv[3]], False, Manner(*eval(sys.argv[4]))))"
)


def test_a_command_may_be_another_users(host: Host, root: Root, engine: Engine) -> None:
    run(host, "job", "/bin/sleep", "60", user="app", environment={"A": "one", "B": "two"})

    def says(*manner: object) -> list[str]:
        script = "id -u; id -g; busybox id -G; pwd; echo $HOME $A $B; busybox grep CapEff /proc/self/status"
        argv = [sys.executable, "-c", SAYING, str(root.folder / "lib"), str(root.folder / "run"), script, repr(manner)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
        return done.stdout.split("\n")[:-1] or [done.stderr]

    power = f"CapEff:\t{0xA80425FB if engine.name == 'oci' else 0:016x}"  # there, such a container has none to give
    assert says("root", {"B": "three"}, "/srv") == ["0", "0", "0", "/srv", "/root one three", power]
    assert says("1234:extra")[:3] == ["1234", "2000", "2000"]
    assert says("", {}, "/tmp")[:4] == ["1000", "1000", "1000 2000", "/tmp"], "the container's own"
    assert "nobody-here" in says("nobody-here")[0]


def test_nothing_runs_in_what_does_not_run(host: Host) -> None:
    finished(host, "job", "/bin/true")
    with pytest.raises(NotRunning):
        host.inside.exec_probe("job", ["/bin/true"], 30.0)
    with pytest.raises(NotRunning):
        host.inside.exec_interactive("job", ["/bin/true"])


CALLER = (
    "import sys\nfrom pathlib import Path\nfrom runtime.host import Host\n"
    "host = Host.open(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    "sys.exit(host.inside.exec_interactive('job', sys.argv[4:], tty=sys.argv[3] == 'tty'))"
)


def test_a_person_may_type_into_a_command(host: Host, root: Root) -> None:
    run(host, "job", "/bin/sleep", "60")
    caller = [sys.executable, "-c", CALLER, str(root.folder / "lib"), str(root.folder / "run")]
    script = "read x; echo got $x; echo err >&2; exit 5"
    done = subprocess.run([*caller, "no", "/bin/sh", "-c", script], input=b"word\n", capture_output=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (5, b"got word\n", b"err\n")
    for stdin in ("/dev/null", __file__):
        with Path(stdin).open() as given:
            told = subprocess.run([*caller, "no", "/bin/sh", "-c", "read x; echo $x; exit 4"], stdin=given,
                                  capture_output=True, text=True, timeout=30)  # fmt: skip
        assert (told.returncode, told.stdout) == (4, Path(stdin).read_text().partition("\n")[0] + "\n"), told.stderr
    shell = " ".join([*caller[:2], f"'{CALLER}'", *caller[3:], "tty", "/bin/sh", "-c", "'tty; exit 6'"])
    shell = shell.replace("'tty'", '"tty"').replace("'job'", '"job"')
    done = subprocess.run(["script", "-qec", shell, "/dev/null"], capture_output=True, timeout=30)
    assert done.returncode == 6 and b"/dev/pts" in done.stdout


def test_who_opens_the_root_next_needs_not_name_its_engine(host: Host, root: Root, engine: Engine) -> None:
    run(host, "web")
    other = root.open(engine="", socket="")
    assert [c.name for c in other.containers.list()] == ["web"]
    assert type(other.containers) is type(host.containers)
    other.close()


def test_files_are_copied_in_and_out_while_it_runs(host: Host, tmp_path: Path) -> None:
    run(host, "job", "/bin/sleep", "60", mounts=(Mount("volume", "/own"),))
    (tmp_path / "note").write_text("hello\n")
    copy(HERE, str(tmp_path / "note"), host.root_of("job"), "/own")
    assert host.inside.exec_probe("job", ["/bin/cat", "/own/note"], 10.0) == (0, "hello")
    copy(host.root_of("job"), "/own", HERE, str(tmp_path / "back"))
    assert (tmp_path / "back/note").read_text() == "hello\n"
