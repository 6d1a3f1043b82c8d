"""What a host lacks, and what crashes left: found, and taken away; what lives is left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.cli import main
from runtime.doctor import needs as doctor_needs
from runtime.doctor.leftovers import leftovers
from runtime.host import Host
from runtime.linux import mount
from runtime.model import MemoryFile, Mount, PublishedPort, Restart
from runtime.networks.kernel import ensure_namespace, netlink
from runtime.networks.nft import Nft
from runtime.paths import HostPaths
from runtime.state import held
from tests.fakes.ports import free_port
from tests.integration.runtime.conftest import Root, answers, becomes, run

PROGRAM = [sys.executable, "-c", "from runtime.cli import main; main()"]


def left(host: Host, root: Root) -> list[str]:
    return [leftover.what for leftover in leftovers(host.paths, root.bridge)]


def test_this_host_has_all_that_is_vital(root: Root) -> None:
    found = {need.what: need for need in doctor_needs.needs(root.open().paths)}
    assert [need.what for need in found.values() if need.vital and not need.fine] == []
    assert {"network devices: veth", "nf_tables", "overlayfs on the disk of the root"} <= set(found)
    assert not any(path.name.startswith(".doctor") for path in root.lib.iterdir())


def test_what_is_missing_is_named_with_what_to_do(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("runtime.doctor.needs.INIT", "/nowhere/tini")
    monkeypatch.setitem(doctor_needs.LINKS, "nothing", {})
    missing = {
        need.what: need.hint
        for need in doctor_needs.needs(HostPaths(root.lib, root.run))
        if need.vital and not need.fine
    }
    assert missing["crun or runc: neither"] == "apt-get install crun"
    assert missing["conmon"] == "apt-get install conmon" and missing["/nowhere/tini"] == "apt-get install tini"
    assert any(what.startswith("network devices: nothing: cannot make a nothing") for what in missing)


def test_what_lives_is_no_leftover(runtime_host: Host, root: Root) -> None:
    port = free_port()
    run(
        runtime_host, "web", ports=(PublishedPort(port, 80),), mounts=(Mount("volume", "/v", "data"),),
        files=(MemoryFile("/f", content="x"),), restart=Restart("always"),
    )  # fmt: skip
    run(runtime_host, "ended", "/bin/true")
    assert left(runtime_host, root) == []
    assert "hello" in answers("127.0.0.1", port)


def _half_container(host: Host) -> None:
    host.paths.container("ghost").mkdir()
    mount("tmpfs", str(host.paths.container("ghost")), "tmpfs")


def _namespace(host: Host) -> None:
    ensure_namespace(host.paths.namespace("ghost"))


def _cable(host: Host) -> None:
    run(host, "real")
    with netlink("make a cable") as ip:
        index = ip.link_lookup(ifname=host.network.bridge.name)[0]
        ip.link("add", ifname="hvghost0", kind="veth", master=index, peer="hvghost1")


def _port(host: Host) -> None:
    run(host, "real", ports=(PublishedPort(free_port(), 80),))
    Nft().run(f"add element ip hecd_{host.paths.id} any_tcp {{ 59999 : 10.87.0.99 . 80 }}")


def _group(host: Host) -> None:
    root = Path("/sys/fs/cgroup")
    place = root if (root / "cgroup.controllers").exists() else root / "memory"
    (place / f"hecd-{host.paths.id}-ghost").mkdir()


def _address(host: Host) -> None:
    (host.paths.addresses / "10.87.0.77").write_text("ghost")


def _volume(host: Host) -> None:
    host.volumes.create("data")
    (host.paths.volume("data") / ".draft-x").mkdir()
    (host.paths.volumes / ".draft-y" / "data").mkdir(parents=True)


def _bundle(host: Host) -> None:
    (host.paths.bundle("ghost") / "files").mkdir(parents=True)
    mount("tmpfs", str(host.paths.memory_files("ghost")), "tmpfs")


def _shim(host: Host) -> None:
    words = [f"--bundle={host.paths.bundle('ghost')}"]
    shim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *words], start_new_session=True)
    # The kernel shows the words of a program a little after Popen has seen it begin.
    becomes(lambda: words[0].encode() in Path(f"/proc/{shim.pid}/cmdline").read_bytes())


def _scratch(host: Host) -> None:
    run(host, "real")
    (host.paths.bundle("real") / ".exec-x").mkdir()
    (host.paths.bundle("real") / ".exec-x" / "pid").write_text("4194305")


MADE: dict[str, Callable[[Host], None]] = {
    "mount": _half_container,
    "network namespace": _namespace,
    "cable": _cable,
    "published port": _port,
    "control group": _group,
    "address": _address,
    "volume": _volume,
    "bundle": _bundle,
    "shim": _shim,
    "scratch": _scratch,
}


@pytest.mark.parametrize("kind", MADE)
def test_leftovers_are_found_and_taken_away(runtime_host: Host, root: Root, kind: str) -> None:
    MADE[kind](runtime_host)
    found = leftovers(runtime_host.paths, root.bridge)
    assert any(kind in leftover.what for leftover in found), [leftover.what for leftover in found]
    for leftover in found:
        leftover.take()
    assert left(runtime_host, root) == []
    assert all("hello" in answers(c.address) for c in runtime_host.containers.list()), "others live on"


def test_what_somebody_works_on_is_left_alone(runtime_host: Host, root: Root) -> None:
    _namespace(runtime_host)
    _address(runtime_host)
    with held(runtime_host.paths.container_locks / "ghost"):
        assert left(runtime_host, root) == []
    assert len(left(runtime_host, root)) == 2


def test_the_command(root: Root, runtime_host: Host, tmp_path: Path) -> None:
    place = root.lib.parent
    (place / "lib").rename(place / "was-lib")
    (place / "lib").mkdir()
    (place / "was-lib").rename(place / "lib" / "runtime")
    # --root lays things out one level deeper than these tests do.
    words = [
        *PROGRAM,
        f"--root={place}",
        f"--bridge={root.bridge}",
        f"--subnet={root.subnet}",
        "--subnet=fd00::/64",
        "doctor",
    ]
    clean = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert clean.returncode == 0, clean.stdout
    assert "ok          nf_tables" in clean.stdout and "left" not in clean.stdout
    known = json.loads((place / "lib/runtime/network.json").read_text())
    assert (known["subnet"], known["subnet6"]) == (root.subnet, "fd00::/64"), "both kinds of subnets are remembered"
    (place / "lib/runtime/addresses/10.87.0.77").write_text("ghost")
    dirty = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert dirty.returncode == 1 and "left        address 10.87.0.77 of no container 'ghost'" in dirty.stdout
    assert "--repair" in dirty.stdout
    repaired = subprocess.run([*words, "--repair", "-o", "json"], capture_output=True, text=True, timeout=60)
    assert repaired.returncode == 0, repaired.stdout
    assert [line["state"] for line in json.loads(repaired.stdout) if "10.87.0.77" in line["what"]] == ["taken away"]
    (place / "lib" / "runtime").rename(place / "was-lib")
    (place / "lib").rmdir()
    (place / "was-lib").rename(place / "lib")


def test_who_is_not_root_is_told_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of the machine is tried: that is for who is root, if only in namespaces of their own."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr("runtime.doctor.rootless.SUBUID", tmp_path / "subuid")

    def told(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["hecd-runtime", "--root", str(tmp_path / "root"), *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    code, out, _ = told("doctor", "-o", "json")
    found = {line["what"]: line["state"] for line in json.loads(out)}
    assert code == 1 and found[f"without root: 65536 ids for nobody in {tmp_path}/subuid"] == "missing"
    assert all(what.startswith("without root: ") for what in found)
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = told("ps")
    assert code == 6 and err.startswith("hecd-runtime: rootlesskit is not installed\nInstall it: apt-get install")
    code, _, err = told("--engine", "docker", "ps")
    assert code == 6 and "get their network from root only" in err
    assert not (tmp_path / "root").exists()
