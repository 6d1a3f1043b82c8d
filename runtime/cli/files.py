"""hecd-runtime cp."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from runtime import copying
from runtime.cli import session
from runtime.host import Host


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@click.option("-a", "--archive", "keep", is_flag=True, help="Keep owners, by number, and setuid.")
@click.pass_context
def cp(ctx: click.Context, source: str, target: str, keep: bool) -> None:
    """Copy files between this host and a container: one of SOURCE and TARGET is NAME:PATH.

    \b
    hecd-runtime cp web:/etc/app.conf .      into this directory
    hecd-runtime cp ./site/. web:/srv/www    what is in it
    hecd-runtime cp web:/var/log -           a tar to standard output, and from there with - as SOURCE
    """
    there, here = _inside(source), _inside(target)
    if (there is None) == (here is None):
        raise click.UsageError("one of SOURCE and TARGET has to be NAME:PATH; a path of this host begins with / or .")
    with session.opened(ctx) as host:
        if there is not None:
            _out(host, *there, target, keep=keep)
        elif here is not None:
            _in(host, source, *here, keep=keep)


def _inside(text: str) -> tuple[str, str] | None:
    """Container and path; None for a path of this host."""
    name, colon, path = text.partition(":")
    return (name, path) if colon and name and name[0] not in "./~" else None


def _out(host: Host, name: str, path: str, target: str, *, keep: bool) -> None:
    root = host.root_of(name)
    if target != "-":
        copying.copy(root, path, copying.HERE, _absolute(target), keep=keep)
    elif sys.stdout.isatty():
        raise click.UsageError("a tar is not for a terminal: pass it on, as in `| tar x`")
    else:
        copying.ended(copying.packing(root, path, sys.stdout.buffer))


def _in(host: Host, source: str, name: str, path: str, *, keep: bool) -> None:
    root = host.root_of(name)
    if source != "-":
        copying.copy(copying.HERE, _absolute(source), root, path, keep=keep)
    else:
        copying.ended(copying.unpacking(root, path, sys.stdin.buffer, keep=keep))


def _absolute(path: str) -> str:
    """The ends `/` and `/.` are kept: they say something."""
    end = "/." if path.endswith("/.") or path == "." else "/" if path.endswith("/") else ""
    return f"{Path(path).absolute()}{end}"
