"""hecd-runtime supervise."""

from __future__ import annotations

import click

from runtime.cli import session
from runtime.state import taken
from runtime.supervision import supervisor_lock
from runtime.supervisor import Supervisor


@click.command()
@click.pass_context
def supervise(ctx: click.Context) -> None:
    """Run containers again as their restart policies say, and let their logs begin anew, until you end it.

    While the machine is up, `run` and `start` see to it that this happens. As a service, it also starts what was
    running before a reboot.
    """
    with session.opened(ctx) as host, taken(supervisor_lock(host.paths), wait=True):  # type: ignore[union-attr]
        Supervisor(host, stay=True).run()
