"""hecd lab: a fleet of hosts on this machine."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import click

from registrator import config
from registrator.cli import session
from registrator.cli.numbers import Seconds
from registrator.errors import HecdError, MissingProgram
from registrator.lab import build, faults, images, programs, wires
from registrator.lab.namespace import Namespace
from registrator.lab.plan import Host, Lab
from registrator.registry.world import World

STATUS_WITHIN_S = 3.0
ENDS = {"HECD_ROOT", "HECD_ETCD"}  # what of the shell would be stronger than the lab's own settings


@click.group()
def lab() -> None:
    """A fleet on this machine: hosts as network namespaces, with agents, etcd and load balancers; and their faults.

    \b
    hecd lab up 5 --edges 2 --etcd 3
    eval "$(hecd lab env)"          # hecd deploy, ps, nodes, … now speak to the lab
    hecd lab kill h3                # see what becomes of it: hecd lab status
    hecd lab down                   # nothing is left
    """


@lab.command()
@click.argument("hosts", type=click.IntRange(1), default=3)
@click.option("--edges", type=int, help="How many carry a load balancer: the last ones.  [default: 1, or 2 of 4]")
@click.option("--etcd", type=int, help="How many carry etcd and control: the first ones.  [default: 1, or 3 of 3]")
@click.option(
    "--within", type=Seconds(1), default=build.READY_WITHIN_S, show_default=True, help="Give up after, seconds."
)
@click.pass_context
def up(ctx: click.Context, hosts: int, edges: int | None, etcd: int | None, within: float) -> None:
    """Put up a lab of HOSTS hosts, and wait until all its parts have found each other."""
    begun = time.monotonic()

    def say(line: str) -> None:
        session.progress(f"{time.monotonic() - begun:5.1f} s  {line}")

    edges = (1 if hosts < 4 else 2) if edges is None else edges
    etcd = (1 if hosts < 3 else 3) if etcd is None else etcd
    made = build.up(_folder(ctx), hosts, edges, etcd, say, within)
    say("etcd, control, agents and load balancers are up")
    try:
        images.load_sample(made)
        say("the sample app is on all hosts")
    except MissingProgram as err:
        say(f"without the sample app: {err.brief}")
    root = _root_words(ctx)
    for line in (f'eval "$(hecd{root} lab env)"', "hecd deploy -f examples/web/compose.yaml", *_curls(made)):
        click.echo(line)


@lab.command()
@click.pass_context
def down(ctx: click.Context) -> None:
    """Take the lab away, whatever state it is in."""
    if build.down(_folder(ctx)):
        click.echo("down; nothing is left of the lab")
    else:
        session.progress(f"no lab was up in {_folder(ctx)}")


@lab.command()
@click.pass_context
def env(ctx: click.Context) -> None:
    """Print what makes `hecd` in this shell speak to the lab: eval "$(hecd lab env)"."""
    click.echo(f"export HECD_CONFIG={shlex.quote(str(_lab(ctx).desk))}")
    for name in sorted(ENDS & set(config.environment())):
        click.echo(f"unset {name}")


@lab.command()
@session.output_option
@click.pass_context
def status(ctx: click.Context, output: str) -> None:
    """Show the hosts, what befell them, and who leads."""
    here = _lab(ctx)
    try:
        world = session.run(build.worlds_until(here, lambda _: True, STATUS_WITHIN_S))
    except TimeoutError:
        session.progress("etcd does not answer: what is below is what the lab itself knows")
        world = World()
    rows = [_row(here, host, world) for host in here.hosts]
    session.print_rows(rows, ("host", "address", "runs", "state", "joined", "instances", "leads"), output, "")


@lab.command()
@click.argument("host")
@click.argument("program", required=False)
@click.pass_context
def kill(ctx: click.Context, host: str, program: str | None) -> None:
    """Switch HOST off as by its power switch; or SIGKILL one PROGRAM of it. Either stays dead until `heal`."""
    here = _lab(ctx)
    faults.kill(here, here.host(host), program)


@lab.command()
@click.argument("host")
@click.argument("program", required=False)
@click.pass_context
def freeze(ctx: click.Context, host: str, program: str | None) -> None:
    """Let all processes of HOST, or one PROGRAM, stand still. Its kernel goes on answering."""
    here = _lab(ctx)
    faults.freeze(here, here.host(host), program)


@lab.command()
@click.argument("host")
@click.option("--from", "others", metavar="HOST,HOST", help="Only these and HOST do not hear each other any more.")
@click.pass_context
def cut(ctx: click.Context, host: str, others: str | None) -> None:
    """Pull the network cable of HOST; its programs run on."""
    here = _lab(ctx)
    from_whom = [here.host(name) for name in others.split(",")] if others is not None else []
    if any(other.name == host for other in from_whom):
        raise click.UsageError(f"{host} cannot be cut off from itself: name other hosts, or leave --from away")
    faults.cut(here, here.host(host), from_whom)


@lab.command()
@click.argument("host")
@click.option(
    "--kbit", type=click.IntRange(8, 10_000_000), default=faults.SLOW_KBIT_PER_S, show_default=True, help="Per second."
)
@click.pass_context
def slow(ctx: click.Context, host: str, kbit: int) -> None:
    """Let little through the cable of HOST, each way."""
    here = _lab(ctx)
    faults.slow(here, here.host(host), kbit)


@lab.command()
@click.argument("hosts", nargs=-1)
@click.pass_context
def heal(ctx: click.Context, hosts: tuple[str, ...]) -> None:
    """Take back whatever befell HOSTS, or all hosts: switched on, plugged in, awake."""
    here = _lab(ctx)
    for host in [here.host(name) for name in hosts] or here.hosts:
        faults.heal(here, host)


@lab.command()
@click.argument("what", nargs=-1, required=True, metavar="IMAGE|PATH...")
@click.pass_context
def image(ctx: click.Context, what: tuple[str, ...]) -> None:
    """Bring images to all hosts, as the lab's network ends at this machine: from files, else from their registries."""
    here = _lab(ctx)
    for word in what:
        for name in images.bring(here, Path(word) if word and Path(word).exists() else word):
            click.echo(name)


