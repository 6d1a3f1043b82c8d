"""What a description may ask for besides image and command, as the processes of the container see it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from runtime import policy
from runtime.errors import InvalidSpec, KernelRefused
from runtime.host import Host
from runtime.model import ContainerSpec, MemoryFile, Mount, Ulimit
from tests.integration.runtime.conftest import IMAGE, finished, run, texts


def said(host: Host, script: str, **wishes: Any) -> list[str]:
    """What the script writes."""
    finished(host, "c", "/bin/sh", "-c", script, **wishes)
    found = texts(host, "c")
    host.containers.remove("c")
    return found


def bits(host: Host, **wishes: object) -> int:
    return int(said(host, "busybox grep CapEff /proc/self/status", **wishes)[0].split()[1], 16)


def test_capabilities(runtime_host: Host) -> None:
    admin, raw = 1 << 12, 1 << 13
    assert bits(runtime_host) & (admin | raw) == raw
    assert bits(runtime_host, cap_add=("NET_ADMIN",), cap_drop=("NET_RAW",)) & (admin | raw) == admin
    assert bits(runtime_host, cap_drop=("ALL",)) == 0
    up = "busybox ip link set eth0 mtu 1400 && echo made"
    assert said(runtime_host, up, cap_add=("NET_ADMIN",)) == ["made"]
    assert "made" not in said(runtime_host, up)


def test_who_is_not_root_gains_privileges_only_where_that_is_allowed(runtime_host: Host) -> None:
    script = "busybox grep -E 'NoNewPrivs|CapBnd|CapEff' /proc/self/status"
    assert [x.split()[1] for x in said(runtime_host, script, user="app")] == ["0" * 16, "0" * 16, "1"]
    found = [x.split()[1] for x in said(runtime_host, script, user="app", no_new_privileges=False)]
    assert found == ["0" * 16, "00000000a80425fb", "0"]


def test_privileged_only_where_the_host_allows_it(
    runtime_host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "FILE", tmp_path / "runtime.toml")
    script = "busybox mount -t tmpfs none /srv && echo mounted; echo 1 >/proc/sys/vm/drop_caches && echo wrote; ls /dev"
    with pytest.raises(InvalidSpec, match="not allowed here"):
        run(runtime_host, "c", privileged=True)
    policy.FILE.write_text("privileged = true\n")
    found = said(runtime_host, script, privileged=True)
    assert found[:2] == ["mounted", "wrote"]
    assert {"kmsg", "null", "fuse"} & set(found) >= {"kmsg", "null"}
    assert "mounted" not in said(runtime_host, script)


def test_ulimits(runtime_host: Host) -> None:
    limits = (Ulimit("nofile", 100, 200), Ulimit("core", 0, 0))
    assert said(runtime_host, "ulimit -Sn; ulimit -Hn; ulimit -Hc", ulimits=limits) == ["100", "200", "0"]


def test_a_limit_above_our_own_is_named(runtime_host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.admission._may_raise_limits", lambda: False)
    with pytest.raises(InvalidSpec, match="above what this process may give"):
        run(runtime_host, "c", ulimits=(Ulimit("nofile", 1, 1 << 40),))


def test_sysctls(runtime_host: Host) -> None:
    sysctls = {"net.core.somaxconn": "77", "kernel.msgmax": "8200", "fs.mqueue.msg_max": "11"}
    script = "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max"
    host_before = Path("/proc/sys/net/core/somaxconn").read_text()
    assert said(runtime_host, script, sysctls=sysctls) == ["77", "8200", "11"]
    assert Path("/proc/sys/net/core/somaxconn").read_text() == host_before
    with pytest.raises(KernelRefused, match="net/nothing"):
        run(runtime_host, "c", sysctls={"net.nothing": "1"})


def test_groups(runtime_host: Host) -> None:
    assert said(runtime_host, "id -G", user="4000:5000", group_add=("extra", "77")) == ["5000 77 2000"]
    with pytest.raises(InvalidSpec, match="no group 'strangers'"):
        run(runtime_host, "c", group_add=("strangers",))


def test_names_and_name_servers(runtime_host: Host) -> None:
    hosts = {"db": "10.9.9.9", "host.docker.internal": "host-gateway", "six": "fd00::1"}
    found = said(runtime_host, "cat /etc/hosts", extra_hosts=hosts)
    assert found[-3:] == [
        "10.9.9.9\tdb", f"{runtime_host.network.bridge.address}\thost.docker.internal", "fd00::1\tsix",
    ]  # fmt: skip
    wishes = {"dns": ("9.9.9.9", "fd00::2"), "dns_search": ("a.example", "b.example"), "dns_options": ("ndots:2",)}
    assert said(runtime_host, "cat /etc/resolv.conf", **wishes) == [
        "nameserver 9.9.9.9", "nameserver fd00::2", "search a.example b.example", "options ndots:2",
    ]  # fmt: skip
    assert not any(line.startswith("search") for line in said(runtime_host, "cat /etc/resolv.conf", dns_search=(".",)))


def test_secrets_are_in_memory_and_read_at_each_start(runtime_host: Host, tmp_path: Path) -> None:
    source = tmp_path / "password"
    source.write_text("first\n")
    files = (
        MemoryFile("/run/secrets/password", str(source), mode=0o400, uid=1000, gid=1000),
        MemoryFile("/etc/app.conf", content="a = 1\n"),
    )
    script = (
        "cat /run/secrets/password /etc/app.conf; busybox stat -c %a:%u /run/secrets/password; "
        "echo no >/etc/app.conf || echo fixed; busybox grep ' /run/secrets/password ' /proc/self/mountinfo"
    )
    finished(runtime_host, "c", "/bin/sh", "-c", script, files=files, user="app")
    out = [line.text for line in runtime_host.inside.logs("c") if line.stream == "stdout"]
    assert out[:4] == ["first", "a = 1", "400:1000", "fixed"]
    assert re.search(r" - tmpfs ", out[4]) and " ro," in out[4] and "nosuid,nodev" in out[4]
    source.write_text("s3cond w0rd\n")
    runtime_host.containers.start("c")
    assert runtime_host.containers.wait("c", 30.0)
    assert "s3cond w0rd" in texts(runtime_host, "c")
    kept = [
        path for path in runtime_host._paths.lib.rglob("*") if path.is_file() and b"s3cond w0rd" in path.read_bytes()
    ]
    assert [path.name for path in kept] == ["log"], "it is on no disk of ours, but for what the container wrote itself"
    source.unlink()
    with pytest.raises(InvalidSpec, match="cannot be read"):
        runtime_host.containers.start("c")


def test_a_secret_lies_on_what_is_mounted_above_it(runtime_host: Host) -> None:
    files = (MemoryFile("/run/secrets/x", content="s\n"), MemoryFile("/data/y", content=""))
    script = "cat /run/secrets/x; ls /data"
    found = said(runtime_host, script, read_only=True, files=files, mounts=(Mount("tmpfs", "/data"),))
    assert found == ["s", "y"]


def test_a_source_that_is_too_large_is_named_and_leaves_nothing(runtime_host: Host, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(InvalidSpec, match="larger than 1 MiB"):
        runtime_host.containers.create(ContainerSpec("c", IMAGE, files=(MemoryFile("/x", str(tmp_path / "big")),)))
    assert runtime_host.containers.list() == []
