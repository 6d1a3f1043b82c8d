"""An engine without containers: a bundle's command runs as a plain process below a shell that plays the shim."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runtime.errors import StartFailed
from runtime.model import Usage
from runtime.ports import PLAIN, EngineFacts, Launched, Streams
from runtime.process import Process, kill_tree

SHIM = """
"$@" >log.raw 2>&1 &
echo $! >pid
wait $!
code=$?
sed "s/^/2026-01-01T00:00:00.000000+00:00 stdout F /" log.raw >>"$LOG"
echo $code >exit.new && mv exit.new exit
"""


class ShellEngine:
    """See ports.Engine."""

    def __init__(self) -> None:
        self._shims: dict[str, subprocess.Popen[bytes]] = {}

    def launch(
        self, name: str, bundle: Path, log: Path, streams: Streams = PLAIN, made: Callable[[], None] = lambda: None
    ) -> Launched:
        for left in ("exit", "pid"):
            (bundle / left).unlink(missing_ok=True)
        args = json.loads((bundle / "config.json").read_text())["process"]["args"]
        if not Path(args[0]).exists():
            raise StartFailed(f"{args[0]} is not there")
        made()
        shim = subprocess.Popen(["sh", "-c", SHIM, "shim", *args], cwd=bundle, env={"LOG": str(log), "PATH": "/bin"})
        shim_process = Process.of(shim.pid)  # before it may have ended
        self._shims[name] = shim
        while not (bundle / "pid").exists() or not (bundle / "pid").read_text().strip():
            assert shim.poll() is None or (bundle / "pid").exists()
        process = Process.of(int((bundle / "pid").read_text()))
        assert shim_process is not None
        return Launched(process or Process(int((bundle / "pid").read_text()), 0), shim_process)

    def discard(self, name: str) -> None:
        shim = self._shims.pop(name, None)
        if shim is None:
            return
        kill_tree(shim.pid)
        shim.wait()

    def oom_kills(self, cgroup: str) -> int:
        return 0

    def usage(self, cgroup: str) -> Usage:
        return Usage(0.0, 0, 0, 0, 0, 0)

    def exec_argv(
        self, name: str, process: dict[str, Any], scratch: Path, console: Path | None = None
    ) -> Sequence[str]:
        return ("sh", "-c", f'echo $$ >{scratch}/pid; exec "$@"', "exec", *process["args"])

    def surroundings(self) -> EngineFacts:
        return EngineFacts("", False, None)
