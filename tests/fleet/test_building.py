"""The lab itself: up quickly, and whatever happens to it, nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from registrator.agent.drivers.runtime import traces
from registrator.lab.plan import read
from tests.fleet.conftest import HECD, LabHere

NOTHING: dict[str, list[str]] = {"folders": [], "links": [], "mounts": [], "groups": [], "processes": []}


@dataclass
class Marks:
    """What is a lab's in the kernel, remembered while it is up: its card, and what its control groups are called."""

    here: LabHere
    link: str = ""
    groups: tuple[str, ...] = ()

    def note(self) -> None:
        found = read((self.here.folder / "lab.json").read_text())
        self.link = found.link
        settings = [found.settings(host) for host in found.hosts]
        self.groups = tuple(traces(config.lib, config.run)[1].lstrip("/") for config in settings)

    def left(self) -> dict[str, list[str]]:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        assert self.link
        return {
            "folders": [str(self.here.folder)] if self.here.folder.exists() else [],
            "links": [p.name for p in Path("/sys/class/net").iterdir() if p.name == self.link],
            "mounts": [line for line in mounts if str(self.here.root) in line],
            "groups": [str(p) for g in self.groups for p in Path("/sys/fs/cgroup").glob(f"**/{g}*")],
            "processes": processes(str(self.here.root)) + self.containers(),
        }

    def containers(self) -> list[str]:
        """Their processes. (The first of all reaps a zombie late.)"""
        inside = (pid for pid in _pids() if any(f"/{g}" in _text(pid, "cgroup") for g in self.groups))
        return [str(pid) for pid in inside if ") Z " not in _text(pid, "stat")]


def nothing_is_left(small: LabHere, marks: Marks, when: str = "") -> None:
    small.until(lambda: marks.left() == NOTHING, 10.0, f"nothing is left{when}: {marks.left()}")


def processes(*words: str) -> list[str]:
    lines = [_text(pid, "cmdline") for pid in _pids()]
    return [line for line in lines if all(word in line for word in words) and "pytest" not in line]


