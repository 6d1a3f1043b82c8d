"""The `hecd-runtime` command: containers of this host, without a cluster. A command's module is imported when typed."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from runtime.errors import RuntimeFault

# command -> (module, function, what it does); the order is that of the help page
COMMANDS = {
    "run": ("run", "run", "Make a container of an image, and run it."),
    "create": ("run", "create", "Make a container of an image, and let it wait."),
    "ps": ("containers", "ps", "List the containers."),
    "start": ("containers", "start", "Run containers that have ended."),
    "stop": ("containers", "stop", "Stop containers: signal, patience, SIGKILL."),
    "restart": ("containers", "restart", "Stop containers, and run them again."),
    "wait": ("containers", "wait", "Wait until containers have ended."),
    "kill": ("containers", "kill", "Send a signal to containers."),
    "rm": ("containers", "rm", "Remove containers."),
    "inspect": ("containers", "inspect", "Show all that is known of containers, as JSON."),
    "stats": ("stats", "stats", "Show what containers use."),
    "logs": ("inside", "logs", "Show what a container writes."),
    "exec": ("inside", "exec_", "Run a command inside a container."),
    "attach": ("inside", "attach", "Connect this terminal to a container's first process."),
    "top": ("top", "top", "List the processes of a container."),
    "cp": ("files", "cp", "Copy files between this host and a container."),
    "pull": ("images", "pull", "Bring an image here from its registry."),
    "image": ("images", "image", "List, load, save, import, build and remove images."),
    "volume": ("volumes", "volume", "List, make, inspect and remove volumes."),
    "gc": ("images", "gc", "Delete what no name and no container needs."),
    "doctor": ("doctor", "doctor", "Say what this host lacks, and what crashes left."),
    "supervise": ("supervise", "supervise", "Run containers again as their policies say, from boot on."),
    "completion": ("completion", "completion", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """Knows its commands by name; imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, function, _ = COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(f"runtime.cli.{module}"), function)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as err:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean `hecd-runtime {near[0]}`?" if near else ""
            raise click.UsageError(f"{err.message}{hint}", ctx) from err

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hecd", prog_name="hecd-runtime", message="%(prog)s %(version)s")
@click.option(
    "--root",
    metavar="DIR",
    envvar="HECD_ROOT",
    help="Keep everything below DIR instead of /var/lib/hecd and /run/hecd, or without root ~/.local/share/hecd.",
)
@click.option(
    "--subnet",
    multiple=True,
    metavar="NET",
    help="Addresses of the containers, as 10.87.0.0/24, and again for IPv6, as fd00:87::/64 or none; remembered.",
)
@click.option("--bridge", metavar="NAME", help="The bridge they are connected to; remembered.")
@click.option(
    "--engine",
    type=click.Choice(["oci", "docker", "podman"]),
    envvar="HECD_ENGINE",
    help="Who runs the containers; remembered. oci (crun), unless a socket is given.",
)
@click.option(
    "--docker-socket",
    metavar="PATH",
    envvar="HECD_DOCKER_SOCKET",
    help="Docker's or Podman's, where it is not in the usual place; remembered.",
)
@click.option(
    "--images-config",
    metavar="FILE",
    envvar="HECD_IMAGES_CONFIG",
    help="Mirrors, certificates and limits of images, instead of /etc/hecd/images.toml.",
)
@click.pass_context
def cli(ctx: click.Context, /, **flags: str | tuple[str, ...] | None) -> None:
    """Containers, images and networks of this host, without a daemon.

    \b
    Exit codes: 0 done · 1 failed · 2 wrong usage · 3 the registry does not answer
                4 no such thing · 6 a program is missing, or not permitted
    `run` and `exec` end with the code of what they ran.
    """
    ctx.obj = flags


def main() -> None:
    """Run the command line; every error of ours ends as one line and what to do next."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as err:
        err.show()
        sys.exit(err.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    except Exception as err:
        from runtime.errors import RuntimeFault

        if not isinstance(err, RuntimeFault):
            raise
        show_error(err)
        sys.exit(err.exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def show_error(err: RuntimeFault) -> None:
    """Brief, details and remedy, on standard error."""
    click.secho(f"hecd-runtime: {err.brief}", fg="red", err=True)
    for line in err.details:
        click.echo(f"  {line}", err=True)
    if err.hint:
        click.echo(err.hint, err=True)
