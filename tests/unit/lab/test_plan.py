"""What a lab is made of."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from registrator.config import load
from registrator.errors import HecdError, NotFound
from registrator.lab.plan import Lab, planned, read, settings_text, written
from registrator.lab.programs import names, programs

FOLDER = Path("/lab")


def made(count: int = 5, edges: int = 2, etcd: int = 3, taken: tuple[str, ...] = ()) -> Lab:
    return planned(FOLDER, count, edges, etcd, taken, "hecdlab")


def test_the_first_hosts_carry_etcd_and_control_and_the_last_a_load_balancer() -> None:
    lab = made()
    assert [names(lab, host) for host in lab.hosts] == [
        *[("etcd", "control", "agent")] * 3,
        *[("confd-py", "holder", "haproxy", "keepalived", "agent")] * 2,
    ]
    alone = made(1, 1, 1)
    assert names(alone, alone.hosts[0]) == ("etcd", "confd-py", "holder", "haproxy", "control", "agent")
    assert (lab.vip, alone.vip) == ("10.99.0.253", "")
    assert lab.endpoints == ("10.99.0.1:2379", "10.99.0.2:2379", "10.99.0.3:2379")


def test_a_network_of_the_machine_is_not_taken() -> None:
    assert made(taken=("10.99.0.7/24", "10.98.0.0/15")).network == "10.97.0.0/24"
    with pytest.raises(HecdError, match="no network is free"):
        made(taken=("10.0.0.0/8",))


def test_every_number_that_cannot_be_is_named() -> None:
    with pytest.raises(HecdError) as caught:
        made(2, 3, 0)
    assert len(caught.value.details) == 2
    with pytest.raises(HecdError):
        made(0, 0, 1)


def test_a_lab_is_found_again_as_it_was() -> None:
    assert read(written(made())) == made()
    with pytest.raises(NotFound, match="h9"):
        made().host("h9")


def test_a_hosts_settings_are_a_nodes_own(tmp_path: Path) -> None:
    lab = made()
    for host in lab.hosts:
        file = tmp_path / "hecd.toml"
        file.write_text(settings_text(lab.settings(host)))
        assert tomllib.loads(file.read_text())["bridge"] == "hecd0"
        assert load({}, {"HECD_CONFIG": str(file)}) == lab.settings(host)


def test_a_program_runs_only_while_it_and_its_host_are_switched_on() -> None:
    lab = made()
    found = {program.name: program for program in programs(lab)}
    assert len(found) == 5 + 3 * 2 + 2 * 4
    for host in lab.hosts:
        for name in names(lab, host):
            after = found[f"{host.name}/{name}"].after
            assert {lab.switched_on(host), lab.switched_on(host, name)} <= set(after)