def _pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _text(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def deployed(here: LabHere) -> None:
    compose = str(Path(__file__).parents[2] / "examples" / "web" / "compose.yaml")
    done = here.hecd("deploy", "-f", compose)
    assert done.code == 0, done.err


def answer(here: LabHere, host: str) -> str:
    with urllib.request.urlopen(f"http://{here.hosts[host]['address']}:8080/", timeout=5) as found:
        return str(found.read().decode())


def test_a_lab_serves_and_goes_without_a_trace(small: LabHere) -> None:
    small.up("2", "--edges", "2", "--etcd", "1")
    deployed(small)
    assert "release 1" in answer(small, "h1")
    assert "release 1" in answer(small, "h2")
    rows = {row["host"]: row for row in small.lab("status", "-o", "json").json()}
    assert rows["h1"]["leads"] == "control"
    assert [row["state"] for row in rows.values()] == ["up", "up"]
    assert sum(row["instances"] for row in rows.values()) == 4
    marks = Marks(small)
    marks.note()
    here = marks.left()
    assert all(here.values()), f"this test looks in the wrong places: {here}"
    small.down()
    nothing_is_left(small, marks)


def test_killed_with_containers_running_and_its_cables_cut_it_leaves_nothing(small: LabHere) -> None:
    small.up("2", "--edges", "1", "--etcd", "1")
    deployed(small)
    assert small.lab("freeze", "h2").code == 0
    assert small.lab("cut", "h2", "--from", "h1").code == 0
    marks = Marks(small)
    marks.note()
    os.kill(small.keeper, signal.SIGKILL)
    small.until(lambda: not processes(str(small.root), "haproxy -W"), 30.0, "the kernel ends the keeper's programs")
    assert "keeper was killed" in small.lab("status").err
    assert marks.containers(), "containers run on"
    small.down()
    nothing_is_left(small, marks)


def test_cut_short_it_leaves_nothing(small: LabHere) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        argv = [HECD, "--root", str(small.root), "lab", "up", "3"]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert process.stderr is not None
        assert "wired up" in process.stderr.readline()
        marks = Marks(small)
        marks.note()
        process.send_signal(signal.SIGSTOP)  # somewhere in the middle; no other command is at the lab meanwhile
        again, away = small.lab("up", "3"), small.lab("down")
        assert again.code == 1 and ("a lab is up already" in again.err or "another `hecd lab`" in again.err)
        assert away.code == 1 and "another `hecd lab` puts this lab up" in away.err
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        process.wait(90)
        process.stderr.close()
        if number == signal.SIGKILL:
            small.down()
        nothing_is_left(small, marks, f" after {number.name}")


def test_an_up_that_fails_says_why_and_leaves_nothing(small: LabHere, tmp_path: Path) -> None:
    broken = tmp_path / "etcd"
    broken.write_text("#!/bin/sh\necho no room for data >&2\nexit 3\n")
    broken.chmod(0o755)
    small.environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    done = small.lab("up", "2", "--within", "3")
    assert done.code == 1
    assert "not up after 3 s" in done.err
    assert "h1/etcd.log: no room for data" in done.err
    assert not small.folder.exists()
    assert processes(str(small.root)) == []


def test_faults_of_hosts_and_their_healing(small: LabHere) -> None:
    small.up("6", "--edges", "0", "--etcd", "1")
    befalls = {
        "h2": ["kill", "h2"],
        "h3": ["kill", "h3", "agent"],
        "h4": ["freeze", "h4"],
        "h5": ["cut", "h5"],
        "h6": ["cut", "h6", "--from", "h1,h5"],
    }
    says = {"h1": "up", "h2": "killed", "h3": "killed agent", "h4": "frozen", "h5": "cut", "h6": "cut from h1, h5"}

    def rows() -> list[tuple[str, str, str]]:
        return [(row["host"], row["state"], row["joined"]) for row in small.lab("status", "-o", "json").json()]

    for words in befalls.values():
        done = small.lab(*words)
        assert done.code == 0, done.err
    away = [(host, state, "yes" if host == "h1" else "no") for host, state in says.items()]
    small.until(lambda: rows() == away, 40.0, "every fault keeps its host away")
    done = small.lab("heal")
    assert done.code == 0, done.err
    small.until(lambda: rows() == [(host, "up", "yes") for host in says], 40.0, "all are back")
    assert small.lab("kill", "h2", "nginx").code == 4
    assert small.lab("kill", "h7").code == 4


def test_a_slow_host_is_slow_and_then_not(small: LabHere) -> None:
    small.up("1")
    deployed(small)
    body = b"x" * 60_000

    def took_s() -> float:
        begun = time.monotonic()
        request = urllib.request.Request(f"http://{small.hosts['h1']['address']}:8080/", data=body)
        with urllib.request.urlopen(request, timeout=20) as found:
            assert b"60000 bytes" in found.read()
        return time.monotonic() - begun

    assert min(took_s() for _ in range(3)) < 1.0
    assert small.lab("slow", "h1", "--kbit", "256").code == 0
    assert took_s() > 1.0  # 60 kB at 32 kB/s
    assert small.lab("heal").code == 0
    assert min(took_s() for _ in range(3)) < 1.0


def test_a_command_on_a_host_is_in_its_network_and_has_its_settings(small: LabHere) -> None:
    small.up("2")
    cards = small.lab("on", "h2", "ip", "-br", "-4", "addr").out
    assert small.hosts["h2"]["address"] in cards
    assert small.hosts["h1"]["address"] not in cards
    assert "h2" in small.lab("on", "h2", "hecd", "nodes").out
    assert "hecd/sample" in small.lab("on", "h2", "hecd-runtime", "image", "ls").out
    assert small.lab("on", "h1", "sh", "-c", "exit 7").code == 7


def test_an_image_that_is_here_by_name_is_brought_to_all_hosts(small: LabHere) -> None:
    small.up("2")
    assert small.lab("image", "hecd/sample:1").out == "hecd/sample:1\n"
