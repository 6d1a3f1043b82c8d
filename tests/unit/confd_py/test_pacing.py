"""A storm makes few renders; a change that comes alone never waits."""

from __future__ import annotations

import pytest

from confd_py.pacing import Pacing


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def renders_within_a_second(apply: str, *, alone: bool) -> int:
    """One change a millisecond; `alone`: each was in effect before the next came."""
    clock, count = Clock(), 0
    pacing = Pacing(apply, clock)
    for _ in range(1000):
        pacing.changed(alone=alone or count == 0)
        if pacing.wait_s() == 0:
            pacing.take()
            count += 1
        clock.now_s += 0.001
    return count


@pytest.mark.parametrize(
    ("apply", "alone", "least", "most"),
    [
        ("haproxy", False, 5, 9),
        ("haproxy-map", False, 5, 9),
        ("haproxy", True, 1000, 1000),
        ("command", False, 4, 8),
        ("command", True, 4, 8),
        ("nginx", False, 4, 8),
    ],
)
def test_renders(apply: str, alone: bool, least: int, most: int) -> None:
    assert least <= renders_within_a_second(apply, alone=alone) <= most


def test_one_that_overtakes_another_waits_only_after_several() -> None:
    clock = Clock()
    pacing = Pacing("haproxy", clock)
    waits = []
    for _ in range(5):
        pacing.changed(alone=False)
        waits.append(pacing.wait_s())
        pacing.take()
    assert waits[:3] == [0, 0, 0]
    assert waits[3] > 0
    pacing.changed(alone=True)
    assert pacing.wait_s() == 0
