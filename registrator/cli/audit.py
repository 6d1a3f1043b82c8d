"""hecd audit."""

from __future__ import annotations

import time
from dataclasses import asdict

import click

from registrator.cli import session
from registrator.orders import known


@click.command()
@click.argument("target", required=False, metavar="[SERVICE|NODE]")
@click.option("-n", "--last", type=click.IntRange(1), default=30, show_default=True, help="So many, the newest.")
@session.output_option
@click.pass_context
def audit(ctx: click.Context, target: str | None, last: int, output: str) -> None:
    """List who ordered what, and when, the newest last: of all, or of one service or node. 1,000 orders are kept.

    \b
    hecd audit web -n 5
    """
    world = session.run(session.world(ctx))
    if target is not None:
        known.need([target], known.ordered(world), "service or node")
    deeds = sorted((d for d in world.audit.values() if target in (None, d.target)), key=lambda deed: deed.id)[-last:]
    of = f" of {target}" if target else ""
    when = [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(deed.at)) for deed in deeds]
    rows = [{**asdict(deed), "when": at} for deed, at in zip(deeds, when, strict=True)]
    session.print_rows(rows, ("when", "who", "what", "target", "detail"), output, f"nothing has been ordered{of} yet")
