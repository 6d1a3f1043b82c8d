"""What an ordinary user lacks, and what they cannot have."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.admission import check_limits
from runtime.doctor import rootless
from runtime.errors import InvalidSpec, KernelRefused, NotPermitted, PortTaken
from runtime.model import ContainerSpec, Limits, PublishedPort
from runtime.networks.outside import Outside

TAKEN = "port 81/tcp is taken already, by a program or container of this host"


def test_each_lack_has_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(rootless, "SUBUID", tmp_path / "subuid")
    monkeypatch.setattr(rootless, "SUBGID", tmp_path / "subgid")
    monkeypatch.setattr(rootless, "_user", lambda: "me")
    monkeypatch.setattr(rootless, "TUN", tmp_path / "tun")
    (tmp_path / "subuid").write_text("me:100000:60000\nme:200000:5536\n")
    (tmp_path / "subgid").write_text("me:100000:65535\n")
    found = {need.what.removeprefix("without root: "): need for need in rootless.needs()}
    assert [what for what, need in found.items() if need.fine] == [f"65536 ids for me in {tmp_path}/subuid"]
    assert [need.hint for need in found.values() if not need.fine] == [
        "apt-get install rootlesskit",
        "apt-get install slirp4netns",
        "apt-get install uidmap",
        f"As root: echo me:262144:65536 >>{tmp_path}/subgid",
        f"As root: modprobe tun; chmod 666 {tmp_path}/tun",
    ]
    (tmp_path / "tun").touch()
    assert [need.fine for need in rootless.needs()][-1]


@pytest.mark.parametrize("limits", [Limits(cpus=1.0), Limits(memory_bytes=64 << 20), Limits(pids=9)])
def test_limits_take_control_groups(limits: Limits) -> None:
    spec = ContainerSpec("web", "image", limits=limits)
    check_limits(spec, cgroups=True)
    check_limits(ContainerSpec("web", "image"), cgroups=False)
    with pytest.raises(InvalidSpec, match="for root only"):
        check_limits(spec, cgroups=False)


@pytest.mark.parametrize(
    ("words", "kind", "brief"),
    [
        ("conflict with ID 1", PortTaken, TAKEN),
        ("listen tcp 0.0.0.0:81: bind: address already in use", PortTaken, TAKEN),
        ("cannot expose privileged port 81, you can ...", NotPermitted, "port 81/tcp can be published by root only"),
        ("no route", KernelRefused, "port 81/tcp cannot be published"),
    ],
)
def test_a_port_that_is_refused_takes_back_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, kind: type[Exception], brief: str
) -> None:
    """A stand-in for rootlessctl notes how it is called."""
    listed = '{"id":7,"spec":{"childIP":"10.0.0.2"}}\n{"id":8,"spec":{"childIP":"10.0.0.20"}}'
    program = tmp_path / "rootlessctl"
    program.write_text(
        f"#!/bin/sh\necho \"$@\" >>{tmp_path}/calls\ncase $2 in list-ports) echo '{listed}' ;; esac\n"
        f"case $3 in *:81:*) echo 'error: {words}' >&2; exit 1 ;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ports = (PublishedPort(8080, 80), PublishedPort(81, 81, "tcp", "127.0.0.1"))
    with pytest.raises(kind, match=brief):
        Outside(Path("/s")).forward(ports, "10.0.0.2")
    assert (tmp_path / "calls").read_text().splitlines() == [
        "--socket=/s add-ports 0.0.0.0:8080:10.0.0.2:80/tcp",
        "--socket=/s add-ports 127.0.0.1:81:10.0.0.2:81/tcp",
        "--socket=/s list-ports --json",
        "--socket=/s remove-ports 7",
    ]
