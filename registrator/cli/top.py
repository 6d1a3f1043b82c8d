"""hecd top: what the load balancers answer, by service and release, live."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from registrator.cli import session
from registrator.cli.numbers import Seconds
from registrator.cli.screen import columns_for, lines_for
from registrator.orders import traffic
from registrator.orders.traffic import ALL, Line
from registrator.registry.store import Store
from registrator.registry.world import Reader, World

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = (
    *("service", "port", "release", "edge", "state", "servers", "req/s", "share", "failed/s", "p50", "p99"),
    *("queue", "sessions", "requests", "5xx", "errors"),
)
_TEXTS = COLUMNS[:5]
NOTHING = "no load balancer tells of a service; `hecd status` tells more"


@click.command()
@click.argument("services", nargs=-1)
@click.option("--once", is_flag=True, help="Print it once. So it is where standard output is no terminal, too.")
@click.option("--json", "as_json", is_flag=True, help="The same as -o json; live, one object a line.")
@click.option("--every", type=Seconds(0.1, 3600), default=1.0, show_default=True, help="Look so often, seconds.")
@session.output_option
@click.pass_context
def top(ctx: click.Context, services: tuple[str, ...], once: bool, as_json: bool, every: float, output: str) -> None:
    """Show what the load balancers answer, by service, release and edge, until Ctrl-C.

    Rates, percentiles and the longest queue (after the slash) are of the last ten seconds; requests, 5xx and errors are
    totals since the edge's agent started. In sum over edges, percentiles are those of the slowest.
    """
    as_json = as_json or output == "json"
    if once or (not as_json and not sys.stdout.isatty()):
        session.run(_once(ctx, services, as_json))
    else:
        session.run(session.until_told(_live(ctx, services, as_json, every)))


async def _once(ctx: click.Context, services: tuple[str, ...], as_json: bool) -> None:
    async with session.registry(ctx) as (_, world):
        pass
    if as_json:
        click.echo(json.dumps(_plain(world, services, connected=True), indent=2))
        return
    rows = [dict(zip(COLUMNS, _cells(line), strict=True)) for line in traffic.lines(world, services)]
    session.print_rows(rows, COLUMNS, "table", NOTHING)
    for trouble in traffic.troubles(world):
        click.echo(f"! {trouble}", err=True)


async def _live(ctx: click.Context, services: tuple[str, ...], as_json: bool, every_s: float) -> None:
    async with session.registry(ctx) as (store, _):
        if as_json:
            await _print_lines(store, services, every_s)
        else:
            await _draw(store, services, every_s)


async def _print_lines(store: Store, services: tuple[str, ...], every_s: float) -> None:
    reader = Reader()
    while True:
        world = reader.read(store.snapshot())
        click.echo(json.dumps(_plain(world, services, connected=store.connected)))
        await asyncio.sleep(every_s)


async def _draw(store: Store, services: tuple[str, ...], every_s: float) -> None:
    from rich.live import Live

    reader, seen_at = Reader(), time.time()
    with Live(screen=True, auto_refresh=False) as screen:
        while True:
            seen_at = time.time() if store.connected else seen_at
            world = reader.read(store.snapshot())
            away = "" if store.connected else _since(seen_at)
            screen.update(_table(world, services, away, screen.console.width, screen.console.height), refresh=True)
            await asyncio.sleep(every_s)


def _since(seen_at: float) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(seen_at))
    return f"etcd does not answer: these are the figures of {at}"


def _table(world: World, services: tuple[str, ...], away: str, width: int, height: int) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    found = traffic.lines(world, services)
    notes = [*([away] if away else []), *traffic.troubles(world), *([] if found else [NOTHING])]
    columns = columns_for(width, COLUMNS, [_cells(line) for line in found])
    if COLUMNS.index("edge") not in columns:
        found = [line for line in found if line.edge == ALL] or found
    shown = lines_for(height - 2 - len(notes), found)
    if left := len(found) - len(shown):
        notes.append(f"{left} more: `hecd top SERVICE`, or a larger window")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (COLUMNS[n] for n in columns):
        table.add_column(column.upper(), justify="left" if column in _TEXTS else "right", no_wrap=True)
    for line in shown:
        cells = _cells(line)
        table.add_row(*(Text(cells[n]) for n in columns), style=_style(line))
    told = (Text(f"! {note}", style="yellow", no_wrap=True, overflow="ellipsis") for note in notes)
    return Group(table, *told)


def _style(line: Line) -> str:
    if line.failed_rate > 0:
        return "red"
    return "bold" if line.edge == ALL else ""


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.service,
        line.port,
        line.release,
        line.edge,
        line.state,
        str(line.servers),
        f"{line.rate:.1f}",
        f"{line.share:.1f}%",
        f"{line.failed_rate:.1f}",
        f"{line.p50_ms:g}ms",
        f"{line.p99_ms:g}ms",
        f"{line.queue}/{line.queue_max}",
        *map(str, (line.sessions, line.requests, line.http_5xx, line.errors)),
    )


def _plain(world: World, services: tuple[str, ...], *, connected: bool) -> dict[str, Any]:
    return {
        "revision": world.revision,
        "connected": connected,
        "lines": [asdict(line) for line in traffic.lines(world, services)],
        "troubles": list(traffic.troubles(world)),
    }
