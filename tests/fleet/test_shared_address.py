"""One address for both load balancers: one of them has it, another one soon after that one is gone, never two."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from registrator.lab import wires
from registrator.lab.plan import Lab, read
from tests.fleet.conftest import Fleet

MOVED_WITHIN_S = 1.0  # 0.2 to 0.4 where the machine has time for it: tests/bench/fleet.py
KNOCK_S = 0.1  # how long an answer is waited for
NOTICED_WITHIN_S = 4.0  # the check comes each second, and one that hangs is waited for


@dataclass
class Knocks:
    """Connections to the shared address, one after another: when each began, and whether it stood."""

    found: list[tuple[float, bool]] = field(default_factory=list)

    def gap_s(self) -> float:
        """The longest time in which no connection stood. What passed between two knocks counts as far as who knocks was
        awake: a machine that stands still is no address that is away."""
        longest_s = gap_s = 0.0
        for (before, good), (after, _) in itertools.pairwise(self.found):
            passed_s = min(after - before, 2 * KNOCK_S)
            gap_s = passed_s if good else gap_s + passed_s
            longest_s = max(longest_s, gap_s)
        return longest_s


def lab_of(fleet: Fleet) -> Lab:
    return read((fleet.folder / "lab.json").read_text())


def holders(fleet: Fleet) -> list[str]:
    """The hosts that have the shared address now."""
    lab = lab_of(fleet)
    return [host.name for host in lab.hosts if "edge" in host.roles and wires.has_address(lab, host, lab.vip)]


@contextlib.contextmanager
def knocking(fleet: Fleet) -> Iterator[Knocks]:
    address, knocks, over = (lab_of(fleet).vip, 8080), Knocks(), threading.Event()

    def knock() -> None:
        while not over.wait(0.005):
            begun, good = time.monotonic(), False
            with contextlib.suppress(OSError), socket.create_connection(address, timeout=KNOCK_S):
                good = True
            knocks.found.append((begun, good))

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        fleet.until(lambda: knocks.found and knocks.found[-1][1], 30.0, "the shared address answers")
        knocks.found.clear()
        yield knocks
        fleet.until(lambda: knocks.found[-1][1], 30.0, "the shared address answers again")
    finally:
        over.set()
        thread.join()


def moved(fleet: Fleet, old: str) -> bool:
    now = holders(fleet)
    return len(now) == 1 and now != [old]


def test_the_address_of_a_host_that_dies_moves_and_does_not_come_back(fleet: Fleet) -> None:
    (old,) = holders(fleet)
    with knocking(fleet) as knocks:
        assert fleet.lab("kill", old).code == 0
        fleet.until(lambda: moved(fleet, old), 30.0, "the address moved")
    assert 0 < knocks.gap_s() <= MOVED_WITHIN_S
    print(f"\nan address was away for {knocks.gap_s():.2f} s with its host")
    new = holders(fleet)
    with knocking(fleet) as knocks:
        fleet.settle()
        waits = "Entering BACKUP STATE"
        fleet.until(lambda: fleet.log(f"{old}/keepalived").rstrip().endswith(waits), 40.0, "it is back, and waits")
    assert holders(fleet) == new
    assert knocks.gap_s() <= MOVED_WITHIN_S


@pytest.mark.parametrize(("fault", "program"), [("kill", "keepalived"), ("kill", "haproxy"), ("freeze", "haproxy")])
def test_an_address_is_never_on_two(fleet: Fleet, fault: str, program: str) -> None:
    (old,) = holders(fleet)
    with knocking(fleet) as knocks:
        assert fleet.lab(fault, old, program).code == 0
        fleet.until(lambda: moved(fleet, old), 30.0, "the address moved")
    assert knocks.gap_s() <= NOTICED_WITHIN_S


def test_a_drained_load_balancer_gives_the_address_away(fleet: Fleet) -> None:
    (old,) = holders(fleet)
    with knocking(fleet) as knocks:
        assert fleet.hecd("drain", old).code == 0
        fleet.until(lambda: moved(fleet, old), 30.0, "the address moved")
    assert knocks.gap_s() <= MOVED_WITHIN_S
    assert fleet.hecd("drain", holders(fleet)[0]).code == 0
    time.sleep(2.5)  # as long as a move takes, and more
    assert len(holders(fleet)) == 1, "the last one keeps it"
    for edge in fleet.edges:
        assert fleet.hecd("activate", edge).code == 0