@lab.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def on(ctx: click.Context, host: str, command: tuple[str, ...]) -> None:
    """Run COMMAND on HOST, as in `hecd lab on h3 hecd logs web`."""
    here = _lab(ctx)
    there = here.host(host)
    argv = list(command[1:] if command[0] == "--" else command)
    if argv[:1] == ["hecd"]:
        argv = [sys.executable, "-m", "registrator", *argv[1:]]
    if not Namespace(here.namespace(there)).exists:
        raise HecdError(f"{host} is switched off", hint=f"hecd lab heal {host}")
    words = Namespace(here.namespace(there)).command(argv)
    scripts = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    root = here.settings(there).root  # for hecd-runtime, which reads no settings of hecd's
    environment = {**os.environ, "PATH": scripts, "HECD_ROOT": root, **programs.environment(here, there)}
    os.execvpe(words[0], words, environment)  # noqa: S606


def _lab(ctx: click.Context) -> Lab:
    return build.found(_folder(ctx))


def _folder(ctx: click.Context) -> Path:
    """Where the lab is: in the root that was named, or else the one to which this shell speaks."""
    if root := _root(ctx):
        return root / "lab"
    settings = config.environment().get("HECD_CONFIG", "")
    return (build.spoken_to(Path(settings)) if settings else None) or build.FOLDER


def _root(ctx: click.Context) -> Path | None:
    root = (ctx.obj or {}).get("root") or config.environment().get("HECD_ROOT")
    return Path(root).absolute() if root else None


def _root_words(ctx: click.Context) -> str:
    root = _root(ctx)
    return f" --root {shlex.quote(str(root))}" if root else ""


def _curls(made: Lab) -> list[str]:
    edges = [host.address for host in made.hosts if "edge" in host.roles]
    return [f"curl http://{address}:8080/" for address in ([made.vip] if made.vip else edges)]


def _row(here: Lab, host: Host, world: World) -> dict[str, Any]:
    befell = faults.faults(here, host)
    shares = bool(here.vip) and "edge" in host.roles and wires.has_address(here, host, here.vip)
    words = [f"{fault} {details}".strip() for fault, details in befell.items()]
    return {
        "host": host.name,
        "address": f"{host.address} {here.vip}" if shares else host.address,
        "runs": ",".join(programs.names(here, host)),
        "state": "; ".join(words) or "up",
        "joined": "yes" if host.name in world.nodes else "no",
        "instances": sum(i.node == host.name for i in world.instances.values()),
        "leads": "control" if world.leader == host.name else "",
        "faults": befell,
    }
