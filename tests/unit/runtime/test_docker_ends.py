"""A container that ends while its cable is plugged in."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from runtime.docker import containers

NOBODY = 1 << 22  # no process has a number that large


@dataclass
class Slow:
    """A process that takes `lasts_s` to be gone."""

    pid: int
    lasts_s: float

    def wait(self, timeout_s: float) -> bool:
        return timeout_s >= self.lasts_s


@pytest.mark.parametrize(
    ("process", "ends"),
    [
        (Slow(NOBODY, 3.0), True),  # its namespace is gone, the rest of it takes a while on a busy host
        (Slow(os.getpid(), 0.1), True),
        (Slow(os.getpid(), 3.0), False),
        (Slow(NOBODY, 60.0), False),
    ],
)
def test_who_has_lost_its_namespace_is_waited_for_and_who_has_it_is_not(process: Slow, ends: bool) -> None:
    assert containers._ends(process) is ends  # type: ignore[arg-type]
