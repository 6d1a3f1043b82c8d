"""`hecd demo`, as a newcomer runs it, and cut short by Ctrl-C: it leaves nothing behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.networks.nft import Nft
from tests.e2e.conftest import HECD


def there() -> dict[str, list[str]]:
    """What a demo might forget: directories, links, mounts, control groups, tables of nftables, processes."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return {
        "directories": [str(p) for p in Path("/var/tmp").glob("hecd-demo-*")],
        "links": sorted(name for _, name in socket.if_nameindex() if name.startswith("h")),
        "mounts": [line for line in mounts if "hecd-demo-" in line],
        "control groups": sorted(str(p) for p in Path("/sys/fs/cgroup").glob("**/hecd-*")),
        "tables": Nft().run("list tables").splitlines(),
        "processes": _processes(),
    }


@pytest.fixture
def leaves_nothing() -> Iterator[None]:
    """What is there is the same afterwards; cables go a moment after their containers."""
    before = there()
    yield
    deadline = time.monotonic() + 5.0
    while there() != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert there() == before


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


def until_it_serves(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        if "4/4 serving" in line:
            return
        lines.append(line)
    raise AssertionError("".join(lines))


@pytest.mark.usefixtures("leaves_nothing")
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


@pytest.mark.usefixtures("leaves_nothing")
def test_the_demo_cut_short_leaves_nothing() -> None:
    process = subprocess.Popen([HECD, "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until_it_serves(process)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - begun < 30


@pytest.mark.usefixtures("leaves_nothing")
def test_what_a_demo_left_that_was_killed_hinders_no_other_and_goes_with_it() -> None:
    first = subprocess.Popen([HECD, "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until_it_serves(first)
    first.kill()
    first.communicate(timeout=30)
    assert there()["mounts"], "containers run on"
    again = [HECD, "demo", "--kept-rate", "50", "--fresh-rate", "20"]
    second = subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until_it_serves(second)
    second.send_signal(signal.SIGINT)
    second.communicate(timeout=30)
