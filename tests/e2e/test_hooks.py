"""Hooks with real containers under load: once each, whatever is killed, and nothing that serves is touched."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import Machine


def text(machine: Machine, release: int, marks: Path, pre: str, post: str = "true") -> str:
    return f"""
services:
  web:
    image: hecd/sample:{release}
    ports: ["{machine.port}:8080"]
    environment: {{COLOUR: blue}}
    volumes: ["{marks}:/marks"]
    stop_grace_period: 1s
    deploy: {{replicas: 2, update_config: {{monitor: 1s, parallelism: 3}}}}
    x-hecd:
      drain_timeout: 5s
      check: {{path: /health}}
      hooks:
        pre_deploy: {{command: [sh, -c, '{pre}'], entrypoint: [], timeout: 20s}}
        post_deploy: {{command: [sh, -c, '{post}'], entrypoint: []}}
"""


MARK = "echo $$HECD_HOOK $$HECD_RELEASE $$COLOUR $$HECD_NODE >> /marks/ran; "


def hook_log(machine: Machine) -> str:
    return machine.hecd("logs", "web", "--hook", "pre_deploy").out


def test_each_runs_once_though_leader_and_agent_are_killed_and_a_failure_touches_nothing(
    machine: Machine, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    marks.chmod(0o777)
    first = machine.deploy_text(text(machine, 1, marks, MARK + "echo migrated", MARK + "echo purged"))
    assert first.code == 0, first.err
    assert "preparing: pre_deploy" in first.err
    assert (marks / "ran").read_text().splitlines() == ["pre_deploy 1 blue one", "post_deploy 1 blue one"]
    assert "migrated" in machine.hecd("logs", "web", "--hook", "pre_deploy").out
    assert "purged" in machine.hecd("logs", "web", "--hook", "post_deploy").out
    before = {i["instance"] for i in machine.instances()}
    assert len(before) == 2

    slow = MARK + "echo begun; while [ ! -e /marks/go ]; do usleep 50000; done; echo went on"
    with machine.load() as report:
        machine.hecd("deploy", "-d", "-f", "-", stdin=text(machine, 2, marks, slow))
        machine.until(lambda: "pre_deploy 2" in (marks / "ran").read_text(), 30.0, "it runs")
        machine.until(lambda: "begun" in hook_log(machine), 30.0, "what it writes is in its log")
        machine.kill("registrator control")
        machine.kill("registrator agent")
        assert {i["instance"] for i in machine.instances()} <= before
        (marks / "go").touch()
        followed = machine.hecd("rollout", "status", "-f", "web")
        assert followed.code == 0, followed.err
        assert {i["release"] for i in machine.instances()} == {2}
        serving = {i["instance"] for i in machine.instances()}

        bad = machine.deploy_text(text(machine, 1, marks, MARK + "echo no such table; exit 3"))
        assert bad.code == 5, bad.err
        assert "release 3 failed: pre_deploy on one: exit code 3" in bad.err
        assert "| no such table" in bad.err
        assert {i["instance"] for i in machine.instances()} == serving

        back = machine.hecd("rollback", "web", "1")
        assert back.code == 0, back.err
    assert report["sent"] > 300
    assert report["failures"] == []
    ran = (marks / "ran").read_text().splitlines()
    assert ran.count("pre_deploy 2 blue one") == 1
    assert [line for line in ran if line.startswith("pre_deploy")][-1] == "pre_deploy 3 blue one"
    assert "exit code 3" in machine.hecd("history", "web").out
    told = machine.hecd("events", "-n", "100").out
    assert "pre_deploy of release 3 failed on one: exit code 3" in told

    assert machine.hecd("rm", "web").code == 0
    assert machine.etcdctl("get", "--prefix", "/hecd/runs/", "--keys-only").strip() == ""
    assert machine.etcdctl("get", "--prefix", "/hecd/results/", "--keys-only").strip() == ""
