"""From peers to entries, and from what is there to what has to be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.networks import overlay, topology
from runtime.networks.overlay import Entry, Forward, Neighbour, Overlay, Peer, Route, Step
from runtime.networks.tunnel import _explained

OWN = "10.87.1.0/24"
BRIDGE = topology.bridge("hecd0", OWN)
SETTINGS = Overlay("192.0.2.1", "10.87.0.0/16")
TWO = Peer("n2", "10.87.2.0/24", "192.0.2.2", "02:48:0a:57:02:00")
THREE = Peer("n3", "10.87.3.0/24", "192.0.2.3", "02:48:0a:57:03:00")


def after(seen: set[Entry], steps: list[Step]) -> set[Entry]:
    """What a kernel has after these steps."""
    for step in steps:
        if step.drop and isinstance(step.entry, Forward):
            seen = seen - {step.entry}
        elif step.drop:  # by its key, whatever it says else
            seen = {e for e in seen if (type(e), e.key) != (type(step.entry), step.entry.key)}
        elif isinstance(step.entry, Forward):
            seen = seen | {step.entry}
        else:
            seen = {e for e in seen if (type(e), e.key) != (type(step.entry), step.entry.key)} | {step.entry}
    return seen


def test_a_peer_takes_three_entries() -> None:
    assert overlay.entries([TWO], BRIDGE) == [
        Forward("02:48:0a:57:02:00", "192.0.2.2"),
        Neighbour("10.87.2.0", "02:48:0a:57:02:00"),
        Route("10.87.2.0/24", "10.87.2.0", "10.87.1.1"),
    ]


def test_a_route_never_leads_to_nothing() -> None:
    wanted = overlay.entries([TWO], BRIDGE)
    made = overlay.steps(wanted, [])
    gone = overlay.steps([], wanted)
    assert [type(s.entry) for s in made] == [Forward, Neighbour, Route]
    assert [type(s.entry) for s in gone] == [Route, Neighbour, Forward]
    assert [s.drop for s in made + gone] == [False] * 3 + [True] * 3


def test_one_peer_that_moved_is_one_entry_and_nobody_elses() -> None:
    before = overlay.entries([TWO, THREE], BRIDGE)
    after_ = overlay.entries([replace(TWO, underlay="192.0.2.9"), THREE], BRIDGE)
    steps = overlay.steps(after_, before)
    assert steps == [Step(Forward(TWO.mac, "192.0.2.9")), Step(Forward(TWO.mac, TWO.underlay), drop=True)]


_entries = st.one_of(
    st.builds(Forward, st.sampled_from("abc"), st.sampled_from("xyz")),
    st.builds(Neighbour, st.sampled_from("abc"), st.sampled_from("xyz")),
    st.builds(Route, st.sampled_from("abc"), st.sampled_from("xyz"), st.just("s")),
)
_seen = st.lists(_entries, unique_by=lambda e: (type(e), e.key, e if isinstance(e, Forward) else ""))
_wanted = st.lists(_entries, unique_by=lambda e: (type(e), e.key))


@given(_wanted, _seen)
def test_the_steps_lead_there_and_touch_nothing_that_is_right(wanted: list[Entry], seen: list[Entry]) -> None:
    steps = overlay.steps(wanted, seen)
    assert after(set(seen), steps) == set(wanted)
    assert not {s.entry for s in steps} & set(wanted) & set(seen)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"subnet": "0.0.0.0/0"}, "no part of 10.87.0.0/16"),
        ({"subnet": "10.86.2.0/24"}, "no part of 10.87.0.0/16"),
        ({"subnet": "10.87.1.128/25"}, "is that of this host"),
        ({"subnet": "10.87.3.0/25"}, "is that of n1"),
        ({"subnet": "10.87.2.1/24"}, "host bits"),
        ({"underlay": "192.0.2.1"}, "no address of another host"),
        ({"underlay": "224.0.0.1"}, "no address of another host"),
        ({"underlay": "n2.example"}, "no address of another host"),
        ({"mac": "02:48:0a:57:01:00"}, "no MAC of another host"),
        ({"mac": "03:48:0a:57:02:00"}, "no MAC of another host"),
        ({"mac": "00"}, "no MAC of another host"),
        ({"mac": "02:48:0a:57:03:00"}, "is that of n1"),
    ],
)
def test_a_peer_leads_nothing_away_but_its_own(change: dict[str, str], said: str) -> None:
    first = replace(THREE, name="n1")
    good, refused = overlay.accepted([replace(TWO, **change), first], SETTINGS, OWN)
    assert good == [first]
    assert len(refused) == 1 and refused[0].startswith("peer n2: ") and said in refused[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"underlay": "example"}, "no IPv4 address"),
        ({"vni": 0}, "no VNI"),
        ({"vni": 1 << 24}, "no VNI"),
        ({"port": 70000}, "no port"),
        ({"network": "10.86.0.0/16"}, "no part of"),
        ({"network": "nonsense"}, "nonsense"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any], said: str) -> None:
    assert said in " ".join(overlay.faults(replace(SETTINGS, **change), OWN))
    assert overlay.faults(SETTINGS, OWN) == []


def test_a_link_is_changed_where_the_kernel_can_else_made_anew() -> None:
    end = overlay.vtep("1234abcd", SETTINGS, OWN, 1500)
    assert (end.name, end.mtu, end.mac) == ("vx1234abcd", 1450, "02:48:0a:57:01:00")
    moved, other = replace(end, underlay="192.0.2.9", mtu=1400), replace(end, vni=5)
    assert overlay.differences(end, end) == []
    assert overlay.differences(end, moved) == ["underlay 192.0.2.9, not 192.0.2.1", "mtu 1400, not 1450"]
    assert overlay.can_be_changed(end, moved)
    assert not overlay.can_be_changed(end, other)


def test_a_kernel_without_vxlan_is_named() -> None:
    class Refused(Exception):
        code = 95

    said = _explained(Refused(), overlay.vtep("1", SETTINGS, OWN, 1500))
    assert said is not None and "no VXLAN" in said.brief and "modprobe vxlan" in said.hint
