"""What of `hecd top` is seen on a small screen."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from registrator.cli.screen import columns_for, lines_for
from registrator.cli.top import COLUMNS, _table
from registrator.orders.traffic import ALL, Line
from tests.unit.registrator.test_traffic import ONE, TWO, edge, world


def line(release: int, edge: str, rate: float = 0.0, servers: int = 0) -> Line:
    return Line("web", "80", str(release), "", edge, servers, rate, 0.0, 0.0, 0, 0, 0, 0, 0, 0, 0, 0)


CELLS = [("web", "80", "12", ALL, "monitoring", "20", "983.0", "100.0%", "0.0", "190ms", "1150ms", "0/3", "88",
          "484537", "0", "0")]  # fmt: skip
OLD = [line(n, edge) for n in range(1, 10) for edge in (ALL, "h4", "h5")]
NOW = [line(10, ALL, 40.0, 4), line(10, "h4", 20.0, 4), line(10, "h5", 20.0, 4)]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (200, set(COLUMNS)),
        (80, {"service", "release", "edge", "state", "req/s", "share", "failed/s", "p50", "p99"}),
        (40, {"service", "release", "req/s", "failed/s"}),
        (10, {"service", "release", "req/s"}),
    ],
)
def test_a_narrow_screen_has_fewer_columns_and_those_whole(width: int, shown: set[str]) -> None:
    assert {COLUMNS[n] for n in columns_for(width, COLUMNS, CELLS)} == shown


@pytest.mark.parametrize(("width", "height"), [(160, 24), (80, 24), (40, 4), (30, 3)])
def test_nothing_is_cut_within_a_word_or_below_the_screen(width: int, height: int) -> None:
    console = Console(width=width, height=height, file=StringIO(), force_terminal=False)
    console.print(_table(world(edge(ONE, 1.0), edge(TWO, 2.0)), (), "", width, height))
    assert isinstance(console.file, StringIO)
    drawn = console.file.getvalue().splitlines()
    assert len(drawn) <= height and "web" in drawn[1]
    assert not any(len(row) > width or ("…" in row and not row.startswith("!")) for row in drawn)


def test_a_low_screen_has_what_gets_requests_first() -> None:
    every = [*OLD, *NOW]
    assert lines_for(30, every) == every
    assert lines_for(12, every) == [*(o for o in OLD if o.edge == ALL), *NOW]
    assert lines_for(3, every) == NOW
    assert lines_for(2, every) == NOW[:1]
    assert lines_for(2, OLD) == [OLD[0], OLD[3]], "where nothing gets any, all are alike"
    assert len(lines_for(-1, every)) == 1
