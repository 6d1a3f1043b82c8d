"""Commands in containers, what containers write, and what they may not do."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runtime.errors import InvalidSpec, NotRunning
from runtime.host import Host
from runtime.model import Mount
from tests.integration.runtime.conftest import answers, becomes, finished, run, texts

STATUS = ("/bin/busybox", "grep", "-E", "^(CapEff|CapBnd|NoNewPrivs|Seccomp):", "/proc/self/status")


def facts(lines: list[str]) -> dict[str, str]:
    return dict(line.split(":\t") for line in lines)


def processes(host: Host, name: str) -> str:
    return host.inside.exec_probe(name, ["/bin/busybox", "ps"], 30.0)[1]


def test_a_probe_gives_code_and_output(runtime_host: Host) -> None:
    run(runtime_host, "web")
    assert runtime_host.inside.exec_probe("web", ["/bin/echo", "well"], 30.0) == (0, "well")
    assert runtime_host.inside.exec_probe("web", ["/bin/sh", "-c", "echo bad >&2; exit 3"], 30.0) == (3, "bad")
    code, words = runtime_host.inside.exec_probe("web", ["/nowhere"], 30.0)
    assert code != 0 and "/nowhere" in words


def test_a_late_probe_is_killed_inside_with_all_it_started(runtime_host: Host) -> None:
    run(runtime_host, "web")
    for limit_s in (0.3, 3.0, 30.0):  # it may be over before the command has begun
        began = time.monotonic()
        argv = ["/bin/sh", "-c", "echo begun; sleep 987; echo no"]
        code, words = runtime_host.inside.exec_probe("web", argv, limit_s)
        assert code == 124 and words.endswith(f"(no answer within {limit_s:g} s)")
        assert time.monotonic() - began < limit_s + 60.0
        if words.startswith("begun\n"):
            break
    assert words == f"begun\n(no answer within {limit_s:g} s)"
    becomes(lambda: "987" not in processes(runtime_host, "web"))


def test_a_probe_does_not_wait_for_what_it_left_behind(runtime_host: Host) -> None:
    run(runtime_host, "web")
    began = time.monotonic()
    assert runtime_host.inside.exec_probe("web", ["/bin/sh", "-c", "sleep 90 & echo done"], 80.0) == (0, "done")
    assert time.monotonic() - began < 60.0


def test_a_talkative_probe_is_cut_to_its_end(runtime_host: Host) -> None:
    run(runtime_host, "web")
    code, words = runtime_host.inside.exec_probe("web", ["/bin/sh", "-c", "busybox seq 1 100000"], 20.0)
    assert code == 0 and words.endswith("100000") and len(words) <= 4096
    code, words = runtime_host.inside.exec_probe("web", ["/bin/busybox", "yes"], 0.3)
    assert code == 124


def test_a_probe_needs_a_running_container(runtime_host: Host) -> None:
    finished(runtime_host, "c", "/bin/true")
    with pytest.raises(NotRunning):
        runtime_host.inside.exec_probe("c", ["/bin/true"], 1.0)


def test_exec_has_no_more_power_than_the_container(runtime_host: Host) -> None:
    finished(runtime_host, "own", *STATUS)
    run(runtime_host, "web")
    _, words = runtime_host.inside.exec_probe("web", STATUS, 30.0)
    assert facts(words.splitlines()) == facts(texts(runtime_host, "own"))


def test_root_keeps_little_and_others_nothing(runtime_host: Host) -> None:
    finished(runtime_host, "root", *STATUS)
    finished(runtime_host, "app", *STATUS, user="app")
    root, app = facts(texts(runtime_host, "root")), facts(texts(runtime_host, "app"))
    assert root["CapEff"] == root["CapBnd"] == "00000000a80425fb", "Docker's"
    assert app["CapEff"] == app["CapBnd"] == "0000000000000000"
    assert root["NoNewPrivs"] == app["NoNewPrivs"] == "1"
    assert root["Seccomp"] == app["Seccomp"] == "2"


@pytest.mark.parametrize(
    "attempt",
    [
        "busybox mount -t tmpfs none /srv",
        "busybox unshare -m true",
        "echo 1 >/proc/sys/vm/drop_caches",
        "echo b >/proc/sysrq-trigger",
        "busybox mknod /tmp/disk b $(cat /disk) && busybox head -c1 /tmp/disk",
        "busybox cat /proc/kcore | busybox head -c1 | busybox grep -q .",
        "busybox mkdir /sys/fs/cgroup/pids/more",
        "busybox hostname other",
        "busybox ip link set eth0 down",
    ],
)
def test_what_a_container_may_not_do(runtime_host: Host, attempt: str) -> None:
    assert finished(runtime_host, "c", "/bin/sh", "-c", attempt).exit_code != 0


def test_processes_and_names_of_the_host_are_not_seen(runtime_host: Host) -> None:
    finished(runtime_host, "web.7", "/bin/sh", "-c", "busybox ps | busybox wc -l; busybox hostname; cat /proc/1/comm")
    lines = texts(runtime_host, "web.7")
    assert int(lines[0]) <= 6
    assert lines[1:] == ["web.7", "init"]


def test_who_runs_it(runtime_host: Host) -> None:
    finished(runtime_host, "by.name", "/bin/id", user="app")
    finished(runtime_host, "by.number", "/bin/id", user="4000:5000")
    assert texts(runtime_host, "by.name") == ["uid=1000(app) gid=1000(app) groups=2000(extra)"]
    assert texts(runtime_host, "by.number") == ["uid=4000 gid=5000"]
    with pytest.raises(InvalidSpec, match="no user 'nobody'"):
        run(runtime_host, "c", user="nobody")


def test_others_may_listen_on_low_ports(runtime_host: Host) -> None:
    container = run(runtime_host, "web", user="app")
    assert "hello" in answers(container.address)


def test_environment_and_directory(runtime_host: Host) -> None:
    environment = {"GREETING": "two words", "EMPTY": ""}
    finished(runtime_host, "c", "/bin/sh", "-c", 'echo "$GREETING"; echo "[$EMPTY]"; pwd; echo $HOME',
             environment=environment, working_dir="/srv/new")  # fmt: skip
    assert texts(runtime_host, "c") == ["two words", "[]", "/srv/new", "/root"]


def test_a_read_only_root_has_room_for_scratch(runtime_host: Host) -> None:
    script = "echo no >/file; echo yes >/tmp/file && echo yes >/run/file && cat /tmp/file /run/file"
    finished(runtime_host, "c", "/bin/sh", "-c", script, read_only=True)
    lines = list(runtime_host.inside.logs("c"))
    assert [line.text for line in lines if line.stream == "stdout"] == ["yes", "yes"]
    assert "Read-only" in next(line.text for line in lines if line.stream == "stderr")


def test_mounts(runtime_host: Host, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "in").write_text("in\n")
    source = str(tmp_path / "data")
    mounts = (
        Mount("bind", "/data", source),
        Mount("bind", "/fixed", source, read_only=True),
        Mount("tmpfs", "/scratch", size_bytes=65536),
    )
    fill = "busybox dd if=/dev/zero of=/scratch/x bs=1024 count=100"
    script = f"cat /data/in; echo out >/data/out; echo no >/fixed/out2; {fill}"
    finished(runtime_host, "c", "/bin/sh", "-c", script, mounts=mounts)
    lines = "\n".join(texts(runtime_host, "c"))
    assert lines.startswith("in")
    assert (tmp_path / "data" / "out").read_text() == "out\n"
    assert not (tmp_path / "data" / "out2").exists()
    assert "Read-only" in lines and "No space left" in lines


def test_logs_keep_streams_order_and_length(runtime_host: Host) -> None:
    script = "echo one; echo two >&2; busybox seq -s, 1 9000; printf 'no end'"
    finished(runtime_host, "c", "/bin/sh", "-c", script)
    lines = list(runtime_host.inside.logs("c"))
    out = [line.text for line in lines if line.stream == "stdout"]
    assert [line.text for line in lines if line.stream == "stderr"] == ["two"]
    assert out[0] == "one" and out[1] == ",".join(str(n) for n in range(1, 9001))
    assert out[2:] == ["no end"]
    assert [line.timestamp for line in lines] == sorted(line.timestamp for line in lines)


def test_the_last_lines(runtime_host: Host) -> None:
    finished(runtime_host, "c", "/bin/sh", "-c", "busybox seq 1 5000")
    assert runtime_host.inside.tail("c", 3) == ["4998", "4999", "5000"]
    assert [line.text for line in runtime_host.inside.logs("c", tail=2)] == ["4999", "5000"]
    assert runtime_host.inside.tail("c", 0) == []
    assert len(runtime_host.inside.tail("c", 10000)) == 5000


def test_follow_ends_with_the_container(runtime_host: Host) -> None:
    run(runtime_host, "c", "/bin/sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.05; done")
    assert [line.text for line in runtime_host.inside.follow_logs("c")] == ["1", "2", "3", "4", "5"]
    assert [line.text for line in runtime_host.inside.follow_logs("c", tail=2)] == ["4", "5"]


def test_follow_shows_lines_as_they_come(runtime_host: Host) -> None:
    run(runtime_host, "c", "/bin/sh", "-c", "echo first; read x </dev/tty; sleep 60")
    lines = runtime_host.inside.follow_logs("c")
    assert next(lines).text == "first"
    threading.Timer(0.2, lambda: runtime_host.containers.signal("c", "KILL")).start()
    assert all(line.stream == "stderr" for line in lines)


def test_interactive_exec_passes_stdin_and_code(runtime_host: Host) -> None:
    run(runtime_host, "web")
    program = (
        "import sys; from pathlib import Path; from runtime.host import Host\n"
        "host = Host.open(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "sys.exit(host.inside.exec_interactive('web', ['/bin/sh', '-c', 'cat; exit 5']))"
    )
    paths = [str(runtime_host._paths.lib), str(runtime_host._paths.run)]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], input="typed", capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout) == (5, "typed")
