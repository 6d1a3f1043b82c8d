"""Settings: default < file < environment < flag; unknown keys refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from registrator import config
from registrator.errors import HecdError

DEFAULTS: dict[str, str] = {}


@pytest.mark.parametrize(
    ("file", "environment", "flags", "expected"),
    [
        ("", {}, {}, "info"),
        ('log_level = "debug"', {}, {}, "debug"),
        ('log_level = "debug"', {"HECD_LOG_LEVEL": "warning"}, {}, "warning"),
        ('log_level = "debug"', {"HECD_LOG_LEVEL": "warning"}, {"log_level": "error"}, "error"),
        ("", {"HECD_LOG_LEVEL": "warning"}, {"log_level": None}, "warning"),
    ],
)
def test_precedence(
    tmp_path: Path, file: str, environment: dict[str, str], flags: dict[str, str], expected: str
) -> None:
    (tmp_path / "hecd.toml").write_text(file)
    environment = {**environment, "HECD_CONFIG": str(tmp_path / "hecd.toml")}
    assert config.load(flags, environment, "host").log_level == expected


@pytest.mark.parametrize(
    ("file", "environment", "flags", "expected"),
    [
        ("", {}, {}, ("", "")),
        ('engine = "docker"', {}, {}, ("docker", "")),
        ('engine = "docker"', {"HECD_ENGINE": "podman"}, {"engine": "oci"}, ("oci", "")),
        ('docker_socket = "/a"', {"HECD_DOCKER_SOCKET": "/b"}, {}, ("", "/b")),
        ('docker_socket = "/a"', {"HECD_DOCKER_SOCKET": "/b"}, {"docker_socket": "/c"}, ("", "/c")),
    ],
)
def test_precedence_of_the_engine(
    tmp_path: Path, file: str, environment: dict[str, str], flags: dict[str, str], expected: tuple[str, str]
) -> None:
    (tmp_path / "hecd.toml").write_text(file)
    found = config.load(flags, {**environment, "HECD_CONFIG": str(tmp_path / "hecd.toml")}, "host")
    assert (found.engine, found.docker_socket) == expected


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"HECD_LEASE_TTL": "soon"}, "lease_ttl"),
        ({"HECD_LEASE_TTL": "0"}, "lease_ttl"),
        ({"HECD_LEASE_TTL": "3"}, "lease_ttl: 3 leaves a leader no time to act: 4 or more"),
        ({"HECD_NODE": "a b"}, "DNS label"),
        ({"HECD_SUBNET_POOL": "abc"}, "subnet_pool"),
        ({"HECD_SUBNET_POOL": "10.0.0.0/25"}, "subnet_pool"),
        ({"HECD_LOG_LEVEL": "loud"}, "log_level"),
        ({"HECD_BRIDGE": "waytoolongbridgename"}, "bridge"),
        ({"HECD_ROLES": "wrker"}, "roles"),
        ({"HECD_ENGINE": "lxc"}, "engine: 'lxc' is not one of oci, docker, podman"),
        ({"HECD_ENGINE": "oci", "HECD_DOCKER_SOCKET": "/run/docker.sock"}, "docker_socket"),
        ({"HECD_DOCKER_SOCKET": "tcp://10.0.0.1:2375"}, "docker_socket"),
        ({"HECD_OVERLAY": "on"}, "overlay"),
        ({"HECD_OVERLAY": "vxlan"}, "127.0.0.1"),
        ({"HECD_OVERLAY": "wireguard"}, "127.0.0.1"),
        ({"HECD_UNDERLAY": "n1.example"}, "underlay"),
        ({"HECD_VNI": "16777216"}, "vni"),
        ({"HECD_VXLAN_PORT": "70000"}, "vxlan_port"),
        ({"HECD_WIREGUARD_PORT": "70000"}, "wireguard_port"),
        ({"HECD_STATS_PORT": "99999"}, "stats_port"),
        ({"HECD_NODE": "a\nserver x"}, "DNS label"),
    ],
)
def test_what_is_wrong_is_named(environment: dict[str, str], said: str) -> None:
    with pytest.raises(HecdError) as caught:
        config.load({}, environment, "host")
    assert said in " ".join(caught.value.details)


def test_an_unknown_key_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "hecd.toml").write_text("lease_tll = 3")
    with pytest.raises(HecdError, match="lease_tll") as caught:
        config.load({}, {"HECD_CONFIG": str(tmp_path / "hecd.toml")}, "host")
    assert "lease_ttl" in caught.value.hint


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(HecdError, match="no configuration file"):
        config.load({}, {"HECD_CONFIG": str(tmp_path / "none.toml")}, "host")


def test_root_moves_everything(tmp_path: Path) -> None:
    settings = config.load({"root": str(tmp_path)}, {}, "host")
    assert settings.lib == tmp_path / "lib"
    assert settings.access.endpoints == ("127.0.0.1:2379",)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "etcd").write_text("127.0.0.1:4444")
    assert settings.access.endpoints == ("127.0.0.1:4444",)


def test_roots_share_neither_bridge_nor_addresses_with_the_machine() -> None:
    alone, other = config.load({}, {}, "h"), config.load({"root": "/srv/other"}, {}, "h")
    assert (alone.bridge, alone.subnet_pool) == ("hecd0", "10.87.0.0/16")
    assert other.bridge != alone.bridge
    assert other.subnet_pool != alone.subnet_pool
    assert config.load({"root": "/srv/other"}, {"HECD_BRIDGE": "mine0"}, "h").bridge == "mine0"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ""),
        ({"HECD_ADDRESS": "192.0.2.1"}, "192.0.2.1"),
        ({"HECD_ADDRESS": "n1.example"}, ""),
        ({"HECD_ADDRESS": "192.0.2.1", "HECD_OVERLAY": "off"}, ""),
        ({"HECD_ADDRESS": "192.0.2.1", "HECD_UNDERLAY": "198.51.100.1"}, "198.51.100.1"),
        ({"HECD_ADDRESS": "192.0.2.1", "HECD_OVERLAY": "vxlan"}, "192.0.2.1"),
        ({"HECD_ADDRESS": "192.0.2.1", "HECD_OVERLAY": "wireguard"}, "192.0.2.1"),
    ],
)
def test_there_is_an_overlay_where_other_nodes_reach_this_one(environment: dict[str, str], expected: str) -> None:
    assert config.load({}, environment, "h").tunnel_address == expected


def test_the_host_name_is_the_node() -> None:
    assert config.load({}, {}, "Web-1.example.com").node == "web-1"


def test_lists_from_the_environment_are_comma_separated() -> None:
    assert config.load({}, {"HECD_ETCD": "a:1, b:2"}, "h").access.endpoints == ("a:1", "b:2")
