"""Control groups of every kind of host, from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.engines import usage
from runtime.engines.cgroups import Cgroups
from runtime.model import Usage

LEGACY = {
    "memory/memory.memsw.limit_in_bytes": "0",
    "memory/g/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
}
HYBRID = {**LEGACY, "unified/cgroup.controllers": "hugetlb\n", "unified/g/cgroup.procs": ""}
UNIFIED = {
    "cgroup.controllers": "memory pids",
    "x.slice/memory.swap.max": "max",
    "g/memory.events": "low 0\noom 5\noom_kill 3\n",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "unified", "hybrid_controllers", "swap", "kills"),
    [
        (LEGACY, False, False, True, 2),
        (HYBRID, False, True, True, 2),
        ({**HYBRID, "unified/cgroup.controllers": "\n"}, False, False, True, 2),
        (UNIFIED, True, False, True, 3),
        ({"cgroup.controllers": ""}, True, False, False, 0),
        ({"memory/g/memory.oom_control": "nonsense"}, False, False, False, 0),
    ],
)
def test_hosts(
    tmp_path: Path, files: dict[str, str], unified: bool, hybrid_controllers: bool, swap: bool, kills: int
) -> None:
    found = Cgroups.probe(tree(tmp_path, files))
    assert (found.unified, found.hybrid_controllers, found.swap_limited) == (unified, hybrid_controllers, swap)
    assert found.oom_kills("/g") == kills


def test_drop_takes_empty_groups_of_every_hierarchy(tmp_path: Path) -> None:
    for place in ("memory/g", "pids/g", "pids/other"):
        (tmp_path / place).mkdir(parents=True)
    Cgroups.probe(tmp_path).drop("/g")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == ["memory", "pids", "pids/other"]
    Cgroups.probe(tmp_path).drop("/g")


V1 = {
    "memory/g/memory.stat": "cache 5000\ntotal_inactive_file 1000\n",
    "memory/g/memory.usage_in_bytes": "9000\n",
    "memory/g/memory.limit_in_bytes": "16777216\n",
    "cpuacct/g/cpuacct.usage": "1500000000\n",
    "pids/g/pids.current": "3\n",
    "blkio/g/blkio.throttle.io_service_bytes_recursive": "8:0 Read 10\n8:0 Write 20\n9:0 Read 1\nTotal 31\n",
}
V2 = {
    "cgroup.controllers": "cpu memory\n",
    "g/memory.stat": "anon 1\ninactive_file 1000\n",
    "g/memory.current": "9000\n",
    "g/memory.max": "16777216\n",
    "g/cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
    "g/pids.current": "3\n",
    "g/io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n9:0 rbytes=1 wbytes=0\n",
}
USED = Usage(1.5, 8000, 1 << 24, 3, 11, 20)


def written(root: Path, files: dict[str, str]) -> Cgroups:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Cgroups.probe(root)


@pytest.mark.parametrize("files", [V1, V2], ids=["version 1", "version 2"])
def test_both_versions_tell_what_is_used(tmp_path: Path, files: dict[str, str]) -> None:
    assert written(tmp_path, files).usage("/g") == USED


DISKS = {"vda/dev": "254:0\n", "vda/size": "2048\n", "sda/dev": "8:0\n", "sda/size": "9\n", "loop0/dev": "7:0\n"}


def test_version_1_is_made_to_count_disks_it_does_not_count_yet(tmp_path: Path) -> None:
    disks = tree(tmp_path / "block", {**DISKS, "loop0/size": "0\n"})
    limits = tmp_path / "blkio/g/blkio.throttle.read_bps_device"
    groups = written(tmp_path, {"blkio/blkio.throttle.io_service_bytes_recursive": "8:0 Read 1\nTotal 1\n", **V1})
    groups.count_disks("/g", disks)
    assert limits.read_text() == "254:0 18446744073709551615", "of all bits: which is no limit"
    limits.unlink()
    tree(tmp_path, {"blkio/blkio.throttle.io_service_bytes_recursive": "254:0 Read 0\n8:0 Read 1\nTotal 1\n"})
    groups.count_disks("/g", disks)
    written(tmp_path / "2", V2).count_disks("/g", disks)
    assert not limits.exists() and not (tmp_path / "2/blkio").exists()
    groups.count_disks("/gone", disks)


def test_no_limit_and_no_group(tmp_path: Path) -> None:
    assert (
        written(tmp_path / "1", {**V1, "memory/g/memory.limit_in_bytes": "9223372036854771712\n"})
        .usage("/g")
        .memory_limit_bytes
        == 0
    )
    two = written(tmp_path / "2", {**V2, "g/memory.max": "max\n"})
    assert two.usage("/g").memory_limit_bytes == 0
    assert two.usage("/gone") == Usage(0.0, 0, 0, 0, 0, 0)


def test_network_counters() -> None:
    text = "Inter-| Receive\n face |bytes\n    lo: 5 0 0 0 0 0 0 0 5 0\n  eth0:  70 1 0 0 0 0 0 0 90 1 0\n"
    assert usage.network(text) == (70, 90)
