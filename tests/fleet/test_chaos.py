"""A minute of chaos: whatever is killed, frozen, cut off or slowed down, in the end all is as it should be."""

from __future__ import annotations

import pytest

from tests.fleet.chaos import Chaos, Fault, Hit, schedule
from tests.fleet.conftest import WEB, Fleet

SEED, SECONDS = 313, 28.0


def test_after_chaos_all_is_as_it_was_wanted_and_no_other_request_was_lost(fleet: Fleet) -> None:
    told: list[str] = []
    chaos = Chaos(fleet, schedule(SEED, SECONDS), told.append)
    try:
        chaos.run()
    finally:
        fleet.release = fleet.world.services[WEB].release
    assert len(chaos.hits) >= 4, "too little happened: this proves nothing"
    bad = {what: faults for what, faults in chaos.verdicts() if faults}
    assert not bad, "\n".join(["", *map(str, chaos.happenings), *told, *map(str, bad.items())])


def test_a_schedule_follows_from_its_seed_and_leaves_enough_alive() -> None:
    for seed in range(50):
        found = schedule(seed, 300.0)
        assert found == schedule(seed, 300.0)
        faults = [h for h in found if isinstance(h, Fault)]
        assert len(faults) > 10
        for one in faults:
            for other in faults:
                apart = other.at_s >= one.at_s + one.for_s or other.at_s + other.for_s <= one.at_s
                assert other is one or apart or not one.hits & other.hits
    assert schedule(1, 300.0) != schedule(2, 300.0)


@pytest.mark.parametrize(
    ("kind", "program", "failure", "cut"),
    [
        ("kill", "", {}, True),
        ("kill", "", {"method": "GET"}, False),
        ("kill", "", {"method": "GET", "edge": "h1"}, True),
        ("freeze", "", {"method": "GET"}, True),
        ("kill", "", {"instance": "web.2"}, False),
        ("kill", "", {"instance": ""}, True),
        ("kill", "", {"sent_at": 13.5, "ended_at": 14.0}, False),
        ("slow", "", {"sent_at": 13.5, "ended_at": 14.0}, True),
        ("kill", "", {"sent_at": 8.0, "ended_at": 9.0}, False),
        ("kill", "agent", {}, False),
        ("freeze", "etcd", {}, False),
        ("kill", "haproxy", {}, False),
        ("kill", "haproxy", {"edge": "h1", "sent_at": 19.0, "ended_at": 19.1}, True),
        ("kill", "haproxy", {"edge": "h1", "sent_at": 40.0, "ended_at": 40.1}, False),
    ],
)
def test_only_what_the_fault_itself_cut_is_not_lost(
    kind: str, program: str, failure: dict[str, object], cut: bool
) -> None:
    hit = Hit(Fault(0.0, 5.0, kind, program, "h1"), "h1", 10.0, 11.0, {"web.1"}, healed_at=15.0)
    usual = {"edge": "h4", "method": "POST", "instance": "web.1", "sent_at": 10.5, "ended_at": 11.5}
    assert hit.cut({**usual, **failure}) is cut
