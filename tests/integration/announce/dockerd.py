"""A real dockerd with directories of its own, to be killed and started again; and containers in it."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import requests

IMAGE = "hecd-test/web"
EXPOSING = "hecd-test/exposing"  # the same, whose Dockerfile would have said EXPOSE 80
APPLETS = ("sh", "httpd", "sleep", "test", "touch", "rm", "kill")
# Serves /srv on the port given; told to end, it takes a second over it. A shell waits for what runs in the background
# only until a signal comes.
STAY = "while :; do sleep 600 & wait; done"
SERVE = f"trap 'sleep 1; exit 0' TERM; httpd -p $0 -h /srv; {STAY}"
SLOW_TO_END = SERVE.replace("sleep 1", "sleep 6")  # long enough for a machine that stands still meanwhile


class Dockerd:
    """Docker as its users have it, but for where it keeps its things. Run it inside `own_network`."""

    def __init__(self, storage: str = "vfs") -> None:
        # Docker's socket must have a short path, pytest's directories do not.
        self.folder = Path(tempfile.mkdtemp(prefix="hecd-docker-"))
        self.host = f"unix://{self.folder}/docker.sock"
        self._cgroup = self.folder.name
        self._storage = storage
        self._process: subprocess.Popen[bytes] | None = None
        self._containerd: subprocess.Popen[bytes] | None = None
        self.api: Any = None

    def start(self) -> Dockerd:
        self._start_containerd()
        argv = [
            _program("dockerd"), f"--host={self.host}", f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec", f"--pidfile={self.folder}/pid", "--live-restore",
            f"--storage-driver={self._storage}",
            "--exec-opt=native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{self._cgroup}", "--bip=172.29.0.1/24",
            f"--containerd={self.folder}/containerd.sock",
        ]  # fmt: skip
        self._process = self._begin(argv)
        deadline = time.monotonic() + 60.0
        while True:
            try:
                self.api = docker.APIClient(base_url=self.host, version="auto", timeout=60)
                return self
            except (docker.errors.DockerException, requests.RequestException):
                alive = self._process.poll() is None and time.monotonic() < deadline
                assert alive, (self.folder / "log").read_text()[-6000:]
                time.sleep(0.02)

    def kill(self) -> None:
        """kill -9: its containers run on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _start_containerd(self) -> None:
        """As systemd does it: one that outlives dockerd."""
        if self._containerd is not None:
            return
        (self.folder / "containerd.toml").write_text(
            f'version = 2\nroot = "{self.folder}/containerd"\nstate = "{self.folder}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{self.folder}/containerd.sock"\n'
        )
        self._containerd = self._begin([_program("containerd"), f"--config={self.folder}/containerd.toml"])

    def _begin(self, argv: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def load_image(self) -> None:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            tar.add("/bin/busybox", "bin/busybox")
            for name in APPLETS:
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            page = tarfile.TarInfo("srv/index.html")
            page.size = 6
            tar.addfile(page, io.BytesIO(b"hello\n"))
        self.api.import_image_from_data(data.getvalue(), repository=IMAGE)
        self.api.import_image_from_data(data.getvalue(), repository=EXPOSING, changes=["EXPOSE 80"])

    def run(
        self,
        name: str,
        *,
        publish: dict[int, int] | None = None,
        expose: tuple[int, ...] = (),
        network: str | None = None,
        port: int = 80,
        script: str = SERVE,
        image: str = IMAGE,
        **more: Any,
    ) -> str:
        """A container that serves on `port`; its id. `publish` is port inside -> port of the host."""
        ports = {*(publish or {}), *expose}
        made = self.api.create_container(
            image,
            ["/bin/sh", "-c", script, str(port)],
            name=name,
            ports=sorted(ports),
            host_config=self.api.create_host_config(port_bindings=publish, network_mode=network),
            **more,
        )
        self.api.start(made["Id"])
        return str(made["Id"])

    def pid(self, container: str) -> int:
        return int(self.api.inspect_container(container)["State"]["Pid"])

    def published(self, container: str) -> list[str]:
        """The ports that it is published on, as Docker says now: none once it has ended."""
        return list(self.api.inspect_container(container)["NetworkSettings"]["Ports"] or ())

    def inside(self, container: str, *words: str) -> None:
        """Run a command in it."""
        made = self.api.exec_create(container, list(words))
        self.api.exec_start(made["Id"])

    def empty(self) -> None:
        """Away with all containers and networks that tests made."""
        for found in self.api.containers(all=True):
            with suppress(docker.errors.NotFound):
                self.api.remove_container(found["Id"], force=True)
        for found in self.api.networks():
            if found["Name"] not in ("bridge", "host", "none"):
                self.api.remove_network(found["Id"])

    def stop(self) -> None:
        """End it and all that it left: processes of this directory, mounts, cgroups."""
        assert self._process is not None
        if self._process.poll() is None:
            with suppress(docker.errors.DockerException, requests.RequestException):
                self.empty()
            self._process.terminate()
            self._process.wait(timeout=60)
        assert self._containerd is not None
        self._containerd.terminate()
        self._containerd.wait(timeout=60)
        for pid in self._left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 5.0
        while any((group / "cgroup.procs").read_text() for group in self._cgroups()) and time.monotonic() < deadline:
            time.sleep(0.02)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted((m for m in mounts if m.startswith(f"{self.folder}/")), reverse=True):
            subprocess.run(["umount", "-l", place], check=False)
        for group in self._cgroups():
            with suppress(OSError):
                group.rmdir()
        subprocess.run(["rm", "-rf", str(self.folder)], check=True)

    def _left(self) -> set[int]:
        """Shims by their command line; what runs in containers by its cgroup, also if dockerd was killed."""
        found = {int(pid) for group in self._cgroups() for pid in (group / "cgroup.procs").read_text().split()}
        for entry in (p / "cmdline" for p in Path("/proc").glob("[0-9]*")):
            with suppress(OSError):
                if str(self.folder).encode() in entry.read_bytes():
                    found.add(int(entry.parent.name))
        return found

    def _cgroups(self) -> list[Path]:
        """Those of its containers, then their parents; of cgroup v1 or v2."""
        places = [*Path("/sys/fs/cgroup").glob(f"*/{self._cgroup}"), Path("/sys/fs/cgroup", self._cgroup)]
        parents = [place for place in places if place.is_dir()]
        return [child for parent in parents for child in parent.iterdir() if child.is_dir()] + parents


def _program(name: str) -> str:
    """The distribution's: what stands earlier in PATH may be another version."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin")
    assert found is not None, f"{name} is not installed: apt-get install docker.io"
    return found


@contextmanager
def deaths(dockerd: Dockerd) -> Iterator[dict[str, float]]:
    """Container -> when Docker says that it died, in seconds since the epoch, filled while the block runs."""
    times: dict[str, float] = {}
    events = dockerd.api.events(decode=True, since=int(time.time()), filters={"event": "die"})

    def read() -> None:
        for line in events:
            times[line["Actor"]["ID"]] = line["timeNano"] / 1e9

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield times
    finally:
        events.close()
        thread.join(timeout=5)
