"""Blue/green on a whole machine under load: over, and back within a moment, and no request lost."""

from __future__ import annotations

from tests.e2e.conftest import Machine


def text(machine: Machine, release: int, keep: str = "10m", replicas: int = 3) -> str:
    return f"""
services:
  web:
    image: hecd/sample:{release}
    ports: ["{machine.port}:8080"]
    stop_grace_period: 1s
    deploy: {{replicas: {replicas}, update_config: {{monitor: 1s}}}}
    x-hecd: {{drain_timeout: 5s, check: {{path: /health, interval: 200ms}}, strategy: blue-green, keep: {keep}}}
"""


def names(machine: Machine, release: int) -> set[str]:
    return {i["instance"] for i in machine.instances() if i["release"] == release and i["state"] == "running"}


def open_servers(machine: Machine) -> set[str]:
    servers = (machine.edge() or {"servers": {}})["servers"].get("web.8080", {})
    return {name for name, report in servers.items() if name.startswith("web.") and report["weight"] > 0}


def test_a_release_takes_over_and_is_left_again_and_no_request_fails(machine: Machine) -> None:
    assert machine.deploy_text(text(machine, 1)).code == 0
    old = names(machine, 1)
    planned = machine.hecd("plan", "-f", "-", stdin=text(machine, 2)).out
    assert "all requests go to release 2 now, and none to release 1" in planned
    with machine.load() as report:
        done = machine.deploy_text(text(machine, 2))
        assert done.code == 0, done.err
        assert "3/3 serving, 3 of the old release kept" in done.err
        new = names(machine, 2)
        assert (names(machine, 1), len(new)) == (old, 3)
        machine.until(lambda: open_servers(machine) == new, 10.0, "only the new ones get requests")
        machine.kill("registrator control")
        back = machine.hecd("rollback", "web")
        assert back.code == 0, back.err
        machine.until(lambda: open_servers(machine) == old, 10.0, "only the old ones get requests")
        assert (names(machine, 1), names(machine, 2)) == (old, new), "nothing was started or stopped for it"

        shorter = machine.deploy_text(text(machine, 1, keep="1s"))
        assert shorter.code == 0, shorter.err
        machine.until(lambda: not names(machine, 2), 30.0, "its time is over")
    assert report["sent"] > 300
    assert report["failures"] == []
    full = machine.hecd("plan", "-f", "-", stdin=text(machine, 2, replicas=9000)).out
    assert "no room for two sets, as strategy blue-green takes" in full
