"""Events: which of them mean that a container is to end, and which are of an earlier run."""

from __future__ import annotations

from typing import Any

import pytest

from registrator.announce.presence import Presence, presence
from registrator.announce.seen import Event, Seen, after, refreshed
from registrator.health.verdict import Health
from tests.unit.announce.documents import container

RUNNING = Seen(container())
STARTED = RUNNING.container.started_at


def event(action: str, at: float = 1.0, **attributes: str) -> Event:
    return Event(action, RUNNING.container.id, STARTED + at, attributes)


@pytest.mark.parametrize("signal", ["15", "9", "3", "2", "SIGTERM", "TERM", "KILL", ""])
def test_a_signal_that_ends_drains(signal: str) -> None:
    assert after(RUNNING, event("kill", signal=signal)).ending


@pytest.mark.parametrize("signal", ["1", "10", "12", "28", "HUP", "SIGUSR1", "WINCH", "17", "37"])
def test_a_harmless_signal_changes_nothing(signal: str) -> None:
    assert after(RUNNING, event("kill", signal=signal)) == RUNNING


@pytest.mark.parametrize(("stop_signal", "sent"), [("SIGUSR1", "10"), ("SIGRTMIN+3", "37"), ("28", "28")])
def test_the_containers_own_stop_signal_drains(stop_signal: str, sent: str) -> None:
    from dataclasses import replace

    from registrator.announce.signals import signal_number

    own = Seen(replace(container(), stop_signal=signal_number(stop_signal)))
    assert after(own, event("kill", signal=sent)).ending
    assert after(own, event("kill", signal="15")).ending


def test_what_is_older_than_this_run_says_nothing_of_it() -> None:
    for action in ("kill", "stop", "die"):
        assert after(RUNNING, event(action, at=-1.0, signal="15", exitCode="1")) == RUNNING


def test_death_and_its_exit_code() -> None:
    for died in (event("die", exitCode="3"), event("died", containerExitCode="3")):
        gone = after(RUNNING, died).container
        assert (gone.running, gone.exit_code) == (False, 3)


def test_health_is_taken_from_the_event() -> None:
    assert after(RUNNING, event("health_status: unhealthy")).container.health == "unhealthy"


def test_an_order_to_end_holds_for_its_run_only() -> None:
    ending = after(RUNNING, event("kill", signal="15"))
    assert refreshed(ending, container()).ending
    assert not refreshed(ending, container(StartedAt="2026-01-02T00:00:00Z")).ending


def test_one_that_ended_is_known_where_it_was() -> None:
    dead = after(RUNNING, event("die", exitCode="1"))
    emptied = container(ports={}, networks={"bridge": ""}, Running=False, ExitCode=1)
    seen = refreshed(dead, emptied).container
    assert (seen.running, seen.exit_code) == (False, 1)
    assert seen.published == RUNNING.container.published
    assert seen.inside_address == RUNNING.container.inside_address


HEALTHY, DRAINING = Presence("running", "healthy"), "it was sent SIGTERM"


@pytest.mark.parametrize(
    ("state", "ending", "probed", "expected"),
    [
        ({}, "", None, ("running", "healthy")),
        ({}, DRAINING, None, ("draining", "healthy")),
        ({"Health": {"Status": "starting"}}, "", None, ("absent", "unknown")),
        ({"Health": {"Status": "starting"}}, DRAINING, None, ("absent", "unknown")),
        ({"Health": {"Status": "healthy"}}, "", None, ("running", "healthy")),
        ({"Health": {"Status": "none"}}, "", None, ("running", "healthy")),
        ({"Health": {"Status": "unhealthy"}}, "", None, ("running", "unhealthy")),
        ({"Health": {"Status": "unhealthy"}}, DRAINING, None, ("draining", "unhealthy")),
        ({}, "", Health("unknown"), ("absent", "unknown")),
        ({}, "", Health("healthy"), ("running", "healthy")),
        ({}, "", Health("unhealthy"), ("running", "unhealthy")),
        ({"Health": {"Status": "healthy"}}, "", Health("unhealthy"), ("running", "unhealthy")),
        ({"Paused": True}, "", None, ("running", "unhealthy")),
        ({"Restarting": True}, "", None, ("absent", "unknown")),
        ({"Running": False, "ExitCode": 0}, "", None, ("absent", "unknown")),
        ({"Running": False, "ExitCode": 1}, "", None, ("absent", "unknown")),
    ],
)
def test_presence(state: dict[str, Any], ending: str, probed: Health | None, expected: tuple[str, str]) -> None:
    found = presence(Seen(container(**state), ending), probed)
    assert (found.state, found.health) == expected


@pytest.mark.parametrize(("code", "expected"), [(0, "absent"), (1, "exited"), (127, "exited"), (137, "absent")])
def test_with_on_success_only_failures_stay(code: int, expected: str) -> None:
    ended = Seen(container(Running=False, ExitCode=code))
    assert presence(ended, None, keep_failed=True).state == expected
