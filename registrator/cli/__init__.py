"""The `hecd` command. A command's module is imported only when it is typed, so that starting costs little."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from registrator import __version__
from registrator.errors import HecdError

# section of the help page -> command -> (module, what it does)
SECTIONS = {
    "One machine, or a fleet on one": {
        "demo": ("demo", "See it work: a release rolled under load on this machine."),
        "up": ("machine", "Run everything on this machine until Ctrl-C."),
        "down": ("machine", "Stop what `hecd up` runs, and its containers."),
        "lab": ("lab", "A fleet of hosts on this machine, and their faults."),
    },
    "Services and their releases": {
        "deploy": ("deploy", "Bring the services of a compose file up, release by release."),
        "plan": ("deploy", "Show what `deploy` would change."),
        "rollout": ("rollout", "Follow, pause, resume, promote or abort a release under way."),
        "scale": ("change", "Set how many instances of a service run."),
        "history": ("history", "List the last releases of a service, and what became of each."),
        "rollback": ("history", "Go back to an earlier release."),
        "lock": ("lock", "Let nobody change the releases of a service."),
        "unlock": ("lock", "Take the lock on a service away."),
        "serve": ("serve", "Let the load balancers serve containers that announce themselves."),
        "rm": ("change", "Remove a service and its instances."),
    },
    "What is there, and what happens": {
        "status": ("look", "Tell how everything is, and what to do about it."),
        "ps": ("look", "List the instances."),
        "services": ("look", "List the services."),
        "nodes": ("look", "List the nodes."),
        "node": ("nodes", "Show one node, and why each instance is there."),
        "top": ("top", "Show what the load balancers answer, live."),
        "events": ("events", "Tell what happened, and with -f what happens, and why."),
        "audit": ("audit", "List who ordered what, and when."),
        "logs": ("inside", "Show what the instances of a service write."),
        "exec": ("inside", "Run a command inside an instance."),
    },
    "Taking care": {
        "drain": ("nodes", "Move everything off a node."),
        "cordon": ("nodes", "Give a node nothing more."),
        "activate": ("nodes", "Let a node take instances again."),
        "promote": ("nodes", "Let a node lead again."),
        "demote": ("nodes", "Let another node lead."),
        "pause": ("hold", "Let the requests of a service wait."),
        "resume": ("hold", "Let those that wait go on."),
        "maintenance": ("hold", "Answer the requests of a service with 503, or serve them again."),
        "restore": ("change", "Bring the orders back after etcd lost its data."),
        "image": ("images", "Load images from files."),
    },
    "The parts, one by one": {
        "agent": ("agent", "Run the agent of this node."),
        "control": ("control", "Run the control loop."),
        "holder": ("holder", "Run the place in which the requests of a paused service wait."),
        "announce": ("announce", "Register the containers of a Docker or Podman host, as registrator does."),
        "completion": ("completion", "Print the completion script of a shell."),
    },
}
COMMANDS = {name: command for commands in SECTIONS.values() for name, command in commands.items()}


class LazyGroup(click.Group):
    """Knows its commands by name; imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"registrator.cli.{COMMANDS[name][0]}")
        command: click.Command = getattr(module, name if name != "exec" else "exec_")
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as err:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean `hecd {near[0]}`?" if near else ""
            raise click.UsageError(f"{err.message}{hint}", ctx) from err

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_, line) in commands.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hecd", message="%(prog)s %(version)s")
@click.option("--root", metavar="DIR", help="Keep everything below DIR instead of /var/lib/hecd and /run/hecd.")
@click.option("--etcd", metavar="HOST:PORT", multiple=True, help="An etcd endpoint; may be repeated.")
@click.option("--node", metavar="NAME", help="This node's name; the host name if not given.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="How much the parts tell.")
@click.pass_context
def hecd(ctx: click.Context, /, **flags: Any) -> None:
    """Traffic follows containers, and a release loses no request.

    \b
    Exit codes: 0 done · 1 failed · 2 wrong usage · 3 etcd does not answer or refuses
                4 no such thing · 5 the release did not succeed · 6 a program is missing
    """
    if flags.get("root"):
        flags["root"] = os.path.abspath(flags["root"])  # noqa: PTH100 - pathlib is not imported yet
    ctx.obj = flags


def main() -> None:
    """Run the command line; every error of ours ends as one line and what to do next."""
    try:
        code = hecd.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted; what was ordered goes on: `hecd status` tells how it is", err=True)
        sys.exit(130)
    except click.ClickException as err:
        err.show()
        sys.exit(err.exit_code)
    except HecdError as err:
        show_error(err)
        sys.exit(err.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    sys.exit(code if isinstance(code, int) else 0)


def show_error(err: HecdError, program: str = "hecd") -> None:
    """Brief, details, and the remedy, on standard error."""
    click.secho(f"{program}: {err.brief}", fg="red", err=True)
    for line in err.details:
        click.echo(f"  {line}", err=True)
    if err.hint:
        click.echo(f"  → {err.hint}", err=True)
