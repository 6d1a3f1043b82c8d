"""/etc/hecd/runtime.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import host, policy
from runtime.errors import InvalidSettings
from runtime.paths import HostPaths
from runtime.policy import Policy, read


def test_nothing_is_allowed_where_nothing_is_said(tmp_path: Path) -> None:
    policy = read(tmp_path / "runtime.toml")
    assert policy == Policy()
    assert not policy.allows("/dev/null")


def test_devices_by_pattern(tmp_path: Path) -> None:
    (tmp_path / "runtime.toml").write_text('devices = ["/dev/fuse", "/dev/dri/*"]')
    policy = read(tmp_path / "runtime.toml")
    allowed = [path for path in ("/dev/fuse", "/dev/fuse2", "/dev/dri/card0", "/dev/sda") if policy.allows(path)]
    assert allowed == ["/dev/fuse", "/dev/dri/card0"]
    assert Policy(privileged=True).allows("/dev/sda")


def test_profiles_by_path(tmp_path: Path) -> None:
    (tmp_path / "runtime.toml").write_text('seccomp = ["unconfined", "/etc/hecd/seccomp/*.json"]')
    policy = read(tmp_path / "runtime.toml")
    asked = ("unconfined", "/etc/hecd/seccomp/a.json", "/etc/hecd/seccomp/a", "/srv/a.json")
    assert [policy.allows_profile(profile) for profile in asked] == [True, True, False, False]
    assert not Policy().allows_profile("unconfined") and Policy(privileged=True).allows_profile("unconfined")


def test_remapping(tmp_path: Path) -> None:
    (tmp_path / "runtime.toml").write_text('userns_remap = "hecd"\nuserns_host = true')
    assert read(tmp_path / "runtime.toml") == Policy(userns_remap="hecd", userns_host=True)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("privilege = true", "unknown setting 'privilege'"),
        ("privileged = 1", "privileged must be true or false"),
        ("devices = '/dev/fuse'", "devices must be a list of paths"),
        ("devices = ['fuse']", "devices must be a list of paths"),
        ("devices = [", "no TOML"),
        ("userns_host = 'yes'", "userns_host must be true or false"),
        ("userns_remap = true", 'userns_remap must be a name, "default", or "START:SIZE"'),
        ("seccomp = 'unconfined'", "seccomp must be a list of paths"),
        ("seccomp = ['calls.json']", "seccomp must be a list of paths"),
        ("seccomp = [1]", "seccomp must be a list of paths"),
        ("ipv6_subnet = '10.0.0.0/24'", "ipv6_subnet '10.0.0.0/24' is none"),
        ("ipv6_subnet = true", "ipv6_subnet True is none"),
    ],
)
def test_faults(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "runtime.toml").write_text(text)
    with pytest.raises(InvalidSettings, match=fault):
        read(tmp_path / "runtime.toml")


def test_the_usual_root_has_ipv6_where_it_is_said_unless_it_was_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "LIB", tmp_path / "lib")
    monkeypatch.setattr(policy, "FILE", tmp_path / "runtime.toml")
    usual, other = (HostPaths(tmp_path / name, tmp_path / "run") for name in ("lib", "other"))
    for paths in (usual, other):
        paths.make()

    def subnet6(paths: HostPaths, given: str | None = None) -> str:
        return host.planned(paths, None, None, given).subnet6

    assert (subnet6(usual), subnet6(other)) == ("", "")
    (tmp_path / "runtime.toml").write_text('ipv6_subnet = "fd00:87::/64"')
    assert (subnet6(usual), subnet6(other)) == ("fd00:87::/64", "")
    (tmp_path / "runtime.toml").write_text('ipv6_subnet = "fd00:88::/64"')
    assert subnet6(usual) == "fd00:88::/64", "what the file says is not remembered"
    for given in ("fd00:90::/64", ""):
        assert (subnet6(usual, given), subnet6(usual)) == (given, given), "what is given is"
