"""When a container is run again: Docker's figures."""

from __future__ import annotations

import pytest

from runtime.model import Restart
from runtime.restarts import Ending, History, again

FAILED, WELL = Ending(1, 0.0, stopped=False), Ending(0, 0.0, stopped=False)
LOST, STOPPED = Ending(None, 0.0, stopped=False), Ending(137, 0.0, stopped=True)


@pytest.mark.parametrize(
    ("policy", "answers"),
    [("no", "...."), ("on-failure", "y.y."), ("always", "yyy."), ("unless-stopped", "yyy.")],
)
def test_policies(policy: str, answers: str) -> None:
    found = [again(Restart(policy), ending, History()) is not None for ending in (FAILED, WELL, LOST, STOPPED)]
    assert found == [answer == "y" for answer in answers]


def test_the_delay_doubles_to_a_minute_and_begins_anew_after_ten_seconds() -> None:
    history, delays = History(), []
    for _ in range(13):
        found = again(Restart("always"), FAILED, history)
        assert found is not None
        history = found
        delays.append(history.delay_s)
    assert delays == [0.1 * 2**n for n in range(10)] + [60.0] * 3
    well = again(Restart("always"), Ending(1, 10.0, stopped=False), history)
    assert well == History(14, 0.1)
    short = again(Restart("always"), Ending(1, 9.99, stopped=False), history)
    assert short == History(14, 60.0)


def test_failures_are_counted() -> None:
    assert again(Restart("on-failure", 2), FAILED, History(1, 0.1)) == History(2, 0.2)
    assert again(Restart("on-failure", 2), FAILED, History(2, 0.2)) is None
    assert again(Restart("on-failure"), FAILED, History(999, 0.2)) is not None
