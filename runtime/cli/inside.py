"""hecd-runtime logs, exec."""

from __future__ import annotations

import contextlib
import sys
from datetime import datetime

import click

from runtime.cli import described, session
from runtime.cli.moments import moment_option, tail_option
from runtime.cli.run import ended
from runtime.model import Manner
from runtime.terminal import converse

name = click.argument("name", shell_complete=session.complete_names)


@click.command()
@name
@click.option("-f", "--follow", is_flag=True, help="Go on with what it writes, until it ends.")
@click.option(
    "-n", "--tail", callback=tail_option, default="all", metavar="N", help="Only the last N lines; all is all."
)
@click.option(
    "--since", callback=moment_option, metavar="WHEN", help="Only what it wrote after this; 10m is ten minutes ago."
)
@click.option("--until", callback=moment_option, metavar="WHEN", help="Only what it wrote before this.")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written.")
@click.pass_context
def logs(
    ctx: click.Context,
    name: str,
    follow: bool,
    tail: int | None,
    since: datetime | None,
    until: datetime | None,
    timestamps: bool,
) -> None:
    """Show what a container wrote; its stderr goes to stderr."""
    with session.opened(ctx) as host:
        read = host.inside.follow_logs if follow else host.inside.logs
        for line in read(name, tail, since, until):
            when = f"{line.timestamp.isoformat(timespec='milliseconds')} " if timestamps else ""
            print(f"{when}{line.text}", file=sys.stderr if line.stream == "stderr" else sys.stdout, flush=follow)


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("-i", "--interactive", is_flag=True, help="Accepted as in Docker: stdin is passed on anyway.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="Whom it runs as, if not as the container.")
@click.option("-e", "--env", multiple=True, metavar="KEY[=VALUE]", help="A variable more; without =, ours.")
@click.option("-w", "--workdir", default="", metavar="DIR", help="Where it starts.")
@name
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def exec_(
    ctx: click.Context,
    interactive: bool,
    tty: bool,
    user: str,
    env: tuple[str, ...],
    workdir: str,
    name: str,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND inside a container, as in `hecd-runtime exec -it web sh`; its exit code becomes ours."""
    if tty and not sys.stdin.isatty():
        raise click.UsageError("-t needs a terminal, and stdin is none")
    if workdir and not workdir.startswith("/"):
        raise click.UsageError(f"-w {workdir}: write an absolute path")
    manner = Manner(user, described.variables(env), workdir)
    with session.opened(ctx) as host:
        code = host.inside.exec_interactive(name, command[1:] if command[0] == "--" else command, tty, manner)
    ctx.exit(code)


@click.command()
@name
@click.option("--no-stdin", is_flag=True, help="Only watch.")
@click.pass_context
def attach(ctx: click.Context, name: str, no_stdin: bool) -> None:
    """Connect to what runs in a container as if it had been started here, until it ends; its exit code becomes ours.
    With a terminal (`run -t`), ctrl-p ctrl-q detaches; without one, Ctrl-C does."""
    with session.opened(ctx) as host:
        spec = host.containers.inspect(name).spec
        with contextlib.closing(host.inside.attach(name)) as peer:
            try:
                detached = converse(peer, terminal=spec.tty, typing=spec.stdin_open and not no_stdin)
            except KeyboardInterrupt:
                return
        code = 0 if detached else ended(host, name)
    ctx.exit(code)
