"""A day with HECD on one machine: what a person types and sees."""

from __future__ import annotations

import time

from haproxystats import HAProxyServer

from tests.e2e.conftest import Machine, outside_killed


def test_deploy_look_scale_roll_back_and_remove(machine: Machine) -> None:
    first = machine.deploy(1)
    assert first.code == 0, first.err
    assert "release 1 serves" in first.out
    assert [i["health"] for i in machine.instances()] == ["healthy"] * 4
    table = machine.hecd("ps").out.splitlines()
    assert table[0].split()[:3] == ["INSTANCE", "RELEASE", "NODE"]
    assert "4/4" in machine.hecd("services").out
    assert "one" in machine.hecd("nodes").out
    assert machine.hecd("status").code == 0
    page = HAProxyServer((machine.root / "run" / "stats").read_text())  # the statistics page, as its users read it
    assert "web.8080" in [backend.name for backend in page.backends]

    plan = machine.hecd(
        "plan", "-f", "-", stdin="services: {web: {image: 'hecd/sample:2', ports: ['%d:8080']}}" % machine.port
    )
    assert "gets release 2" in plan.out
    assert machine.deploy(1).code == 0
    second = machine.deploy(2)
    assert second.code == 0, second.err
    assert {i["release"] for i in machine.instances()} == {2}

    assert machine.hecd("scale", "web=5").out == "web: 5 serving\n"
    name = machine.instances()[0]["instance"]
    assert machine.hecd("exec", name, "--", "/bin/busybox", "cat", "/release").out == "2\n"
    assert machine.hecd("exec", name, "--", "/bin/busybox", "false").code == 1
    assert "listens on port 8080" in machine.hecd("logs", "web").out

    past = machine.hecd("history", "-o", "json").json()
    assert [(e["release"], e["outcome"], e["serves"]) for e in past] == [(2, "done", True), (1, "done", False)]
    back = machine.hecd("rollback")
    assert (back.code, back.out) == (0, "web: release 1 serves\n"), back.err
    assert "went back to it, by" in machine.hecd("history", "web").out
    assert {i["release"] for i in machine.instances()} == {1}
    assert machine.hecd("rm", "web").out == "web: removed\n"
    assert machine.instances() == []


def test_releases_in_a_row_under_load_lose_no_request(machine: Machine) -> None:
    assert machine.deploy(1).code == 0
    reloads = machine.reloads()
    with machine.load() as report:
        for release in (2, 1, 2):
            done = machine.deploy(release)
            assert done.code == 0, done.err
        assert machine.hecd("scale", "web=8").code == 0
        assert machine.hecd("scale", "web=2").code == 0
    assert report["sent"] > 500
    assert report["failures"] == []
    assert machine.reloads() == reloads


def test_a_container_killed_by_force_is_out_at_once_and_back_soon(machine: Machine) -> None:
    assert machine.deploy(1).code == 0
    victim = machine.instances()[0]["instance"]
    with machine.load() as report:
        killed_at = time.time()
        machine.kill_instance(victim)
        machine.until(lambda: _restarts(machine, victim) == 1, 15.0, "it was started again")
        machine.until(lambda: _state(machine, victim) == "UP", 15.0, "it serves again")
    assert outside_killed(report, victim, killed_at) == []


def _restarts(machine: Machine, name: str) -> int:
    return next((i["restarts"] for i in machine.instances() if i["instance"] == name), -1)


def _state(machine: Machine, name: str) -> str:
    return str(machine.server(name).get("state", ""))
