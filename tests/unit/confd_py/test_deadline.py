"""Calls that take too long are interrupted, wherever they are at that moment."""

from __future__ import annotations

import signal
import time

import pytest

from confd_py.deadline import Overdue, in_time


class Slow:
    """Something whose end takes a while; whatever is raised in it is lost there."""

    def __del__(self) -> None:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_that_is_lost_in_a_destructor_is_followed_by_another() -> None:
    def call() -> str:
        Slow()
        end = time.monotonic() + 20.0
        while time.monotonic() < end:
            pass
        return "never"

    with pytest.raises(Overdue):
        in_time(0.05, call)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_is_in_time_is_returned_and_nothing_is_interrupted_after_it() -> None:
    assert in_time(0.05, lambda: "done") == "done"
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        pass
    signal.raise_signal(signal.SIGALRM)  # one that was under way when the call ended
