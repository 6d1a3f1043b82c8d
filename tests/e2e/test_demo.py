"""`hecd demo`, as a newcomer runs it, and cut short by Ctrl-C: it leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from tests.e2e.conftest import HECD


def left_behind() -> dict[str, list[str]]:
    """What the demo might forget: its directory, links, mounts, namespaces, control groups, processes."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return {
        "directories": [str(p) for p in Path("/var/tmp").glob("hecd-demo-*")],
        "links": [p.name for p in Path("/sys/class/net").iterdir() if p.name == "hecddemo0"],
        "mounts": [line for line in mounts if "hecd-demo-" in line],
        "control groups": [str(p) for p in Path("/sys/fs/cgroup").glob("**/*hecddemo0*")],
        "processes": _processes(),
    }


def _processes() -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if "hecd-demo-" in line:
                found.append(line)
    return found


NOTHING: dict[str, list[str]] = {"directories": [], "links": [], "mounts": [], "control groups": [], "processes": []}


def test_the_demo_keeps_what_it_promises_and_leaves_nothing() -> None:
    done = subprocess.run([HECD, "demo", "-o", "json"], capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    steps = {s["step"]: s for s in result["steps"]}
    assert result["failed"] == result["inside_killed"]
    assert result["reloads"] == 0
    assert set(result["by_release"]) == {"1", "2"}
    assert result["by_way"].keys() == {"GET kept", "GET new", "POST kept", "POST new"}
    assert steps["release 1 -> 2"]["seconds"] <= 2.0
    assert steps["kill -9 of a container"]["seconds"] <= 1.5
    assert int(steps["kill -9 of a container"]["remark"].split()[-2]) <= 300
    assert left_behind() == NOTHING


def test_the_demo_cut_short_leaves_nothing() -> None:
    process = subprocess.Popen([HECD, "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "4/4 serving" in line:
            break
    process.send_signal(signal.SIGINT)
    process.stderr.read()
    begun = time.monotonic()
    assert process.wait(30) == 130
    assert time.monotonic() - begun < 30
    assert left_behind() == NOTHING
