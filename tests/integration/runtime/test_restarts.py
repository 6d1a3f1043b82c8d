"""Containers that are run again by themselves, by a process that nobody had to start."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runtime import userns
from runtime.host import Host
from runtime.model import ContainerSpec, LogLimits, Restart, State
from runtime.process import Process
from runtime.state import taken
from runtime.supervision import supervisor_lock
from runtime.supervisor import Supervisor
from tests.integration.runtime.conftest import IMAGE, Root, becomes, run, texts

FAIL = ("/bin/sh", "-c", "echo run; exit 3")


def supervisors(root: Root) -> list[int]:
    """The supervisors of this root, by process number; without their children, which look alike until they become what
    they were made for."""
    found = []
    for path in (p / "cmdline" for p in Path("/proc").glob("[0-9]*")):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"runtime.supervisor" in words and str(root.lib).encode() in words:
            found.append(int(path.parent.name))
    return [pid for pid in found if _parent(pid) not in found]


def the_supervisor(root: Root) -> int:
    """The only one; the kernel shows its command line a moment after it was started."""
    becomes(lambda: len(supervisors(root)) == 1, within_s=30.0)
    return supervisors(root)[0]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def starts(host: Host, name: str) -> int:
    return texts(host, name).count("run")


def test_failures_are_run_again_as_often_as_was_said(runtime_host: Host, root: Root) -> None:
    began = time.monotonic()
    run(runtime_host, "c", *FAIL, restart=Restart("on-failure", 3))
    becomes(lambda: starts(runtime_host, "c") == 4, within_s=20.0)
    assert time.monotonic() - began > 0.1 + 0.2 + 0.4, "with a delay that doubles"
    becomes(lambda: supervisors(root) == [], within_s=30.0, what=lambda: "it has nothing to do any more")
    seen = runtime_host.containers.inspect("c")
    assert (seen.state, seen.exit_code, seen.restarts) == (State.EXITED, 3, 3)
    assert starts(runtime_host, "c") == 4
    runtime_host.containers.start("c")
    becomes(lambda: starts(runtime_host, "c") == 8, within_s=20.0, what=lambda: "who starts it begins the count anew")


def test_a_good_end_is_no_failure(runtime_host: Host, root: Root) -> None:
    run(runtime_host, "c", "/bin/sh", "-c", "echo run; sleep 0.2", restart=Restart("on-failure"))
    assert runtime_host.containers.wait("c", 30.0)
    becomes(lambda: supervisors(root) == [], within_s=30.0)
    assert starts(runtime_host, "c") == 1


def test_what_is_killed_comes_back_under_its_address(runtime_host: Host) -> None:
    first = run(runtime_host, "web", restart=Restart("always"))

    def restarted(count: int) -> None:
        becomes(lambda: runtime_host.containers.inspect("web").restarts == count, within_s=30.0)

    for count in (1, 2):
        os.kill(runtime_host.containers.inspect("web").pid or 0, signal.SIGKILL)
        restarted(count)
        becomes(lambda: runtime_host.containers.inspect("web").state is State.RUNNING)
    assert runtime_host.containers.inspect("web").address == first.address


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_what_is_stopped_stays_so(runtime_host: Host, root: Root, policy: str) -> None:
    for name in ("stopped", "killed"):
        run(runtime_host, name, restart=Restart(policy))
    runtime_host.containers.stop("stopped")
    runtime_host.containers.signal("killed", "SIGKILL")
    becomes(lambda: supervisors(root) == [], within_s=30.0, what=lambda: "nobody needs it")
    states = {c.name: (c.state, c.restarts) for c in runtime_host.containers.list()}
    assert states == {"stopped": (State.EXITED, 0), "killed": (State.EXITED, 0)}
    runtime_host.containers.start("stopped")
    os.kill(runtime_host.containers.inspect("stopped").pid or 0, signal.SIGKILL)
    becomes(lambda: runtime_host.containers.inspect("stopped").restarts == 1, within_s=30.0)


def test_a_stop_in_the_delay_counts(runtime_host: Host, root: Root) -> None:
    run(runtime_host, "c", *FAIL, restart=Restart("always"))
    becomes(lambda: starts(runtime_host, "c") >= 4, within_s=20.0)
    runtime_host.containers.stop("c")
    count = starts(runtime_host, "c")
    becomes(lambda: supervisors(root) == [], within_s=30.0)
    assert starts(runtime_host, "c") == count


def test_there_is_one_supervisor_for_all_and_a_killed_one_is_replaced(runtime_host: Host, root: Root) -> None:
    for i in range(3):
        run(runtime_host, f"c.{i}", "/bin/sleep", "60", restart=Restart("always"))
    pid = the_supervisor(root)
    supervisor = Process.of(pid)
    assert supervisor is not None
    supervisor.signal(9)
    assert supervisor.wait(30.0)
    os.kill(runtime_host.containers.inspect("c.0").pid or 0, signal.SIGKILL)
    assert runtime_host.containers.wait("c.0", 30.0)
    run(runtime_host, "c.3", "/bin/sleep", "60", restart=Restart("always"))
    becomes(lambda: runtime_host.containers.inspect("c.0").restarts == 1, within_s=30.0)
    assert len(supervisors(root)) == 1
    for c in runtime_host.containers.list():
        runtime_host.containers.remove(c.name)
    becomes(lambda: supervisors(root) == [], within_s=30.0)


def test_a_supervisor_at_rest_uses_no_processor(runtime_host: Host, root: Root) -> None:
    run(runtime_host, "c", "/bin/sleep", "60", restart=Restart("always"), log=LogLimits(4096, 2))
    pid = the_supervisor(root)
    # One that is still beginning, and is not given a processor, stands still as well: for a while only.
    becomes(lambda: _sleeps(pid, 2.0), within_s=30.0, what=lambda: "it waits, it does not poll")


def test_as_a_service_it_starts_what_a_reboot_ended(runtime_host: Host, root: Root) -> None:
    specs = {"always": Restart("always"), "unless": Restart("unless-stopped"), "failing": Restart("on-failure")}
    for name, restart in specs.items():
        run(runtime_host, name, "/bin/sleep", "60", restart=restart)
    run(runtime_host, "plain", "/bin/sleep", "60")
    runtime_host.containers.create(ContainerSpec("never-started", IMAGE, restart=Restart("always")))
    for name in ("stopped-always", "stopped-unless"):
        run(runtime_host, name, "/bin/sleep", "60", restart=specs[name.partition("-")[2]])
        runtime_host.containers.stop(name)
    _reboot(runtime_host, root)
    program = (
        "import sys; from pathlib import Path\n"
        "from runtime.host import Host; from runtime.supervisor import Supervisor\n"
        "Supervisor(Host.open(Path(sys.argv[1]), Path(sys.argv[2])), stay=True).run()"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(root.lib), str(root.run)]) as service:
        try:
            running = {"always", "unless", "failing", "stopped-always"}
            becomes(lambda: _running(runtime_host) == running, within_s=20.0, what=lambda: str(_running(runtime_host)))
            assert service.poll() is None
        finally:
            service.kill()
    assert runtime_host.containers.inspect("stopped-unless").state is State.LOST


def test_a_start_that_fails_is_tried_again_later(runtime_host: Host, tmp_path: Path) -> None:
    from runtime.model import Mount

    source = tmp_path / "source"
    source.mkdir()
    mounts = (Mount("bind", "/x", str(source)),)
    run(runtime_host, "c", "/bin/sleep", "60", restart=Restart("always"), mounts=mounts)
    source.rmdir()
    os.kill(runtime_host.containers.inspect("c").pid or 0, signal.SIGKILL)
    becomes(lambda: runtime_host.containers.inspect("c").restarts >= 3, within_s=30.0)
    source.mkdir()
    becomes(lambda: runtime_host.containers.inspect("c").state is State.RUNNING, within_s=30.0)


def test_no_second_supervisor_while_one_holds_the_lock(runtime_host: Host, root: Root) -> None:
    lock = taken(supervisor_lock(runtime_host.paths))
    assert lock is not None and taken(supervisor_lock(runtime_host.paths)) is None
    with lock:
        run(runtime_host, "c", "/bin/sleep", "60", restart=Restart("always"))
        assert supervisors(root) == []


def _running(host: Host) -> set[str]:
    return {c.name for c in host.containers.list() if c.state is State.RUNNING}


def _reboot(host: Host, root: Root) -> None:
    """A reboot takes processes, mounts, namespaces and `run`."""
    for pid in supervisors(root):
        process = Process.of(pid)
        assert process is None or (process.signal(9) and process.wait(30.0))
    for c in host.containers.list():
        if c.pid:
            os.kill(c.pid, signal.SIGKILL)
            assert host.containers.wait(c.name, 30.0)
        stopped = host.paths.container(c.name) / "stopped"
        if stopped.exists():
            stopped.write_text("an earlier boot")
        from runtime.engines.oci import OciEngine

        OciEngine.open(host.paths).discard(c.name)
        host.network.disconnect(c.name, "", ())
        subprocess.run(["umount", host.paths.rootfs(c.name)], check=True)
        userns.drop(host.paths.userns(c.name))
    host.network.teardown()
    subprocess.run(["rm", "-rf", root.run], check=True)
    host.paths.make()


def _sleeps(pid: int, for_s: float) -> bool:
    before = _switches(pid)
    time.sleep(for_s)
    return _switches(pid) == before


def _switches(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def test_an_end_between_the_look_and_the_wait_is_not_missed(
    runtime_host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = taken(supervisor_lock(runtime_host.paths))  # ours is the only one
    assert lock is not None
    run(runtime_host, "c", "/bin/sleep", "60", restart=Restart("on-failure", 2))

    exit_fd = runtime_host.containers.exit_fd

    def too_late(name: str) -> None:
        if (fd := exit_fd(name)) is not None:
            os.kill(runtime_host.containers.inspect(name).pid or 0, signal.SIGKILL)
            assert select.select([fd], [], [], 10.0)[0], "it does not end"
            os.close(fd)

    monkeypatch.setattr(runtime_host.containers, "exit_fd", too_late)
    supervisor = threading.Thread(target=Supervisor(runtime_host, stay=False).run, daemon=True)
    supervisor.start()
    supervisor.join(20.0)
    lock.close()
    assert not supervisor.is_alive(), "it still waits"
    assert runtime_host.containers.inspect("c").restarts == 2
