"""One deployer at a time; a plan that is done as it was read, or not at all; and who ordered what."""

from __future__ import annotations

import re
import subprocess

from tests.e2e.conftest import HECD, Machine
from tests.e2e.test_steering import text


def test_the_lock_of_a_killed_deployer_ends_and_a_plan_is_kept_or_refused(machine: Machine) -> None:
    assert machine.deploy_text(text(machine, 1)).code == 0
    assert machine.hecd("lock", "web", "-m", "moving the database").code == 0
    for words in (("deploy", "-f", "-"), ("rollback", "web", "1"), ("rm", "web")):
        refused = machine.hecd(*words, stdin=text(machine, 2))
        assert refused.code == 1
        assert re.search(r"web is locked by \S+ for \d+ s: moving the database", refused.err), refused.err
        assert "hecd unlock web" in refused.err
    assert "moving the database" in machine.hecd("unlock", "web").out

    plan = machine.hecd("plan", "-f", "-", stdin=text(machine, 2))
    assert re.search(r"1\. start web\.4 of release 2 on one .*HAProxy: add server web\.8080/web\.4", plan.out), plan.out
    index = plan.out.rpartition("--check-index ")[2].split("`")[0]
    assert machine.hecd("scale", "web=2").code == 0
    moved = machine.hecd("deploy", "-f", "-", "--check-index", index, stdin=text(machine, 2))
    assert moved.code == 1
    assert f"moved on since revision {index}" in moved.err
    assert "scale web 3 -> 2" in moved.err
    index = machine.hecd("plan", "-f", "-", "-o", "json", stdin=text(machine, 2)).json()[0]["revision"]

    argv = [HECD, "deploy", "-f", "-", "--check-index", str(index)]
    deployer = subprocess.Popen(argv, env=machine.environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert deployer.stdin is not None
    deployer.stdin.write(text(machine, 2).encode())
    deployer.stdin.close()
    machine.until(lambda: machine.record("/hecd/services/web")["release"] == 2, 30.0, "it was ordered")
    deployer.kill()
    deployer.wait()
    assert "is locked by" in machine.deploy_text(text(machine, 1)).err
    machine.until(lambda: machine.record("/hecd/locks/web") is None, 30.0, "its lock ended with its lease")
    followed = machine.hecd("rollout", "status", "-f")
    assert followed.code == 0, followed.err

    told = [(d["what"], d["target"]) for d in machine.hecd("audit", "-o", "json").json()]
    assert told == [(what, "web") for what in ("deploy", "lock", "unlock", "scale", "deploy")]
