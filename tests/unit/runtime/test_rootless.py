"""What an ordinary user lacks, from what lies on the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.doctor import rootless


@pytest.mark.parametrize(
    ("membership", "controllers", "delegated"),
    [
        ("0::/user/me\n", "cpu memory pids io\n", True),
        ("1:cpu:/x\n0::/user/me\n", "cpu memory pids\n", True),
        ("0::/user/me\n", "memory pids\n", False),
        ("0::/elsewhere\n", "cpu memory pids\n", False),
        ("1:cpu:/user/me\n", "cpu memory pids\n", False),
    ],
)
def test_control_groups_of_ones_own(tmp_path: Path, membership: str, controllers: str, delegated: bool) -> None:
    group = tmp_path / "user/me"
    group.mkdir(parents=True)
    (group / "cgroup.controllers").write_text(controllers)
    (group / "cgroup.procs").touch()
    (tmp_path / "self").write_text(membership)
    assert rootless._delegated(tmp_path, tmp_path / "self") is delegated


def test_each_lack_has_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(rootless, "SUBUID", tmp_path / "subuid")
    monkeypatch.setattr(rootless, "SUBGID", tmp_path / "subgid")
    monkeypatch.setattr(rootless, "_user", lambda: "me")
    (tmp_path / "subuid").write_text("me:100000:60000\nme:200000:5536\n")
    (tmp_path / "subgid").write_text("me:100000:65535\n")
    found = {need.what.removeprefix("rootless: "): need for need in rootless.needs()}
    assert all(need.hint for need in found.values())
    assert [what for what, need in found.items() if need.vital] == ["root"]
    assert found[f"65536 ids for me in {tmp_path}/subuid"].fine
    missing = (
        "user namespaces for everybody",
        "newuidmap",
        "pasta or slirp4netns",
        f"65536 ids for me in {tmp_path}/subgid",
    )
    assert not any(found[what].fine for what in missing)
