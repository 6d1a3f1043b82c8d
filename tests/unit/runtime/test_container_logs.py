"""The form in which conmon writes logs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import logs
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
    assert [x.text for x in logs.follow(tmp_path / "log", None, lambda: None)] == ["a", "b"]
    assert [x.text for x in logs.follow(tmp_path / "log", 1, lambda: None)] == ["b"]
