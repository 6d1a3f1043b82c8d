"""What else a description may ask for: the same with each engine."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runtime import policy
from runtime.errors import InvalidSpec, NotHere
from runtime.host import Host
from runtime.model import ContainerSpec, Device, LogLimits, MemoryFile, Mount, Restart, State, Ulimit
from tests.contract.runtime.engines.conftest import Engine
from tests.contract.runtime.engines.test_inside import HOLD, go_on, said, written
from tests.integration.runtime.conftest import IMAGE, becomes, finished, run, texts

NO_CHMOD = {"names": ["chmod", "fchmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}


def test_secrets_and_configs_are_read_anew_at_each_start(host: Host, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("first")
    files = (
        MemoryFile("/run/secrets/key", source=str(secret), mode=0o400, uid=1000),
        MemoryFile("/etc/app.conf", content="a = 1\n"),
    )
    script = (
        "cat /run/secrets/key; echo; cat /etc/app.conf; busybox stat -c %a:%u /run/secrets/key; echo x >/etc/app.conf"
    )
    finished(host, "job", "/bin/sh", "-c", f"({script}) 2>&1", files=files)
    *found, refused = texts(host, "job")
    assert found == ["first", "a = 1", "400:1000"] and "Read-only" in refused
    secret.write_text("second")
    host.containers.start("job")
    assert host.containers.wait("job", 30.0)
    becomes(lambda: "second" in texts(host, "job"), what=lambda: str(texts(host, "job")))
    host.containers.remove("job")
    assert str(tmp_path / "root") not in Path("/proc/mounts").read_text()


def test_a_volume_without_a_name_is_written_though_all_else_is_read_only(host: Host) -> None:
    script = ("/bin/sh", "-c", "cat /own/x; echo kept >/own/x; echo no >/x")
    finished(host, "job", *script, mounts=(Mount("volume", "/own"),), read_only=True)
    host.containers.start("job")
    assert host.containers.wait("job", 30.0)
    becomes(lambda: "kept" in texts(host, "job"), what=lambda: str(texts(host, "job")))


def test_capabilities_are_added_and_dropped(host: Host) -> None:
    grep = ("/bin/busybox", "grep", "CapEff", "/proc/self/status")
    assert said(host, *grep, cap_drop=("ALL",), cap_add=("CHOWN",)) == ["CapEff:\t0000000000000001"]
    assert said(host, *grep, cap_drop=("CAP_NET_RAW", "MKNOD")) == ["CapEff:\t00000000a00405fb"]
    with pytest.raises(InvalidSpec, match="no capability"):
        run(host, "job", cap_add=("FLYING",))
    with pytest.raises(InvalidSpec, match="not allowed here"):
        run(host, "job", privileged=True)


def test_a_device_only_where_the_host_allows_it(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/kmsg is on each machine, and none of a container's own."""
    monkeypatch.setattr(policy, "FILE", tmp_path / "runtime.toml")
    script = "busybox stat -c %F /dev/log2; true >/dev/log2 && echo writes; true </dev/log2 && echo reads"
    device = Device("/dev/kmsg", "/dev/log2", "r")
    with pytest.raises(InvalidSpec, match="/dev/kmsg is not for containers here; `devices = "):
        run(host, "job", devices=(device,))
    policy.FILE.write_text('devices = ["/dev/k*", "/dev/shm/*"]\n')
    found = said(host, "/bin/sh", "-c", script, devices=(device,), cap_add=("SYSLOG",))
    assert {"character special file", "reads"} <= set(found)
    assert "writes" not in found
    assert "writes" in said(host, "/bin/sh", "-c", script, devices=(replace(device, access="rw"),))
    with pytest.raises(InvalidSpec, match="/dev/shm/no is no device of this host"):
        run(host, "job", devices=(Device("/dev/shm/no"),))


def test_a_seccomp_profile_of_ones_own(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "FILE", tmp_path / "runtime.toml")
    narrow, wide = tmp_path / "narrow.json", tmp_path / "wide.json"
    profile = json.loads(Path("/usr/share/containers/seccomp.json").read_text())
    narrow.write_text(json.dumps(profile | {"syscalls": [*map(without_chmod, profile["syscalls"]), NO_CHMOD]}))
    wide.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    script = ("/bin/sh", "-c", "busybox chmod 700 /tmp && echo changed; busybox grep Seccomp: /proc/self/status")
    assert said(host, *script) == ["changed", "Seccomp:\t2"]
    narrowed = said(host, *script, seccomp=str(narrow))
    assert "Seccomp:\t2" in narrowed and "changed" not in narrowed
    for asked in ("unconfined", str(wide)):
        with pytest.raises(InvalidSpec, match=f"seccomp {asked} is not allowed here .*in {policy.FILE} allows it"):
            run(host, "job", seccomp=asked)
    policy.FILE.write_text('seccomp = ["unconfined"]')
    assert said(host, *script, seccomp="unconfined") == ["changed", "Seccomp:\t0"]


def without_chmod(rule: dict[str, Any]) -> dict[str, Any]:
    return rule | {"names": [name for name in rule["names"] if "chmod" not in name] or ["read"]}


