"""How a root gets its supervisor: one process for all containers that want to be run again or to keep older logs.

Without a daemon somebody has to wait for their ends. One process a container would cost some 15 MiB each; the shim
knows no policy; and a timer would poll. So whoever starts the first such container starts the supervisor, and it ends
with the last one. What is wanted stands on disk, so that it may die at any time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from runtime.keeper import in_use
from runtime.model import ContainerSpec
from runtime.paths import HostPaths
from runtime.state import held, taken


def needs_care(spec: ContainerSpec) -> bool:
    """Whether somebody has to watch over the container."""
    return spec.restart.policy != "no" or spec.log.max_files > 1


def ensure(paths: HostPaths) -> None:
    """Have a supervisor that looks at the containers as they are now, or later."""
    with held(paths.locks / "supervision"):
        ring(paths)
        lock = taken(supervisor_lock(paths))
        if lock is None:
            return
        with lock, (paths.run / "supervisor.log").open("ab") as log, in_use(paths) as uses:
            # The child inherits the lock: there is no moment in which another one could begin.
            subprocess.Popen(
                [sys.executable, "-m", "runtime.supervisor", str(paths.lib), str(paths.run), str(lock.fileno())],
                pass_fds=[lock.fileno(), *uses],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=paths.run,
                start_new_session=True,
            )


def ring(paths: HostPaths) -> None:
    """Have the supervisor look again, if there is one."""
    (paths.doorbell / "bell").write_bytes(b"")


def supervisor_lock(paths: HostPaths) -> Path:
    return paths.locks / "supervisor"
