"""What is counted of answers: where each belongs, percentiles, windows, and totals that never shrink."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registrator.agent.drivers.answers import parse
from registrator.agent.ports import Answered
from registrator.agent.usage import MOST_CUT, Counts
from registrator.model.node import ServerReport
from registrator.model.usage import (
    BOUNDS_MS,
    REST,
    Figures,
    Usage,
    bound_of,
    percentile_ms,
    slower,
    together,
)

SERVERS = {"web.80": {"web.1": ServerReport("UP", 100, 2), "web.2": ServerReport("UP", 1, 1)}}
RELEASES = {"web.1": "1", "web.2": "2"}


def release_of(server: str) -> str:
    return RELEASES.get(server, REST)


@pytest.mark.parametrize(
    ("line", "answered"),
    [
        (b"web.80 web.7 200 0 1 5 9 --\n", Answered("web.80", "web.7", 3, 6)),
        (b"web.80 web.7 500 2 1 5 9 --\n", Answered("web.80", "web.7", 3, 8, http_5xx=True)),
        (b"web.80 web.7 504 0 1 -1 60001 sH\n", Answered("web.80", "web.7", 3, 60001, http_5xx=True, cut=True)),
        (b"web.80 web.7 200 0 0 1 70 SD\n", Answered("web.80", "web.7", 3, 1, error=True, cut=True)),
        (b"web.80 web.7 200 0 0 1 70 KD\n", Answered("web.80", "web.7", 3, 1, error=True, cut=True)),
        (b"web.80 web.7 -1 0 0 -1 5000 CH\n", Answered("web.80", "web.7", 3, 5000)),
        (b"web.80 <NOSRV> 503 -1 -1 -1 10 SC\n", Answered("web.80", "", 3, 10, http_5xx=True)),
        (b"db.5432 db.1 0 0 2 -1 -1 --\n", Answered("db.5432", "db.1", 3, 2)),
        (b"db.5432 db.1 0 0 2 -1 -1 sD\n", Answered("db.5432", "db.1", 3, 2)),
        (b"db.5432 db.1 0 0 -1 -1 -1 sC\n", Answered("db.5432", "db.1", 3, 0, error=True, cut=True)),
        (b"port-8080 <NOSRV> 400 -1 -1 -1 1 PR\n", None),
        (b"rubbish\n", None),
        (b"web.80 web.7 x 0 0 0 0 --\n", None),
        (b"\xff\xfe", None),
    ],
)
def test_what_a_line_of_the_log_says(line: bytes, answered: Answered | None) -> None:
    assert parse(line, 3) == answered


@given(st.integers(0, 300_000))
def test_a_bound_is_at_most_a_quarter_above_what_it_stands_for(ms: int) -> None:
    bound = int(bound_of(ms))
    assert bound == BOUNDS_MS[-1] or ms <= bound <= max(ms * 1.25, ms + 1)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=200), st.sampled_from([50, 99]))
def test_percentiles_are_those_of_the_sorted_values_within_a_bucket(values: list[int], percent: int) -> None:
    latency: dict[str, int] = {}
    for value in values:
        latency[bound_of(value)] = latency.get(bound_of(value), 0) + 1
    exact = sorted(values)[-(-len(values) * percent // 100) - 1]
    assert percentile_ms(latency, percent) == int(bound_of(exact))
    assert slower(latency, 0) <= len(values)
    assert slower(latency, -1) == len(values)
    assert all(slower(latency, than) <= sum(v > than for v in values) for than in (3, 10, 57, 1000))


def test_releases_of_one_service_are_told_apart() -> None:
    counts = Counts(1000.0)
    counts.add(
        [Answered("web.80", "web.1", 90, 3), Answered("web.80", "web.2", 10, 40, http_5xx=True)], release_of, 1001.0
    )
    counts.add([Answered("web.80", "", 2, 0, http_5xx=True)], release_of, 1001.0)
    usage = counts.usage(SERVERS, {"web.80": {"web.2": 4, "": 7}}, release_of, 1001.0)["web.80"]
    assert usage["1"] == Usage(Figures(90, 0, 0, {"3": 90}), 90.0, 0.0, 3.0, 3.0, 0, 0, 2)
    assert usage["2"] == Usage(Figures(10, 10, 0, {"40": 10}), 10.0, 10.0, 40.0, 40.0, 4, 4, 1)
    assert (usage[REST].total.http_5xx, usage[REST].queue) == (2, 7)
    whole = together(usage.values())
    assert (whole.total.requests, whole.total.failed, whole.p99_ms, whole.queue) == (102, 12, 40.0, 11)


def test_rate_percentiles_and_longest_queue_are_of_the_last_ten_seconds() -> None:
    counts = Counts(1000.0)
    for second in range(1, 31):
        answers = [Answered("web.80", "web.1", 50, 100 if second <= 10 else 5)]
        counts.add(answers, release_of, 1000.0 + second)
        queues = {"web.80": {"web.1": 9}} if second == 10 else {}
        usage = counts.usage(SERVERS, queues, release_of, 1000.0 + second)["web.80"]["1"]
        assert usage.rate == pytest.approx(50.0)
        assert usage.p99_ms == (112.0 if second <= 19 else 5.0)
        assert usage.queue_max == (9 if 10 <= second <= 20 else 0)
    assert usage.total.requests == 1500


def test_what_is_idle_says_the_same_so_that_nothing_is_written() -> None:
    counts = Counts(1000.0)
    counts.add([Answered("web.80", "web.1", 5, 1)], release_of, 1000.5)
    said = [counts.usage(SERVERS, {}, release_of, 1000.0 + second) for second in range(1, 30)]
    assert said[15:] == [said[15]] * 14


def test_a_release_that_is_long_gone_counts_as_the_rest() -> None:
    counts = Counts(1000.0)
    counts.add([Answered("web.80", "web.1", 40, 1), Answered("web.80", "web.2", 2, 1)], release_of, 1001.0)
    left = {"web.80": {"web.2": SERVERS["web.80"]["web.2"]}}
    before = counts.usage(left, {}, release_of, 1002.0)
    assert before["web.80"]["1"].total.requests == 40
    after = counts.usage(left, {}, release_of, 1602.0)["web.80"]
    assert {release: usage.total.requests for release, usage in after.items()} == {REST: 40, "2": 2}
    assert after[REST].rate == 0.0, "it was not answered just now"


def test_what_no_service_answers_is_not_counted_and_every_backend_is_there() -> None:
    usage = Counts(0.0).usage({"hecd-stats": {"x": ServerReport("UP")}, "db.5432": {}}, {}, release_of, 1.0)
    assert usage == {"db.5432": {REST: Usage()}}


def test_what_a_server_did_not_answer_itself_is_counted_for_it_and_of_the_latest_only() -> None:
    counts = Counts(0.0)
    counts.add(
        [Answered("web.80", "web.2", 3, 9, error=True, cut=True), Answered("web.80", "web.2", 4, 9, True)],
        release_of,
        1.0,
    )
    assert counts.usage(SERVERS, {}, release_of, 1.0)["web.80"]["2"].cut == {"web.2": 3}
    many = [Answered("web.80", f"web.{n}", 1, 9, error=True, cut=True) for n in range(10, 10 + MOST_CUT)]
    counts.add(many, lambda _: "2", 2.0)
    found = counts.usage(SERVERS, {}, release_of, 2.0)["web.80"]["2"].cut
    assert len(found) == MOST_CUT and "web.2" not in found
