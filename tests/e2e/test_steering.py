"""Operators who steer a release under load: nothing is lost, and what is well is never restarted."""

from __future__ import annotations

from tests.e2e.conftest import Machine


def text(machine: Machine, release: int, order: str = "start-first", replicas: int = 3, more: str = "") -> str:
    return f"""
services:
  web:
    image: hecd/sample:{release}
    ports: ["{machine.port}:8080"]
    deploy: {{replicas: {replicas}, update_config: {{order: {order}, delay: 1s, monitor: 1s}}}}
    x-hecd: {{drain_timeout: 5s, check: {{path: /health}}{more}}}
"""


def releases(machine: Machine) -> list[int]:
    return sorted(i["release"] for i in machine.instances())


def test_a_release_is_held_resumed_aborted_and_promoted(machine: Machine) -> None:
    assert machine.deploy_text(text(machine, 1)).code == 0
    nothing = machine.hecd("rollout", "pause")
    assert nothing.code == 1
    assert "nothing to pause: release 1 of web is done" in nothing.err
    with machine.load() as report:
        machine.hecd("deploy", "-d", "-f", "-", stdin=text(machine, 2))
        machine.until(lambda: 2 in releases(machine), 30.0, "release 2 begins")
        held = machine.hecd("rollout", "pause", "web", "-m", "looking")
        assert held.code == 0, held.err
        assert "release 2 held" in held.out
        assert "held by" in machine.hecd("rollout", "status").out
        kept = {i["instance"] for i in machine.instances() if (i["release"], i["state"]) == (1, "running")}
        assert kept
        machine.kill("registrator control")
        assert machine.hecd("rollout", "abort").code == 0  # the next leader obeys
        assert kept <= {i["instance"] for i in machine.instances()}
        assert releases(machine) == [1, 1, 1]
        assert machine.hecd("history", "-o", "json").json()[0]["outcome"] == "rolled-back"

        machine.hecd("deploy", "-d", "-f", "-", stdin=text(machine, 2))
        machine.until(lambda: 3 in releases(machine), 30.0, "release 3 begins")
        assert machine.hecd("rollout", "promote").code == 0
        followed = machine.hecd("rollout", "status", "-f")
        assert (followed.code, releases(machine)) == (0, [3, 3, 3]), followed.err
    assert report["sent"] > 500
    assert report["failures"] == []
