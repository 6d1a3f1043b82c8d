"""A machine whose containers a real Docker runs: traffic, releases and failures as with our own engine."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Machine, made_machine, outside_killed
from tests.e2e.test_hooks import text as hooked
from tests.fakes.podman_service import PodmanService
from tests.integration.announce.dockerd import Dockerd
from tests.integration.announce.namespace import own_network

pytestmark = pytest.mark.xdist_group("docker")  # one dockerd for all


@pytest.fixture(scope="module")
def dockerd() -> Iterator[Dockerd]:
    with own_network():
        daemon = Dockerd()
        try:
            yield daemon.start()
        finally:
            daemon.stop()


@pytest.fixture
def machine(dockerd: Dockerd, images: list[Path]) -> Iterator[Machine]:
    """Up, in the network namespace of Docker, with the images of the sample app."""
    with made_machine(images, HECD_ENGINE="docker", HECD_DOCKER_SOCKET=f"{dockerd.folder}/docker.sock") as found:
        yield found
    assert dockerd.api.containers(all=True) == [], "`hecd down` removes what it made"


def ids(dockerd: Dockerd) -> dict[str, str]:
    """The names of what runs, and when it began."""
    running = [dockerd.api.inspect_container(found["Id"]) for found in dockerd.api.containers()]
    return {found["Name"].lstrip("/"): found["State"]["StartedAt"] for found in running}


def test_a_release_and_a_kill_lose_no_request(machine: Machine, dockerd: Dockerd) -> None:
    assert machine.deploy(1).code == 0
    assert len(ids(dockerd)) == 4 and not machine.pids("conmon")
    assert {i["health"] for i in machine.instances()} == {"healthy"}
    with machine.load() as report:
        done = machine.deploy(2)
        assert done.code == 0, done.err
    assert report["failures"] == [] and report["sent"] > 100
    assert {i["release"] for i in machine.instances()} == {2}
    victim = machine.instances()[0]["instance"]
    before = ids(dockerd)[victim]
    machine.kill_instance(victim)
    machine.until(lambda: ids(dockerd).get(victim, before) != before, 30.0, "it was started again")
    machine.until(lambda: {i["health"] for i in machine.instances()} == {"healthy"}, 30.0, "all are healthy")
    assert len(ids(dockerd)) == 4
    logs = machine.hecd("logs", victim)
    assert logs.code == 0, logs.err
    assert machine.hecd("exec", victim, "--", "/bin/sh", "-c", "exit 7").code == 7


def test_a_hook_runs_once_though_agent_and_docker_are_killed(
    machine: Machine, dockerd: Dockerd, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    pre = "echo $$HECD_HOOK >> /marks/ran; while [ ! -e /marks/go ]; do usleep 50000; done; echo migrated"
    machine.hecd("deploy", "-d", "-f", "-", stdin=hooked(machine, 1, tmp_path, pre))
    machine.until((tmp_path / "ran").exists, 30.0, "it runs")
    machine.until(lambda: list(ids(dockerd)) == ["web.1.pre-deploy.1"], 30.0, "Docker knows it, too")
    machine.kill("registrator", "agent")
    dockerd.kill()
    dockerd.start()
    (tmp_path / "go").touch()
    followed = machine.hecd("rollout", "status", "-f", "web")
    assert followed.code == 0, followed.err
    assert (tmp_path / "ran").read_text() == "pre_deploy\n"
    assert "migrated" in machine.hecd("logs", "web", "--hook", "pre_deploy").out
    bad = machine.deploy_text(hooked(machine, 2, tmp_path, "echo no such table; exit 3"))
    assert (bad.code, healthy(machine)) == (5, 2)
    assert "release 2 failed: pre_deploy on one: exit code 3" in bad.err and "| no such table" in bad.err


def test_kill_9_of_the_agent_and_of_docker_touches_no_container(machine: Machine, dockerd: Dockerd) -> None:
    assert machine.deploy(1).code == 0
    before = ids(dockerd)
    addresses = {i["instance"]: i["endpoint"] for i in machine.instances()} if machine.instances() else {}
    with machine.load() as report:
        machine.kill("registrator", "agent")
        time.sleep(1.0)
        dockerd.kill()
        time.sleep(2.0)
        dockerd.start()
        machine.until(lambda: "engine back" in log(machine) or "adopted" in log(machine), 30.0, "the agent goes on")
        machine.until(lambda: healthy(machine) == 4, 30.0, "all are healthy")
    assert report["failures"] == []
    assert ids(dockerd) == before, "none was started again"
    assert {i["instance"]: i["endpoint"] for i in machine.instances()} == addresses


def test_what_dies_while_docker_is_away_is_replaced(machine: Machine, dockerd: Dockerd) -> None:
    assert machine.deploy(1).code == 0
    before = ids(dockerd)
    victim = min(before)
    with machine.load() as report:
        dockerd.kill()
        killed_at = time.time()
        machine.kill_instance(victim)
        time.sleep(1.0)
        dockerd.start()
        machine.until(lambda: ids(dockerd).get(victim, before[victim]) != before[victim], 30.0, "it runs again")
        machine.until(lambda: healthy(machine) == 4, 30.0, "all are healthy")
    assert outside_killed(report, victim, killed_at) == [] and len(ids(dockerd)) == 4
    assert {name: at for name, at in ids(dockerd).items() if name != victim} == {
        name: at for name, at in before.items() if name != victim
    }
    assert report["sent"] > 100


def test_an_agent_waits_for_a_docker_that_is_not_there_yet(dockerd: Dockerd, images: list[Path]) -> None:
    dockerd.kill()
    os.unlink(f"{dockerd.folder}/docker.sock")
    socket = f"{dockerd.folder}/docker.sock"
    try:
        with made_machine([], wait=False, HECD_ENGINE="docker", HECD_DOCKER_SOCKET=socket) as machine:
            machine.until(lambda: "does not answer" in log(machine), 30.0, "it says so")
            dockerd.start()
            machine.until(lambda: machine.edge() is not None, 30.0, "the agent is there")
            for image in images:
                assert machine.hecd("image", "load", str(image)).code == 0
            assert machine.deploy(1).code == 0
    finally:
        if not Path(socket).exists():
            dockerd.start()


def test_a_podman_does_as_well(images: list[Path]) -> None:
    with own_network():
        podman = PodmanService()
        try:
            podman.start()
            with made_machine(images, HECD_ENGINE="podman", HECD_DOCKER_SOCKET=str(podman.socket)) as machine:
                assert machine.deploy(1).code == 0
                with machine.load() as report:
                    done = machine.deploy(2)
                    assert done.code == 0, done.err
                    victim = machine.instances()[0]["instance"]
                assert report["failures"] == [] and report["sent"] > 100
                machine.kill_instance(victim)
                machine.until(lambda: restarts(machine, victim) == 1, 30.0, "it was started again")
                machine.until(lambda: healthy(machine) == 4, 30.0, "it is back")
        finally:
            podman.stop()


def restarts(machine: Machine, name: str) -> int:
    return next((i["restarts"] for i in machine.instances() if i["instance"] == name), -1)


def healthy(machine: Machine) -> int:
    return sum(i["health"] == "healthy" for i in machine.instances())


def log(machine: Machine) -> str:
    return (machine.root / "up.log").read_text()
