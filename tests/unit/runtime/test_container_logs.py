"""The form in which conmon writes logs."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import logfiles, logs
from runtime.cli.moments import moment
from runtime.logs import Window
from runtime.model import LogLine

WHEN = "2026-11-24T02:43:15.123456789+00:00"


def line(text: str, stream: str = "stdout", flag: str = "F") -> str:
    return f"{WHEN} {stream} {flag} {text}"


def test_a_line() -> None:
    moment = datetime(2026, 11, 24, 2, 43, 15, 123456, UTC)
    assert list(logs.joined([line("a  b ", "stderr")])) == [LogLine(moment, "stderr", "a  b ")]


def test_halves_are_joined_by_stream() -> None:
    lines = [
        line("a", flag="P"),
        line("x", "stderr", "P"),
        line("b", flag="P"),
        line("c"),
        line("y", "stderr"),
        line(""),
    ]
    assert [(x.stream, x.text) for x in logs.joined(lines)] == [("stdout", "abc"), ("stderr", "xy"), ("stdout", "")]


@pytest.mark.parametrize("odd", ["", "x", "one two", "when stdout F text", f"{WHEN} stdout"])
def test_what_is_odd_is_passed_over(odd: str) -> None:
    assert [x.text for x in logs.joined([line("a"), odd, line("b")])] == ["a", "b"]


def test_a_last_line_without_an_end_counts() -> None:
    lines = [line("a"), line("b", flag="P"), line("e", "stderr", "P")]
    assert [(x.stream, x.text) for x in logs.joined(lines)] == [("stdout", "a"), ("stdout", "b"), ("stderr", "e")]


def test_an_endless_line_is_cut() -> None:
    found = list(logs.joined(line("x" * 8192, flag="P") for _ in range(20)))
    assert [len(x.text) for x in found] == [logs.BLOCK_BYTES, logs.BLOCK_BYTES, 4 * 8192]


@given(
    st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=300)),
    st.integers(0, 40),
)
def test_the_last_lines_are_the_last_of_all(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], count: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    path.write_text("".join(line(text) + "\n" for text in words) + line("unfinished"), newline="\n")
    everything = [x.text for x in logs.read(path)]
    assert everything == words
    assert [x.text for x in logs.last(path, count)] == (words[-count:] if count else [])


def test_no_log_has_no_lines(tmp_path: Path) -> None:
    assert list(logs.read(tmp_path / "none")) == logs.last(tmp_path / "none", 5) == []


def test_follow_without_an_end_gives_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"{line('a')}\n{line('b')}\n")
    assert [x.text for x in logs.follow(tmp_path / "log", logs.ALL, lambda: None)] == ["a", "b"]
    assert [x.text for x in logs.follow(tmp_path / "log", Window(1), lambda: None)] == ["b"]


def timed(second: int, text: str) -> str:
    return f"2026-11-24T02:43:{second:02}.000000000+00:00 stdout F {text}\n"


def at(second: int) -> datetime:
    return datetime(2026, 11, 24, 2, 43, second, tzinfo=UTC)


@pytest.fixture
def rotated(tmp_path: Path) -> Path:
    """A log of four files; the youngest has two names, as in the middle of a rotation."""
    path = tmp_path / "log"
    for number, name in enumerate(["log.10", "log.2", "log"]):
        (tmp_path / name).write_text("".join(timed(number * 10 + i, f"{number}{i}") for i in range(10)))
    (tmp_path / "log.1").hardlink_to(path)
    (tmp_path / "log.tmp").write_text(timed(0, "not one of them"))
    return path


def test_older_files_come_first_and_none_twice(rotated: Path) -> None:
    everything = [f"{n:02}" for n in range(30)]
    assert [x.text for x in logs.read(rotated)] == everything
    for count in (0, 1, 9, 10, 11, 25, 30, 99):
        assert [x.text for x in logs.last(rotated, count)] == everything[30 - min(count, 30) :]
        followed = logs.follow(rotated, Window(count), lambda: None)
        assert [x.text for x in followed] == everything[30 - min(count, 30) :]
    assert [x.text for x in logs.follow(rotated, logs.ALL, lambda: None)] == everything


def test_an_empty_new_file_brings_no_old_lines_back(rotated: Path) -> None:
    rotated.unlink()
    rotated.touch()
    assert [x.text for x in logs.follow(rotated, Window(1), lambda: None)] == ["29"]


def test_windows_of_time(rotated: Path) -> None:
    assert [x.text for x in logs.read(rotated, Window(since=at(8), until=at(11)))] == ["08", "09", "10", "11"]
    assert [x.text for x in logs.read(rotated, Window(2, since=at(8), until=at(11)))] == ["10", "11"]
    for window, found in ((Window(since=at(28)), ["28", "29"]), (Window(1, until=at(11)), ["11"])):
        assert [x.text for x in logs.follow(rotated, window, lambda: None)] == found


def test_follow_goes_on_in_the_files_that_come_after(tmp_path: Path) -> None:
    """Two rotations between two looks: the line in between is in neither the file that was open nor the newest."""
    path = tmp_path / "log"
    path.write_text(timed(1, "a"))
    read_end, write_end = os.pipe()
    lines = logs.follow(path, logs.ALL, lambda: read_end)
    assert next(lines).text == "a"
    with path.open("a") as old:
        path.rename(tmp_path / "log.2")
        old.write(timed(2, "b"))
    (tmp_path / "log.1").write_text(timed(3, "c"))
    path.write_text(timed(4, "d"))
    os.close(write_end)  # readable: it has ended
    assert [x.text for x in lines] == ["b", "c", "d"]


def test_a_file_that_was_dropped_while_it_was_read_leads_to_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(timed(1, "a"))
    with path.open("rb") as file:
        assert logfiles.successor(path, file) is None
        path.unlink()
        path.write_text(timed(2, "b"))
        found = logfiles.successor(path, file)
        assert found is not None and b"b" in found.read()
        found.close()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10m", datetime(2026, 1, 1, 11, 50, tzinfo=UTC)),
        ("1h30m", datetime(2026, 1, 1, 10, 30, tzinfo=UTC)),
        ("1.5s", datetime(2026, 1, 1, 11, 59, 58, 500000, tzinfo=UTC)),
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T01:00:00+01:00", datetime(2026, 1, 1, tzinfo=UTC)),
        ("", None), ("soon", None), ("-5m", None), ("nan", None),
    ],
)  # fmt: skip
def test_moments(text: str, wanted: datetime | None) -> None:
    assert moment(text, datetime(2026, 1, 1, 12, tzinfo=UTC)) == wanted
