"""hecd-runtime as a person types it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.images.build import tar_of
from tests.fakes.ports import free_port
from tests.integration.runtime.conftest import IMAGE, Root, answers, becomes, traces
from tests.integration.runtime.oci_registry import FakeRegistry

Cli = Callable[..., subprocess.CompletedProcess[str]]
PROGRAM = [sys.executable, "-c", "from runtime.cli import main; main()"]


@pytest.fixture
def place(root: Root) -> Path:
    """The DIR of --root; `root` cleans it up."""
    return root.lib.parent


@pytest.fixture
def root(root: Root) -> Root:
    """The same root, laid out as --root has it."""
    return Root(root.lib / "runtime", root.run / "runtime", root.subnet, root.bridge)


@pytest.fixture
def cli(root: Root, layout: Path) -> object:
    """Runs the command with these words; the test image is loaded."""
    place = root.lib.parent.parent

    def call(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, f"--root={place}", f"--subnet={root.subnet}", f"--bridge={root.bridge}", *words],
            input=stdin, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    assert call("image", "load", str(layout)).returncode == 0
    yield call
    for name in call("ps", "-aq").stdout.split():
        call("rm", "-f", name)
    becomes(lambda: traces(root) == [], what=lambda: f"left: {traces(root)}")


def test_create_start_wait_restart_top_and_cp(cli: Cli, tmp_path: Path) -> None:
    script = "cat /etc/note; httpd -f -p 80"
    assert cli("create", "--name", "c", IMAGE, "/bin/sh", "-c", script).stdout == "c\n"
    (tmp_path / "note").write_text("hello\n")
    assert cli("cp", str(tmp_path / "note"), "c:/etc/").returncode == 0
    assert cli("start", "c").returncode == 0
    becomes(lambda: cli("logs", "c").stdout == "hello\n")
    listed = json.loads(cli("top", "-o", "json", "c").stdout)
    assert {p["user"] for p in listed} == {"root"} and any("httpd" in p["command"] for p in listed)
    assert "USER" in cli("top", "c").stdout
    packed = subprocess.run(["tar", "t"], input=cli("cp", "c:/etc/note", "-").stdout, capture_output=True, text=True)
    assert packed.stdout == "note\n"
    assert cli("restart", "-t", "0", "c").stdout == "c\n"
    becomes(lambda: cli("logs", "c").stdout == "hello\n" * 2)
    assert cli("kill", "-s", "KILL", "c").returncode == 0
    assert cli("wait", "c").stdout == "137\n"
    for words in (("cp", "a", "b"), ("cp", "c:/a", "c:/b")):
        assert "has to be NAME:PATH" in cli(*words).stderr


def test_run_shows_output_and_ends_with_its_code(cli: Cli) -> None:
    done = cli("run", "--rm", "-e", "WHO=you", IMAGE, "/bin/sh", "-c", "echo hello $WHO; echo bad >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "hello you\n", "bad\n")
    assert cli("ps", "-aq").stdout == ""


def test_the_days_of_a_container(cli: Cli) -> None:
    port = free_port()
    assert cli("run", "-d", "--name", "web", "-p", f"{port}:80", IMAGE).stdout == "web\n"
    assert "hello" in answers("127.0.0.1", port)
    seen = json.loads(cli("ps", "-o", "json").stdout)[0]
    assert (seen["name"], seen["state"], seen["spec"]["ports"][0]["published"]) == ("web", "running", port)
    assert "running" in cli("ps").stdout
    assert cli("exec", "web", "cat", "/srv/index.html").stdout == "hello\n"
    assert cli("exec", "-i", "web", "cat", stdin="typed").stdout == "typed"
    assert cli("exec", "web", "sh", "-c", "exit 9").returncode == 9
    assert cli("rm", "web").returncode != 0, "it runs"
    assert cli("stop", "web").stdout == "web\n"
    assert cli("ps").stdout == ""
    assert "exited (SIGTERM)" in cli("ps", "-a").stdout
    assert cli("start", "web").stdout == "web\n"
    assert json.loads(cli("inspect", "web").stdout)[0]["address"] == seen["address"]
    assert cli("rm", "-f", "web").stdout == "web\n"


def test_volumes(cli: Cli) -> None:
    script = "cat /data/x; echo kept >/data/x"
    assert cli("volume", "create", "-l", "team=a", "data").stdout == "data\n"
    cli("run", "--name", "one", "-v", "data:/data", IMAGE, "sh", "-c", script)
    assert cli("run", "--rm", "-v", "data:/data", IMAGE, "sh", "-c", script).stdout == "kept\n"
    assert cli("volume", "ls").stdout.splitlines()[1].split()[0::3] == ["data", "one"]
    seen = json.loads(cli("volume", "inspect", "data").stdout)[0]
    assert (seen["labels"], Path(seen["path"], "x").read_text()) == ({"team": "a"}, "kept\n")
    refused = cli("volume", "rm", "data")
    assert (refused.returncode, "in use by one" in refused.stderr, "rm -f one" in refused.stderr) == (1, True, True)
    cli("rm", "one")
    assert cli("volume", "rm", "data").stdout == "data\n" and cli("volume", "ls", "-q").stdout == ""
    assert cli("volume", "rm", "data").returncode == 4


def test_wishes_reach_the_container(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    options = (
        "--ulimit nofile=64 --sysctl net.core.somaxconn=77 --add-host db:10.0.0.9 --dns 9.9.9.9 --dns-search x.example "
        f"--dns-option ndots:2 --secret {tmp_path}/password --config {tmp_path}/password:/etc/app.conf --group-add 77 "
        "--cap-drop ALL --cap-add KILL --security-opt no-new-privileges=false --log-opt max-size=1m"
    )
    script = (
        "ulimit -n; cat /proc/sys/net/core/somaxconn /run/secrets/password /etc/app.conf /etc/resolv.conf; "
        "busybox tail -n1 /etc/hosts; busybox grep -E 'CapEff|NoNewPrivs' /proc/self/status; id -G"
    )
    done = cli("run", "--rm", *options.split(), IMAGE, "sh", "-c", script)
    assert done.stdout.split("\n")[:-1] == [
        "64", "77", "s3cret", "s3cret", "nameserver 9.9.9.9", "search x.example", "options ndots:2", "10.0.0.9\tdb",
        "CapEff:\t0000000000000020", "NoNewPrivs:\t0", "0 77",
    ], done.stderr  # fmt: skip


def test_logs(cli: Cli, root: Root) -> None:
    # Lines that are read at once have one time: each is written when the one before has been seen.
    script = "for i in 1 2 3 4; do echo $i; until [ -e /$i ]; do sleep 0.02; done; done; echo e >&2"
    cli("run", "-d", "--name", "c", IMAGE, "sh", "-c", script)
    words = [*PROGRAM, f"--root={root.lib.parent.parent}", "logs", "-f", "c"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        for line in "1234":
            assert following.stdout.readline() == f"{line}\n"
            assert cli("exec", "c", "busybox", "touch", f"/{line}").returncode == 0
        assert following.communicate(timeout=60) == ("", "e\n")
    assert cli("logs", "-n", "2", "c").stdout == "4\n"
    assert "T" in cli("logs", "-t", "c").stdout.split()[0]
    first, *_, fourth = (line.split()[0] for line in cli("logs", "-t", "c").stdout.splitlines())
    assert cli("logs", "--since", fourth, "c").stdout == "4\n"
    assert "4" not in cli("logs", "--until", first.replace("+", "999+"), "-f", "c").stdout
    assert cli("logs", "--since", "1h", "-n", "3", "c").stdout == "3\n4\n"
    assert (cli("logs", "--since", "soon", "c").returncode, cli("logs", "-n", "x", "c").returncode) == (2, 2)


def test_stats(cli: Cli, place: Path) -> None:
    cli("run", "-d", "--name", "busy", "-m", "64m", IMAGE, "sh", "-c", "while :; do :; done")
    cli("run", "-d", "--name", "idle", IMAGE, "sleep", "60")
    becomes(lambda: "sleep 60" in cli("top", "idle").stdout)  # its init has begun it
    found = {row["name"]: row for row in json.loads(cli("stats", "--no-stream", "--json").stdout)}
    assert found["busy"]["cpu_percent"] > 10 > found["idle"]["cpu_percent"]
    assert (found["busy"]["memory_limit_bytes"], found["idle"]["pids"]) == (64 << 20, 2)
    assert cli("stats", "--no-stream", "busy").stdout.split()[-2:][1].isdecimal()
    assert "/ 64.0 MiB" in cli("stats", "--no-stream", "busy").stdout
    with subprocess.Popen(
        [*PROGRAM, f"--root={place.parent}", "stats", "--json"], stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert [json.loads(watching.stdout.readline())[0]["name"] for _ in range(2)] == ["busy", "busy"]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130
    cli("kill", "idle")
    assert cli("wait", "idle").stdout == "137\n"
    assert "does not run" in cli("stats", "idle").stderr


def test_a_restart_policy(cli: Cli, place: Path) -> None:
    cli("run", "-d", "--name", "c", "--restart", "on-failure:2", IMAGE, "sh", "-c", "exit 3")
    becomes(lambda: "restarted 2 times" in cli("ps", "-a").stdout, within_s=20.0)
    service = subprocess.Popen([*PROGRAM, f"--root={place.parent}", "supervise"])
    try:
        cli("run", "-d", "--name", "again", "--restart", "always", IMAGE, "sh", "-c", "sleep 0.3")
        becomes(lambda: json.loads(cli("inspect", "again").stdout)[0]["restarts"] > 0, within_s=20.0)
        assert service.poll() is None
    finally:
        service.kill()
        service.wait()
    assert cli("stop", "again").returncode == 0


def test_images(cli: Cli) -> None:
    assert f"docker.io/{IMAGE}" in cli("image", "ls").stdout
    assert cli("gc").stdout.startswith("0 images")
    assert cli("image", "untag", IMAGE).returncode == 0
    assert json.loads(cli("gc", "-o", "json").stdout)["layers"] == 2


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("start", "nobody"), 4, "no container 'nobody'"),
        (("run", "127.0.0.1:9/no:1"), 3, "registry"),
        (("run", "BAD NAME"), 1, "no image name"),
        (("run", "--name", "a/b", IMAGE), 2, "no container name"),
        (("run", "--name", "..", IMAGE), 2, "no container name"),
        (("run", "-v", "/does/not/exist:/x", IMAGE), 2, "/does/not/exist"),
        (("run", "-v", "nonsense", IMAGE), 2, "write SOURCE:TARGET"),
        (("run", "-p", "x:y", IMAGE), 2, "-p 8080:80"),
        (("run", "-p", "70000:80", IMAGE), 2, "70000 is no port"),
        (("run", "-m", "lots", IMAGE), 2, "64m"),
        (("run", "-m", "1k", IMAGE), 2, "4 MiB"),
        (("run", "--rm", "--restart", "always", IMAGE), 2, "exclude each other"),
        (("run", "--restart", "sometimes", IMAGE), 2, "no restart policy"),
        (("run", "--cap-add", "FLYING", IMAGE), 2, "CAP_FLYING is no capability"),
        (("run", "--privileged", IMAGE), 2, "not allowed here"),
        (("run", "--sysctl", "vm.swappiness=1", IMAGE), 2, "not the container's own"),
        (("run", "--secret", "/does/not/exist", IMAGE), 2, "cannot be read"),
        (("run", "--ulimit", "files=1", IMAGE), 2, "no ulimit"),
        (("volume", "inspect", "nothing"), 4, "no volume 'nothing'"),
        (("run", "--no-init", IMAGE, "/nowhere"), 1, "/nowhere"),
        (("image", "load", "/etc/passwd"), 1, "no archive"),
        (("exe", "x"), 2, "Did you mean `hecd-runtime exec`"),
    ],
)
def test_faults_are_named_with_what_to_do(cli: Cli, words: tuple[str, ...], code: int, says: str) -> None:
    done = cli(*words)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) >= 2, "what is wrong, and what to do"
    assert cli("ps", "-aq").stdout == ""


def test_exec_with_a_terminal(cli: Cli, root: Root) -> None:
    cli("run", "-d", "--name", "web", IMAGE)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(PROGRAM[0], [*PROGRAM, f"--root={root.lib.parent.parent}", "exec", "-it", "web", "sh", "-c",
                              "test -t 0 && echo a terminal; read x; echo got $x"])  # fmt: skip
    seen = read_until(terminal, "a terminal")
    os.write(terminal, b"words\n")
    seen += read_until(terminal, "got words")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)


def test_exec_as_docker_users_type_it(cli: Cli, root: Root) -> None:
    cli("run", "-d", "--name", "web", "-u", "app", IMAGE)
    assert cli("exec", "-u", "0", "-e", "A=b", "-w", "/srv", "web", "sh", "-c", "id -u; echo $A; pwd").stdout == (
        "0\nb\n/srv\n"
    )
    assert cli("exec", "web", "id", "-u").stdout == "1000\n"
    assert cli("exec", "-e", "NOT_SET_HERE", "web", "sh", "-c", "echo ${NOT_SET_HERE-none}").stdout == "none\n"
    refused = cli("exec", "--nosuch", "web", "true")
    assert refused.returncode == 2 and "--nosuch" in refused.stderr
    script = f"{shlex.join([*PROGRAM, f'--root={root.lib.parent.parent}'])} exec -t web sh -c 'echo $TERM'"
    done = subprocess.run(["script", "-qec", script, "/dev/null"], capture_output=True, text=True, timeout=20)
    assert "xterm" in done.stdout, done


def test_ctrl_c_stops_what_runs_in_front(cli: Cli, root: Root) -> None:
    words = [*PROGRAM, f"--root={root.lib.parent.parent}", "run", "--rm", "--name", "front", IMAGE,
             "sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done"]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as front:
        assert front.stdout is not None
        assert front.stdout.readline() == "up\n"
        front.send_signal(signal.SIGINT)
        assert front.stdout.read() == "bye\n"
        assert front.wait(20) == 3
    assert cli("ps", "-aq").stdout == ""


def test_it_starts_fast() -> None:
    """What takes long to import is imported by those who need it."""
    argv = [sys.executable, "-X", "importtime", *PROGRAM[1:], "ps", "--help"]
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stderr
    names = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    assert "runtime" in names
    assert not names & {"pyroute2", "docker", "requests", "urllib3", "jsonschema", "cryptography", "asyncio"}


def read_until(fd: int, text: str, within_s: float = 20.0) -> str:
    seen, deadline = "", time.monotonic() + within_s
    while text not in seen:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"no {text!r} in {seen!r}"
        try:
            seen += os.read(fd, 4096).decode()
        except OSError:  # the other end is closed
            assert text in seen, seen
    return seen


def test_images_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    saved = tmp_path / "saved.tar"
    assert cli("image", "save", "-o", str(saved), IMAGE).returncode == 0
    assert json.loads(cli("image", "inspect", IMAGE).stdout)[0]["names"] == [f"docker.io/{IMAGE}"]
    cli("run", "-d", "--name", "web", IMAGE)
    refused = cli("image", "rm", IMAGE)
    assert (refused.returncode, "in use by web" in refused.stderr) == (1, True)
    cli("rm", "-f", "web")
    assert cli("gc", "--all", "--older-than", "1h").stdout.startswith("0 images")
    removed = cli("image", "rm", IMAGE)
    assert removed.returncode == 0 and "freed" in removed.stdout
    assert cli("image", "load", str(saved)).stdout.startswith(f"docker.io/{IMAGE} sha256:")
    wrong = cli("gc", "--older-than", "soon")
    assert (wrong.returncode, "no span of time" in wrong.stderr) == (2, True)
    (tmp_path / "rootfs.tar").write_bytes(tar_of({"etc/x": b"x"}))
    assert cli("image", "import", str(tmp_path / "rootfs.tar"), "t/x:1").stdout.startswith("docker.io/t/x:1 sha256:")


def test_a_pull_shows_how_far_it_is(cli: Cli, root: Root, layout: Path, tmp_path: Path) -> None:
    with FakeRegistry(layout, {"team/app:1": IMAGE}) as registry:
        ref = f"{registry.address}/team/app:1"
        cli("gc", "--all")
        plain = cli("pull", ref)
        assert plain.stdout.startswith(f"{ref} sha256:")
        assert re.fullmatch(rf"{ref}: fetching (\S+ \w+) of \1\n", plain.stderr)
        assert cli("pull", ref).stderr == "", "nothing is fetched"
        cli("gc", "--all")
        words = [f"--root={root.lib.parent.parent}", "pull", ref]
        shown = subprocess.run(
            ["script", "-qec", shlex.join([*PROGRAM, *words]), "/dev/null"], capture_output=True, text=True, timeout=60
        )
        assert "━" in shown.stdout and f"{ref} sha256:" in shown.stdout
