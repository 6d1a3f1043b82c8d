"""confd-py does at the command line what the original did: exit code, content and mode of every file."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.confd_py import recorded_case
from tests.contract.confd_py.recorded_case import Outcome
from tests.fakes.etcd_server import EtcdServer

ROOT = Path(__file__).parents[3]
RECORDED = [case for name in ("cli_cases.json", "more_cli_cases.json") for case in recorded_case.load(name)["cases"]]

NAME = {"content": "name=web\n", "mode": "0o644"}

# Where confd-py is to do otherwise: what comes out here, and why.
DELIBERATE: dict[str, tuple[Outcome, str]] = {
    "check-unknown-var": (
        Outcome(
            0,
            {
                "out/o": {"content": "name=web\n", "mode": "0o644"},
                "out/v": {"content": "[@DIR@/out/o]\n", "mode": "0o644"},
            },
        ),
        "{{.dest}} is served in commands",
    ),
    "reload-src-dest": (
        Outcome(0, {"out/o": NAME, "out/r": {"content": "@DIR@/out/o @DIR@/out/o\n", "mode": "0o644"}}),
        "and so is {{.src}}, in reload_cmd, too",
    ),
    "two-one-broken": (Outcome(1, {"out/o": NAME}), "one broken resource does not stop the others"),
    "dest-symlink": (Outcome(0, {"out/o": NAME, "out/real": NAME}), "a symbolic link stays one"),
}


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """etcd with the recordings' keys."""
    server = EtcdServer(tmp_path_factory.mktemp("etcd")).start()
    try:
        for key, value in recorded_case.load("cli_cases.json")["kv"].items():
            server.etcdctl("put", key, value)
        yield server.endpoint
    finally:
        server.kill()


@pytest.mark.parametrize("case", RECORDED, ids=[case["id"] for case in RECORDED])
def test_as_recorded(case: dict[str, Any], etcd: str, tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOSTNAME": "localhost", "PYTHONPATH": str(ROOT)}
    seen = recorded_case.run(case, tmp_path / "case", etcd, [sys.executable, "-m", "confd_py"], environ)
    wanted, why = DELIBERATE.get(case["id"], (recorded_case.expected(case), "as confd"))
    assert seen == wanted, why


def test_every_deliberate_difference_is_one() -> None:
    recorded = {case["id"]: recorded_case.expected(case) for case in RECORDED}
    for name, (wanted, why) in DELIBERATE.items():
        assert recorded[name] != wanted, why
