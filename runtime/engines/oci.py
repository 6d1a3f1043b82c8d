"""The OCI runtime (crun, else runc) below conmon, which keeps log and exit code when its caller dies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from runtime import keeper
from runtime.engines.cgroups import HYBRID_CONTROLLERS, Cgroups
from runtime.engines.sealed import Sealed
from runtime.errors import MissingProgram, StartFailed
from runtime.model import Usage
from runtime.paths import HostPaths
from runtime.ports import PLAIN, EngineFacts, Launched, Streams
from runtime.process import Process, readable

INIT = "/usr/bin/tini-static"
SECCOMP = (Path("/usr/share/containers/seccomp.json"), Path("/etc/containers/seccomp.json"))
LAUNCH_TIMEOUT_S = 30.0
MAPPED_ROOT = Path("/run/hecd-rootfs")  # empty, but for who makes such a container
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

# crun refuses to create containers where version 2 of cgroups has a controller beside version 1. An empty file over the
# list of controllers helps. And the root of a container whose ids are remapped cannot go where nobody but root may: its
# files have to be found elsewhere. What is mounted for these lies there in a mount namespace that lasts as long as
# `crun create`, so that nothing on the host changes and no other program notices.
HYBRID = f"mount -o bind /dev/null {HYBRID_CONTROLLERS}"
REMAPPED = f"mount -o bind rootfs {MAPPED_ROOT}"


class OciEngine:
    """See ports.Engine. One for each host root."""

    def __init__(self, paths: HostPaths, runtime: str, conmon: str) -> None:
        self._root = paths.engine
        self._id = paths.id
        self._runtime = Sealed(runtime)
        self._conmon = conmon
        self._cgroups = Cgroups.probe()
        self._paths = paths
        # An ordinary user has no control groups, unless somebody delegates some: that is not asked for yet.
        self._flags = (f"--root={self._root}", *(("--cgroup-manager=disabled",) if paths.rootless else ()))
        hybrid = [HYBRID] if self._cgroups.hybrid_controllers and self._runtime.name == "crun" else []
        self._disks_counted = paths.rootless  # there are no groups to count for
        self._mounts = {False: hybrid, True: [*hybrid, REMAPPED]}  # by whether ids are remapped

    @classmethod
    def open(cls, paths: HostPaths) -> OciEngine:
        """Find the programs. Raises MissingProgram."""
        runtime = shutil.which("crun") or shutil.which("runc")
        if runtime is None:
            raise MissingProgram("crun", "crun")
        if paths.rootless and Path(runtime).name != "crun":
            raise MissingProgram("crun, which can do without control groups,", "crun")
        conmon = shutil.which("conmon")
        if conmon is None:
            raise MissingProgram("conmon", "conmon")
        return cls(paths, runtime, conmon)

    def launch(
        self, name: str, bundle: Path, log: Path, streams: Streams = PLAIN, made: Callable[[], None] = lambda: None
    ) -> Launched:
        for left in ("exit", "oom", "pid", "conmon.pid"):
            (bundle / left).unlink(missing_ok=True)
        pid = self._create(name, bundle, log, streams)
        # Who they are is noted before anything runs: a process may end before the next line.
        launched = Launched(self._known(pid, name), self._known(int((bundle / "conmon.pid").read_text()), name))
        self._count_disks(name)
        try:
            made()
        except BaseException:
            self.discard(name)
            raise
        started = self._call("start", name)
        if started.returncode:
            self.discard(name)
            raise _refused(name, started.stderr)
        return launched

    def discard(self, name: str) -> None:
        if (self._root / name).exists():
            self._call("delete", "--force", name)
            shutil.rmtree(self._root / name, ignore_errors=True)  # what was killed in the middle is none that it knows
        self._cgroups.drop(f"/hecd-{self._id}-{name}")

    def oom_kills(self, cgroup: str) -> int:
        return self._cgroups.oom_kills(cgroup)

    def usage(self, cgroup: str) -> Usage:
        return self._cgroups.usage(cgroup)

    def exec_argv(
        self, name: str, process: dict[str, Any], scratch: Path, console: Path | None = None
    ) -> Sequence[str]:
        (scratch / "process.json").write_text(json.dumps(process))
        tty = ("--tty", f"--console-socket={console}") if console else ()
        files = (f"--process={scratch / 'process.json'}", f"--pid-file={scratch / 'pid'}")
        return (self._runtime.path, *self._flags, "exec", *tty, *files, name)

    def surroundings(self) -> EngineFacts:
        return self._facts

    @cached_property
    def _facts(self) -> EngineFacts:
        if not Path(INIT).exists():
            raise MissingProgram("tini-static", "tini")
        profile = default_profile()
        if profile is None:
            raise MissingProgram(str(SECCOMP[0]), "golang-github-containers-common")
        return EngineFacts(INIT, self._cgroups.swap_limited, profile, cgroups=not self._paths.rootless)

    def _count_disks(self, name: str) -> None:
        """Before anything is read: once, as the kernel remembers it."""
        if not self._disks_counted:
            self._cgroups.count_disks(self._paths.cgroup(name))
            self._disks_counted = True

    def _create(self, name: str, bundle: Path, log: Path, streams: Streams) -> int:
        reader, writer = os.pipe()
        threading.Thread(target=self._cgroups.hasten, daemon=True).start()
        try:
            try:
                # conmon returns after a double fork. It writes `oom` into its working directory.
                with keeper.in_use(self._paths) as uses:
                    subprocess.run(
                        self._conmon_argv(name, bundle, log, streams),
                        check=False,
                        cwd=bundle,
                        env={**_ENVIRONMENT, "_OCI_SYNCPIPE": str(writer)},
                        pass_fds=[writer, *uses],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,  # a pipe here would be held open by the container
                        stderr=subprocess.DEVNULL,
                    )
            finally:
                os.close(writer)
            return self._created(name, reader)
        finally:
            os.close(reader)

    def _created(self, name: str, reader: int) -> int:
        """conmon's report: {"data": pid} or {"data": -1, "message": why}."""
        said = b""
        while not said.endswith(b"\n") and readable(reader, LAUNCH_TIMEOUT_S):
            chunk = os.read(reader, 65536)
            if not chunk:
                break
            said += chunk
        report = json.loads(said or b'{"data": -1, "message": "conmon said nothing"}')
        if report["data"] <= 0:
            self.discard(name)
            raise _refused(name, str(report.get("message", "")))
        return int(report["data"])

    def _conmon_argv(self, name: str, bundle: Path, log: Path, streams: Streams) -> list[str]:
        limit = [f"--log-size-max={streams.log_bytes}"] if streams.log_bytes else []
        program, *words = self._creator(remapped=(bundle / "rootfs").is_symlink())
        return [
            self._conmon,
            "--api-version=1",
            f"--cid={name}",
            f"--cuuid={name}",
            f"--name={name}",
            f"--runtime={program}",
            *(f"--runtime-arg={word}" for word in (*words, *self._flags)),
            f"--bundle={bundle}",
            f"--container-pidfile={bundle / 'pid'}",
            f"--conmon-pidfile={bundle / 'conmon.pid'}",
            f"--log-path=k8s-file:{log}",
            *limit,
            *(["--terminal"] if streams.terminal else []),
            *(["--stdin"] if streams.stdin else []),
            # Without a terminal, the end of what is typed has to reach the container.
            *(["--leave-stdin-open"] if streams.stdin and streams.terminal else []),
            f"--persist-dir={bundle}",  # the exit code goes to bundle/exit
            f"--socket-dir-path={self._root.parent}",
            "--full-attach",
            "--no-sync-log",
        ]

    def _call(self, *args: str) -> subprocess.CompletedProcess[str]:
        argv = [self._runtime.path, *self._flags, *args]
        return subprocess.run(argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def _known(self, pid: int, name: str) -> Process:
        process = Process.of(pid)
        if process is None:
            self.discard(name)
            raise _refused(name, f"process {pid} ended before it was started")
        return process

    def _creator(self, *, remapped: bool) -> list[str]:
        """What `create` is called through, as words."""
        if not (mounts := self._mounts[remapped]):
            return [self._runtime.path]
        if remapped and self._runtime.name != "crun":
            raise MissingProgram("crun, which remaps ids,", "crun")
        if remapped:
            MAPPED_ROOT.mkdir(mode=0o755, exist_ok=True)
        return [*_alone(), "-c", " && ".join((*mounts, 'exec "$0" "$@"')), self._runtime.path]


@cache
def _alone() -> list[str]:
    """A shell in a mount namespace of its own; that of busybox-static starts in a third of the time."""
    if busybox := shutil.which("busybox"):
        return [busybox, "unshare", "-m", busybox, "sh"]
    return [shutil.which("unshare") or "unshare", "-m", "/bin/sh"]


def default_profile() -> dict[str, Any] | None:
    """The host's seccomp profile, in Docker's form; None where it has none."""
    found = next((path for path in SECCOMP if path.exists()), None)
    return None if found is None else json.loads(found.read_bytes())


def _refused(name: str, words: str) -> StartFailed:
    lines = tuple(line for line in words.strip().splitlines() if line)[-4:]
    return StartFailed(
        f"container {name!r} could not be started: {lines[-1] if lines else 'no reason was given'}",
        details=lines[:-1],
        hint="Check command, user, working_dir and mounts against the image.",
    )
