"""Control groups of every kind of host, from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.engines.cgroups import Cgroups

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
