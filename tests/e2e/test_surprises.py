"""What people do that nobody planned for: in the wrong order, twice at once, or half-way."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
from pathlib import Path

from tests.e2e.conftest import HECD, Done, Machine

TEXT = """
services:
  web:
    image: hecd/sample:1
    ports: ["{port}:{target}"]
    environment: {{PORT: "{target}", {more}}}
    deploy: {{replicas: 2, update_config: {{monitor: 1s}}}}
    x-hecd: {{check: {{path: {path}}}, progress_deadline: 15s}}
"""


def text(machine: Machine, target: int = 8080, path: str = "/health", more: str = "") -> str:
    return TEXT.format(port=machine.port, target=target, path=path, more=more)


def test_removing_all_and_deploying_again(machine: Machine) -> None:
    for _ in range(2):
        assert machine.deploy_text(text(machine)).code == 0
        assert machine.hecd("scale", "web=0").code == 0
        done = machine.hecd("rm", "web")
        assert (done.code, done.out) == (0, "web: removed\n"), done.err
    assert machine.hecd("rm", "web").code == 4


def test_a_first_release_that_fails_can_be_retried_and_removed(machine: Machine) -> None:
    broken = text(machine, more="CRASH: '1'")
    assert machine.deploy_text(broken).code == 5
    again = machine.deploy_text(broken)
    assert again.code == 5
    assert "tried again" in again.err
    done = machine.hecd("rm", "web", timeout_s=30.0)
    assert done.code == 0, done.err
    assert machine.instances() == []


def test_another_target_port_and_health_path_cost_no_request(machine: Machine) -> None:
    assert machine.deploy_text(text(machine)).code == 0
    with machine.load(kept_rate=200, fresh_rate=50) as report:
        done = machine.deploy_text(text(machine, 9191, "/"))
        assert done.code == 0, done.err
        back = machine.hecd("rollback", "web")
        assert back.code == 0, back.err
        bad = machine.deploy_text(text(machine, 9292, "/none", "CRASH: '1'"))
        assert bad.code == 5
    assert report["failures"] == []
    assert {i["release"] for i in machine.instances()} == {1}


def test_a_deploy_that_is_overtaken_ends_and_says_so(machine: Machine) -> None:
    assert machine.deploy_text(text(machine)).code == 0
    results: list[Done] = []
    slow = text(machine, more="SICK: '1'")  # it waits for its health in vain
    deployer = threading.Thread(target=lambda: results.append(machine.deploy_text(slow)))
    deployer.start()
    machine.until(lambda: any(i["release"] == 2 for i in machine.instances()), 30.0, "the first one is under way")
    refused = machine.deploy_text(text(machine, more="A: b"))
    assert refused.code == 1
    assert "web is locked by" in refused.err
    assert machine.hecd("unlock", "web").code == 0
    second = machine.deploy_text(text(machine, more="A: b"))
    deployer.join(180)
    assert second.code == 0, second.err
    assert results[0].code == 5
    assert "overtaken by release 3" in results[0].err


def test_another_root_leaves_the_network_alone(machine: Machine) -> None:
    assert machine.deploy_text(text(machine)).code == 0
    with tempfile.TemporaryDirectory(dir="/var/tmp") as other:
        mine = machine.environment["HECD_ROOT"]
        machine.environment["HECD_ROOT"] = str(Path(other) / "root")
        nothing = machine.hecd("down")
        machine.environment["HECD_ROOT"] = mine
    assert nothing.code == 0
    assert "nothing was up" in nothing.err
    with machine.load() as report:
        assert machine.hecd("scale", "web=3").code == 0
    assert report["failures"] == []


def test_following_logs_goes_on_through_a_release(machine: Machine, tmp_path: Path) -> None:
    assert machine.deploy_text(text(machine)).code == 0
    with (tmp_path / "log").open("wb") as log:
        argv = [HECD, "logs", "-f", "web"]
        follower = subprocess.Popen(argv, env=machine.environment, stdin=subprocess.DEVNULL, stdout=log)
        try:
            machine.until(lambda: "web.1 | release 1" in (tmp_path / "log").read_text(), 30.0, "the old are followed")
            assert machine.deploy_text(text(machine, more="A: b")).code == 0
            wanted = [f"{i['instance']} | release 2" for i in machine.instances()]
            machine.until(
                lambda: all(w in (tmp_path / "log").read_text() for w in wanted), 30.0, "the new ones are followed"
            )
        finally:
            follower.send_signal(signal.SIGINT)
            assert follower.wait(30) == 130
