"""A real Podman service with storage, socket and configuration of its own, to be killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.integration.runtime.conftest import becomes

# crun refuses hybrid cgroups; nobody without CAP_SYS_RESOURCE may ask for the limits that are usual.
CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
init_path = "{init}"
"""


class PodmanService:
    """`podman system service` on a socket."""

    def __init__(self, insecure: str = "") -> None:
        """`insecure` is a registry whose certificate it does not check."""
        self.folder = Path(tempfile.mkdtemp(prefix="hecd-podman-"))  # a socket's path has to be short
        self.socket = self.folder / "podman.sock"
        init = shutil.which("tini-static")
        assert init is not None, "tini is not installed: apt-get install tini"
        (self.folder / "containers.conf").write_text(CONF.format(init=init))
        registries = f'[[registry]]\nlocation = "{insecure}"\ninsecure = true\n' if insecure else ""
        (self.folder / "registries.conf").write_text(registries)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> PodmanService:
        argv = [*self._podman(), "system", "service", "--time=0", f"unix://{self.socket}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment(),
                cwd=self.folder,  # its conmon leaves `oom` where it stands
            )  # fmt: skip
        becomes(self._answers, 30.0, lambda: (self.folder / "log").read_text()[-4000:])
        return self

    def _answers(self) -> bool:
        """The file of a socket is there before anybody listens at it."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10.0)
            try:
                client.connect(str(self.socket))
                client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in client.recv(100)
            except OSError:
                return False

    def kill(self) -> None:
        """kill -9: its containers run on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.socket.unlink(missing_ok=True)

    def stop(self) -> None:
        """End it, its containers and all that it mounted."""
        subprocess.run([*self._podman(), "rm", "-af", "-t", "0"], env=self._environment(), capture_output=True)
        self.kill()
        for entry in (p / "cmdline" for p in Path("/proc").glob("[0-9]*")):
            with suppress(OSError):
                if str(self.folder).encode() in entry.read_bytes():
                    os.kill(int(entry.parent.name), signal.SIGKILL)
        time.sleep(0.05)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted((m for m in mounts if m.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "-l", place], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _podman(self) -> list[str]:
        program = shutil.which("podman")
        assert program is not None, "podman is not installed: apt-get install podman runc"
        folder = self.folder
        return [
            program, "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp",
            "--storage-driver", "vfs",
        ]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        files = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_REGISTRIES_CONF": "registries.conf"}
        return {**os.environ, **{name: str(self.folder / file) for name, file in files.items()}}
