"""A canary through both load balancers of the lab, with real containers."""

from __future__ import annotations

from tests.fleet.conftest import Fleet, failures


def test_a_release_that_only_fails_is_turned_back_and_harms_one_request_in_a_thousand(fleet: Fleet) -> None:
    before = fleet.serving()
    with fleet.load(kept_rate=300, fresh_rate=0) as reports:
        done = fleet.attempt(canary="[{weight: 1, for: 5s}, {weight: 25, for: 5s}]", broken="1")
        assert done.code == 5, done.out + done.err
        seen = fleet.hecd("top", "--once", "--json").json()
    assert "requests failed; of the old release 0 of" in done.err
    assert fleet.rollout.state == "rolled-back"
    assert fleet.serving() == before, "no instance of the old release was touched"
    harmed, sent = failures(reports), sum(report["sent"] for report in reports.values())
    assert {f["kind"] for f in harmed} == {"status 500"}
    assert len(harmed) <= 0.001 * sent, (len(harmed), sent)
    lines = {(line["release"], line["edge"]): line for line in seen["lines"]}
    assert lines[str(fleet.release), "all"]["http_5xx"] == len(harmed), "the load balancers count what clients met"
    assert lines[str(fleet.release - 1), "h4"]["rate"] > 100 and seen["troubles"] == []
    fleet.deploy()
    assert fleet.rollout.state == "done", "the next one is not held back by it"
