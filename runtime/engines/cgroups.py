"""Control groups as this host has them: version 1, version 2, or both beside each other (hybrid)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runtime.engines import usage
from runtime.model import Usage

ROOT = Path("/sys/fs/cgroup")
HYBRID_CONTROLLERS = ROOT / "unified" / "cgroup.controllers"
DISKS = Path("/sys/block")
_NO_LIMIT = (1 << 64) - 1


@dataclass(frozen=True)
class Cgroups:
    """`unified`: pure version 2. `hybrid_controllers`: version 2 beside version 1 has controllers of its own."""

    root: Path
    unified: bool
    hybrid_controllers: bool
    swap_limited: bool

    @classmethod
    def probe(cls, root: Path = ROOT) -> Cgroups:
        """Look at what is mounted."""
        unified = (root / "cgroup.controllers").exists()
        beside = root / "unified" / "cgroup.controllers"
        hybrid = not unified and beside.exists() and bool(beside.read_text().strip())
        pattern = "*/memory.swap.max" if unified else "memory/memory.memsw.limit_in_bytes"
        return cls(root, unified, hybrid, any(True for _ in root.glob(pattern)))

    def oom_kills(self, group: str) -> int:
        """How many processes of the group the kernel killed for want of memory; 0 if the group is gone."""
        path = self._directories(group)[0] / ("memory.events" if self.unified else "memory.oom_control")
        with contextlib.suppress(OSError):
            for line in path.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def hasten(self) -> None:
        """Move this process to where it is. The first move in a while waits some 8 ms for a grace period of the
        kernel's RCU, moves right after it do not: had early, by another thread, it costs nobody anything."""
        with contextlib.suppress(OSError, ValueError):
            _, controllers, place = Path("/proc/self/cgroup").read_text().splitlines()[-1].split(":", 2)
            hierarchy = controllers.removeprefix("name=") or ("" if self.unified else "unified")
            (self.root / hierarchy / place.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))

    def count_disks(self, group: str, disks: Path = DISKS) -> None:
        """Have reads and writes of all disks counted. Version 1 does so for every group, but only on disks where some
        group was given a limit since boot, be it gone by now, or none at all as the one that `group` is given here.
        The first one takes some 20 ms a disk."""
        if self.unified:
            return
        counted = _text(self.root / "blkio" / "blkio.throttle.io_service_bytes_recursive").split()
        for disk in sorted(disks.glob("*")):
            number = _text(disk / "dev").strip()
            if number and number not in counted and _text(disk / "size").strip() not in ("", "0"):
                with contextlib.suppress(OSError):
                    limits = self.root / "blkio" / group.lstrip("/") / "blkio.throttle.read_bps_device"
                    limits.write_text(f"{number} {_NO_LIMIT}")

    def usage(self, group: str) -> Usage:
        """What it has used; all 0 if the group is gone."""
        name = group.lstrip("/")
        if self.unified:
            return usage.version_2(lambda file: _text(self.root / name / file))
        return usage.version_1(lambda file: _text(self.root / Path(file).parent / name / Path(file).name))

    def drop(self, group: str) -> None:
        """Delete what an engine left of the group, where no process is in it."""
        for directory in self._directories(group):
            with contextlib.suppress(OSError):
                directory.rmdir()

    def _directories(self, group: str) -> list[Path]:
        """Where the group is, or would be; the memory controller's first."""
        name = group.lstrip("/")
        return [root / name for root in self._hierarchies]

    @cached_property
    def _hierarchies(self) -> tuple[Path, ...]:
        if self.unified:
            return (self.root,)
        memory = self.root / "memory"
        return (memory, *sorted(path for path in self.root.iterdir() if path.is_dir() and path != memory))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