def test_limits_sysctls_and_groups(host: Host) -> None:
    script = "ulimit -Sn; ulimit -Hn; cat /proc/sys/net/core/somaxconn; id -G"
    found = said(
        host,
        *("/bin/sh", "-c", script),
        ulimits=(Ulimit("nofile", 512, 1024),),
        sysctls={"net.core.somaxconn": "77"},
        group_add=("extra", "4321"),
    )
    assert found[:3] == ["512", "1024", "77"] and {"2000", "4321"} <= set(found[3].split())
    with pytest.raises(InvalidSpec, match="container's own"):
        run(host, "job", sysctls={"vm.swappiness": "1"})


def test_names_of_ones_own(host: Host) -> None:
    found = said(
        host,
        *("/bin/cat", "/etc/hosts", "/etc/resolv.conf"),
        extra_hosts={"db": "10.1.2.3", "host": "host-gateway"},
        dns=("10.9.9.9",),
        dns_search=("example.org",),
    )
    assert "10.1.2.3\tdb" in found and f"{host.network.bridge.address}\thost" in found
    assert "nameserver 10.9.9.9" in found and "search example.org" in found


def test_a_volume_outlives_its_container(host: Host, engine: Engine) -> None:
    mounts = (Mount("volume", "/srv", source=f"shop-{time.monotonic_ns()}"),)
    assert said(host, "/bin/sh", "-c", "cat /srv/index.html; echo kept >/srv/new", mounts=mounts) == ["hello"]
    assert said(host, "/bin/cat", "/srv/new", mounts=mounts) == ["kept"]
    if engine.name == "oci":
        assert [v.name for v in host.volumes.all()] == [mounts[0].source]
    else:
        with pytest.raises(NotHere, match="its engine's"):
            host.volumes.all()


def test_a_restart_policy_is_our_own_engines(host: Host, engine: Engine) -> None:
    spec = ContainerSpec("job", IMAGE, restart=Restart("on-failure", 1))
    if engine.name == "oci":
        host.containers.create(spec)
        return
    with pytest.raises(InvalidSpec, match="without its network"):
        host.containers.create(spec)
    with pytest.raises(NotHere):
        host.supervised.restarts("job")


def test_a_small_log_keeps_its_end(host: Host, engine: Engine) -> None:
    finished(host, "job", "/bin/sh", "-c", "busybox seq 20000", log=LogLimits(8192, 2))
    becomes(lambda: texts(host, "job")[-1:] == ["20000"], what=lambda: str(texts(host, "job")[-3:]))
    # Our own keeps every line until somebody has had the time to begin a new file: tests/integration/runtime.
    assert (len(texts(host, "job")) < 10000) or engine.name == "oci"


def test_lines_of_a_span_of_time(host: Host, engine: Engine) -> None:
    # Podman's socket tells whole seconds: longer pauses tell the lines apart. They begin when a line is in the log.
    run(host, "job", "/bin/sh", "-c", f"echo one; {HOLD.format(1)}; echo two; {HOLD.format(2)}; echo three")
    for step, lines in ((1, ["one"]), (2, ["one", "two"])):
        written(host, "job", lines)
        time.sleep(2.1 if engine.name == "podman" else 0.05)
        go_on(host, "job", step)
    assert host.containers.wait("job", 30.0)
    one, two, three = host.inside.logs("job")
    assert [x.text for x in host.inside.logs("job", since=two.timestamp)] == ["two", "three"]
    span = timedelta(seconds=1) if engine.name == "podman" else timedelta(milliseconds=1)
    middle = host.inside.logs("job", since=one.timestamp + span, until=three.timestamp - span)
    assert [x.text for x in middle] == ["two"]
    assert [x.text for x in host.inside.logs("job", tail=1, until=three.timestamp - span)] == ["two"]


def test_what_a_container_uses(host: Host) -> None:
    busy = run(host, "job", "/bin/sh", "-c", "while :; do :; done")
    assert busy.state is State.RUNNING
    becomes(lambda: (used := host.containers.usage("job")) is not None and used.cpu_s > 0.1, 10.0)
    used = host.containers.usage("job")
    assert used is not None and used.memory_bytes > 0 and used.pids >= 1
    host.containers.stop("job", 0.1)
    assert host.containers.usage("job") is None


def test_one_may_attach_before_it_runs(host: Host) -> None:
    spec = ContainerSpec("job", IMAGE, command=("/bin/sh", "-c", "read x; echo got $x; echo e >&2"), stdin_open=True)
    host.containers.create(spec)
    peers = []
    host.containers.start("job", lambda: peers.append(host.inside.attach("job")))
    (peer,) = peers
    heard: dict[int, bytes] = {1: b"", 2: b""}

    def listen() -> None:
        while (found := peer.receive()) is not None:
            heard[found[0]] += found[1]
            time.sleep(0.001)

    listener = threading.Thread(target=listen, daemon=True)
    with contextlib.closing(peer):
        listener.start()
        peer.send(b"word\n")
        peer.close_input()
        assert host.containers.wait("job", 30.0)
        listener.join(5.0)
    assert heard == {1: b"got word\n", 2: b"e\n"}


def test_a_terminal(host: Host) -> None:
    finished(host, "job", "/bin/sh", "-c", "[ -t 1 ] && echo a terminal", tty=True)
    assert [text.rstrip("\r") for text in texts(host, "job")] == ["a terminal"]
