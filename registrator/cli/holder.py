"""hecd holder: where requests wait, beside HAProxy."""

from __future__ import annotations

import click

from registrator.cli import session
from registrator.config import Config
from registrator.holder.loop import Holder
from registrator.up.programs import haproxy_config, haproxy_run


@click.command()
@click.pass_context
def holder(ctx: click.Context) -> None:
    """Run the place beside this node's HAProxy in which the requests of a paused service wait."""
    config = session.settings(ctx)
    session.log_to_stderr(config.log_level)
    session.run(session.until_told(_holder(config)))


async def _holder(config: Config) -> None:
    await Holder(haproxy_run(config), haproxy_config(config)).run()
