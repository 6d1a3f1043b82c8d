"""hecd control: the control loop, put together from its drivers."""

from __future__ import annotations

import gc

import click

from registrator.cli import session
from registrator.config import Config
from registrator.control.backup import Backup
from registrator.control.loop import Control
from registrator.registry.etcd import open_store
from registrator.registry.trust import Trust

# Records live long and form no cycles. With Python's own thresholds (700, 10, 10) the collector went through all
# records of a large fleet every few changes, and found nothing: 100 ms each time for 10,000 instances.
COLLECT_AFTER = 20_000, 20, 20


@click.command()
@click.pass_context
def control(ctx: click.Context) -> None:
    """Run the control loop: it places instances and rolls releases. One leads, the others stand by."""
    config = session.settings(ctx)
    session.log_to_stderr(config.log_level)
    gc.set_threshold(*COLLECT_AFTER)
    session.run(session.until_told(_control(config)))


async def _control(config: Config) -> None:
    async with open_store(config.access) as store:
        trust, backup = Trust(config.lib / "control.trust"), Backup(config.lib / "orders.json")
        await Control(store, config.node, trust, backup, config.lease_ttl, config.node_lost_after).run()
