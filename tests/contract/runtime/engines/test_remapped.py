"""What holds for each engine holds with remapped ids, too: some of the suite once more."""

# ruff: noqa: F401 - what is imported is collected here
from __future__ import annotations

from pathlib import Path

import pytest

from runtime import policy
from runtime.host import Host
from tests.contract.runtime.engines.conftest import Engine
from tests.contract.runtime.engines.test_inside import (
    test_a_read_only_root_has_room_for_scratch,
    test_environment_user_and_place,
    test_no_power_beyond_what_is_needed,
    test_published_ports,
)
from tests.contract.runtime.engines.test_life import test_a_refused_start_says_why
from tests.contract.runtime.engines.test_wishes import (
    test_a_terminal,
    test_a_volume_without_a_name_is_written_though_all_else_is_read_only,
    test_limits_sysctls_and_groups,
    test_one_may_attach_before_it_runs,
    test_secrets_and_configs_are_read_anew_at_each_start,
)
from tests.integration.runtime.conftest import run


@pytest.fixture
def engine(network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(policy, "FILE", tmp_path / "runtime.toml")
    policy.FILE.write_text('userns_remap = "300000:65536"\n')
    return Engine("oci")


def test_they_are_remapped(host: Host) -> None:
    assert Path(f"/proc/{run(host, 'web').pid}").stat().st_uid == 300000
