"""What of `hecd top` has room on a screen: the most telling columns, and first of all what gets requests. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from registrator.orders.traffic import ALL, Line

GAP = 2
# The first goes first; what is not here always stays.
DISPENSABLE = (
    *("errors", "5xx", "requests", "sessions", "servers", "port", "queue"),
    *("p50", "state", "share", "edge", "p99", "failed/s"),
)


def columns_for(width: int, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    """The numbers of those that fit beside each other, GAP between them. `cells` has a row of all for each line."""
    widths = [max(len(text) for text in (name, *(row[n] for row in cells))) for n, name in enumerate(columns)]
    shown = list(range(len(columns)))
    for name in DISPENSABLE:
        if sum(widths[n] + GAP for n in shown) - GAP <= width:
            break
        shown.remove(columns.index(name))
    return shown


def lines_for(height: int, lines: Sequence[Line]) -> list[Line]:
    """Those that fit below each other, in their order. Lines of single edges where nothing happens give way first,
    then whole releases that get nothing, then all lines of single edges, then the last."""
    steps: tuple[Callable[[Line], bool], ...] = (
        lambda line: _busy(line) or line.edge == ALL,
        _busy,
        lambda line: line.edge == ALL,
    )
    shown = list(lines)
    for stays in steps:
        if len(shown) > height:
            shown = [line for line in shown if stays(line)] or shown
    return shown[: max(height, 1)]


def _busy(line: Line) -> bool:
    return line.servers > 0 or line.rate > 0 or line.queue > 0
