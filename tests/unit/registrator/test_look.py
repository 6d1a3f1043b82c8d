"""What `hecd status` says of a world."""

from __future__ import annotations

from dataclasses import replace

from registrator.cli.look import _faults, _summary
from registrator.model.names import InstanceName
from tests.unit.registrator.test_rollout import Stage


def crashed(stage: Stage, *names: str) -> None:
    for name in map(InstanceName, names):
        told = replace(stage.instances[name], state="exited", health="unknown", restarts=7, reason="exit code 3")
        stage.instances[name] = told


def test_instances_that_crash_are_named_with_how_often_why_and_where_to_look() -> None:
    stage = Stage(5)
    stage.play("done")
    crashed(stage, "web.1", "web.2", "web.3", "web.4")
    faults = [fault for fault in _faults(replace(stage.world(), leader="n1")) if "web" in fault]
    assert faults[0] == ("web.1 on n1: exit code 3, 7 times by now; `hecd logs web.1` there shows what it wrote")
    assert faults[3:] == ["web: 1 more fail; `hecd ps web` lists them"]


def test_the_summary_says_how_many_are_wanted_though_not_all_are_there() -> None:
    stage = Stage(4)
    stage.play("done")
    del stage.instances[InstanceName("web.4")]
    assert "instances 3 serving, 4 wanted" in _summary(stage.world())
