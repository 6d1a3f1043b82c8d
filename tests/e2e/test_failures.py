"""Releases that fail, parts that die, and an etcd that goes away or loses its mind: traffic goes on."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time

import pytest

from tests.e2e.conftest import Done, Machine, outside_killed

BROKEN = """
services:
  web:
    image: hecd/sample:1
    ports: ["{port}:8080"]
    environment: {{{variables}}}
    deploy: {{replicas: 4, update_config: {{monitor: 1s}}}}
    x-hecd: {{check: {{path: /health}}, progress_deadline: 20s}}
"""


@pytest.mark.parametrize(
    ("variables", "words"),
    [("CRASH: '1'", ["exit code 3", "told to crash"]), ("SICK: '1'", ["never became healthy", "503"])],
)
def test_a_bad_release_rolls_back_by_itself_and_says_why(machine: Machine, variables: str, words: list[str]) -> None:
    assert machine.deploy(1).code == 0
    before = {i["instance"] for i in machine.instances()}
    with machine.load() as report:
        done = machine.deploy_text(BROKEN.format(port=machine.port, variables=variables))
    assert done.code == 5
    assert all(word in done.err for word in words), done.err
    assert {i["instance"] for i in machine.instances() if i["health"] == "healthy"} == before
    assert report["failures"] == []


def test_an_image_that_vanished_rolls_back(machine: Machine) -> None:
    assert machine.deploy(1).code == 0
    release = machine.record("/hecd/releases/web/1")
    service = machine.record("/hecd/services/web")
    release["number"], service["release"] = 2, 2
    release["settings"] |= {"image": "127.0.0.1:1/none:2", "digest": "sha256:" + "0" * 64}
    _put(machine, "/hecd/releases/web/2", release)
    _put(machine, "/hecd/services/web", service)
    machine.until(lambda: machine.record("/hecd/rollouts/web")["state"] == "rolled-back", 40.0, "it is rolled back")
    assert "none" in machine.record("/hecd/rollouts/web")["reason"]
    assert sum(i["health"] == "healthy" for i in machine.instances()) == 4


def _put(machine: Machine, key: str, value: object) -> None:
    import json

    machine.etcdctl("put", key, json.dumps(value))


@pytest.mark.parametrize("part", ["agent", "control", "confd-py"])
def test_kill_9_of_a_part_in_the_middle_of_a_release(machine: Machine, part: str) -> None:
    assert machine.deploy(1).code == 0
    with machine.load() as report:
        results: list[Done] = []
        deployer = threading.Thread(target=lambda: results.append(machine.deploy(2)))
        deployer.start()
        machine.until(lambda: any(i["release"] == 2 for i in machine.instances()), 30.0, "the release has begun")
        machine.kill(*(["registrator", part] if part != "confd-py" else ["confd-py", "-watch"]))
        deployer.join(180)
        assert results[0].code == 0, results[0].err
    assert report["failures"] == []
    assert {i["release"] for i in machine.instances()} == {2}
    machine.until(lambda: len(machine.pids("conmon")) == 4, 30.0, "nothing is left of the old ones")


def test_containers_are_adopted_after_kill_9_of_everything(machine: Machine) -> None:
    assert machine.deploy(1).code == 0
    before = sorted(machine.pids("conmon"))
    machine.kill_up()
    machine.until(lambda: not machine.pids("registrator"), 30.0, "its children are gone")
    assert sorted(machine.pids("conmon")) == before
    machine.start()
    machine.until(lambda: sum(i["health"] == "healthy" for i in machine.instances()) == 4, 30.0, "all are well")
    assert sorted(machine.pids("conmon")) == before
    assert all(i["restarts"] == 0 for i in machine.instances())


def test_etcd_away_costs_no_request_and_restarts_nothing_healthy(machine: Machine) -> None:
    assert machine.deploy(1).code == 0
    instances = machine.instances()
    victim = instances[0]["instance"]
    before = machine.pids("conmon")
    with machine.load() as report:
        (etcd,) = machine.pids("--listen-client-urls")
        subprocess.run(["kill", "-STOP", str(etcd)], check=True)
        try:
            time.sleep(3.0)
            status = machine.hecd("status")
            assert status.code == 1
            assert "does not answer" in status.out
            killed_at = time.time()
            machine.kill_instance(victim)
            time.sleep(9.0)
        finally:
            subprocess.run(["kill", "-CONT", str(etcd)], check=True)
        machine.until(lambda: machine.hecd("status").code == 0, 30.0, "everything is well again")
    assert outside_killed(report, victim, killed_at) == []
    after = machine.pids("conmon")
    assert len(after) == len(before)
    assert len(set(after) & set(before)) == len(before) - 1


def test_etcd_wiped_is_doubt_not_an_order(machine: Machine) -> None:
    assert machine.deploy(1).code == 0
    before = sorted(machine.pids("conmon"))
    with machine.load() as report:
        machine.kill("--listen-client-urls")
        shutil.rmtree(machine.root / "lib" / "etcd")
        machine.until(lambda: len(machine.instances()) == 4, 30.0, "agents say again what they run")
        status = machine.hecd("status")
        assert status.code == 1
        assert "etcd's data" in status.out
        assert "hecd restore" in status.out
        time.sleep(3.0)
        assert sorted(machine.pids("conmon")) == before
        assert machine.hecd("restore").code == 0
        machine.until(lambda: machine.hecd("status").code == 0, 30.0, "everything is well again")
    assert report["failures"] == []
    assert sorted(machine.pids("conmon")) == before
    assert machine.deploy(2).code == 0


def test_etcd_restored_from_an_old_backup_is_doubt_not_an_order(machine: Machine) -> None:
    assert machine.deploy(1).code == 0
    machine.etcdctl("snapshot", "save", str(machine.root / "backup"))
    assert machine.deploy(2).code == 0
    before = sorted(machine.pids("conmon"))
    restored = machine.root / "restored"
    peer = (machine.root / "run" / "etcd.peer").read_text()
    machine.etcdctl(
        "snapshot", "restore", str(machine.root / "backup"), f"--data-dir={restored}", "--name=hecd",
        f"--initial-cluster=hecd=http://{peer}", f"--initial-advertise-peer-urls=http://{peer}",
    )  # fmt: skip
    assert restored.is_dir()
    with machine.load() as report:
        machine.kill("--listen-client-urls")
        shutil.rmtree(machine.root / "lib" / "etcd")
        restored.rename(machine.root / "lib" / "etcd")
        machine.until(
            lambda: sum(i["release"] == 2 for i in machine.instances()) == 4, 30.0, "they are announced again"
        )
        status = machine.hecd("status")
        assert status.code == 1
        assert "etcd's data" in status.out
        time.sleep(3.0)
        assert sorted(machine.pids("conmon")) == before
        assert machine.hecd("restore").code == 0
        machine.until(lambda: machine.hecd("status").code == 0, 30.0, "everything is well again")
    assert report["failures"] == []
    assert sorted(machine.pids("conmon")) == before
