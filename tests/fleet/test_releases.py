"""A release rolls over five hosts and two load balancers without one failed request, whoever dies meanwhile."""

from __future__ import annotations

import time

from tests.fleet.conftest import WEB, Fleet, failures


def test_the_lab_was_up_in_time(built: Fleet) -> None:
    assert built.took_s <= 15.0


def test_releases_and_ways_back_lose_no_request_on_any_load_balancer(fleet: Fleet) -> None:
    """Requests take a while, and every third is a POST: one that was cut off could not be repeated."""
    with fleet.load(path="/slow?80") as reports:
        fleet.deploy()
        fleet.deploy()
        for back in ([], [str(fleet.release)]):  # to the one before, and to the newest again
            went = fleet.hecd("rollback", "web", *back)
            assert went.code == 0, went.err
    assert failures(reports) == []
    for report in reports.values():
        assert {str(fleet.release - 2), str(fleet.release - 1), str(fleet.release)} <= set(report["by_release"])


def test_a_release_goes_on_without_its_leader(fleet: Fleet) -> None:
    leader = fleet.leader
    with fleet.load() as reports:
        fleet.deploy("--detach", delay="1s")
        fleet.until(lambda: rolling(fleet), 60.0, "the release is under way")
        assert fleet.lab("kill", leader, "control").code == 0
        killed_at = time.time()
        fleet.until(lambda: fleet.leader not in ("", leader), 60.0, "another one leads")
        fleet.until(lambda: fleet.rollout.progress_at > killed_at, 60.0, "the release goes on")
        resumed_s = time.time() - killed_at
        fleet.until(lambda: done(fleet), 60.0, "the release ends")
    assert failures(reports) == []
    assert resumed_s <= 10.0


def test_a_release_goes_on_while_etcd_changes_its_leader(fleet: Fleet) -> None:
    with fleet.load() as reports:
        fleet.deploy("--detach", delay="1s")
        fleet.until(lambda: rolling(fleet), 60.0, "the release is under way")
        assert fleet.lab("kill", fleet.etcd_leader, "etcd").code == 0
        fleet.until(lambda: done(fleet), 60.0, "the release ends")
    assert failures(reports) == []


def test_a_release_waits_for_a_load_balancer_that_is_behind(fleet: Fleet) -> None:
    before = fleet.serving()
    with fleet.load() as reports:
        assert fleet.lab("freeze", "h5", "confd-py").code == 0
        fleet.deploy("--detach")
        fleet.until(lambda: fleet.serving() - before, 60.0, "new instances serve")
        time.sleep(2.0)
        assert before <= fleet.serving(), "h5 knows the old ones only"
        assert fleet.lab("heal", "h5").code == 0
        fleet.until(lambda: done(fleet), 60.0, "the release ends")
    assert failures(reports) == []


def rolling(fleet: Fleet) -> bool:
    """Whether some instances of the new release serve, and some of the old one too."""
    found = {i.release for i in fleet.world.of_service(WEB) if i.serving}
    return {fleet.release - 1, fleet.release} <= found


def done(fleet: Fleet) -> bool:
    return fleet.rollout.release == fleet.release and fleet.rollout.state == "done"
