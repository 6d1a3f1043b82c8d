"""`confd-py check`, `diff` and `status`: for a person at a terminal, beside a running service or without one."""

from __future__ import annotations

import difflib
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from confd_py import applied, dest
from confd_py.commands import fill, run_program, run_shell
from confd_py.confdir import read_confdir
from confd_py.config import Config
from confd_py.errors import CommandFailed, ConfdError
from confd_py.guard import Limits
from confd_py.haproxy.config import parse, stamped
from confd_py.haproxy.content import content_of
from confd_py.nginx import config as nginx
from confd_py.observe.socket import ask, default_socket
from confd_py.render import Renderer
from confd_py.resource import Resource
from confd_py.store import Store
from confd_py.view import View


async def check(
    config: Config, environ: Mapping[str, str], open_store: Callable[..., Store], *, show_diff: bool
) -> int:
    """Render every resource from the store and check it, changing nothing; 1 if one is not in order.

    With `show_diff` print what would change instead of checking.
    """
    confdir = read_confdir(config, environ)
    resources, faults = list(confdir.resources.values()), confdir.faults
    failed = bool(faults)
    for fault in faults:
        _complain(fault)
    store = open_store(config, environ)
    try:
        keys = tuple(dict.fromkeys(key for resource in resources for key in resource.keys))
        batch = await store.read(keys)
    finally:
        await store.close()
    for resource in resources:
        view = View(resource.keys, resource.prefix, Limits(), store.covers)
        view.take(view.relevant(batch), {}, time.time())
        try:
            text = render(resource, config, view, environ)
            if show_diff:
                _print_diff(resource, text, coloured=_likes_colour(environ))
            else:
                await _check_text(resource, text)
                print(f"{resource.name}: in order")
        except ConfdError as err:
            failed = True
            _complain(err)
    return 1 if failed else 0


def render(resource: Resource, config: Config, view: View, environ: Mapping[str, str]) -> str:
    """The whole text that would be written."""
    templates = Path(config.confdir) / "templates"
    src, where = resource.src.lstrip("/"), resource.src_at
    text = Renderer(templates, src, resource.format, view.keys, environ, where).render()
    if resource.apply == "nginx":
        return nginx.stamped(text, nginx.stamp_of(text), resource.nginx.status)
    return stamped(text, parse(text).stamp) if resource.apply == "haproxy" else text


def show(config: Config, environ: Mapping[str, str]) -> int:
    """Print what is in effect, from the applied-state files; 1 if something is not."""
    confdir = read_confdir(config, environ)
    resources, faults = confdir.resources.values(), confdir.faults
    told = ask(Path(config.status_socket) if config.status_socket else default_socket(config.confdir))
    if told is None:
        print("confd-py: none is running; this is what the applied-state files say", file=sys.stderr)
        states = [applied.load(r.applied_file, r.name, str(r.dest)) for r in resources]
    else:
        states = [applied.Applied(**state) for state in told["resources"]]
        if told["store"]:
            print(f"confd-py: {told['store']}\n    What is in effect stays so until it answers.", file=sys.stderr)
    for state in states:
        print(_line(state))
        for line in ("" if state.error else applied.why_not(state), *state.error_details, state.hint):
            if line:
                print(f"    {line}")
    for fault in faults:
        _complain(fault)
    return 1 if faults or any(map(applied.why_not, states)) else 0


def _line(state: applied.Applied) -> str:
    fields = {
        "revision": state.revision,
        "wanted_revision": state.wanted_revision,
        "reloads": state.reloads,
        "runtime_ops": state.runtime_ops,
        "kept": len(state.ghosts),
        "pending": len(state.pending_admissions) + len(state.pending_removals),
        "age_s": round(time.time() - state.applied_at) if state.applied_at else "-",
        "next_try_s": round(max(0.0, state.next_try_at - time.time()), 1) if state.next_try_at else "-",
        "error": json.dumps(state.error),
    }
    name = state.resource if state.resource.isprintable() else json.dumps(state.resource)
    return f"{name}: " + " ".join(f"{name}={value}" for name, value in fields.items())


async def _check_text(resource: Resource, text: str) -> None:
    staged = dest.stage(resource.dest, text, dest.Ownership(resource.mode))
    try:
        if resource.apply == "haproxy":
            await run_program([resource.haproxy.binary, "-c", "-f", str(staged)], resource.check_cmd_timeout_s)
        if resource.apply == "nginx":
            await run_program([resource.nginx.binary, "-t", "-q", "-c", str(staged)], resource.check_cmd_timeout_s)
        if resource.apply in ("haproxy-map", "haproxy-cert"):
            content_of(resource).check(text, staged)
        if resource.check_cmd:
            command = fill(resource.check_cmd, src=str(staged), dest=str(resource.dest))
            await run_shell(command, resource.check_cmd_timeout_s)
    except CommandFailed as err:
        raise ConfdError(f"{resource.name}: {err.brief}", details=err.details) from err
    finally:
        staged.unlink(missing_ok=True)


def _likes_colour(environ: Mapping[str, str]) -> bool:
    """Whether a person looks on who has not asked for none (no-color.org)."""
    return sys.stdout.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def _print_diff(resource: Resource, text: str, *, coloured: bool) -> None:
    old = (dest.read(resource.dest) or "").splitlines(keepends=True)
    lines = difflib.unified_diff(old, text.splitlines(keepends=True), str(resource.dest), "wanted")
    colours = {"+": "\x1b[32m", "-": "\x1b[31m", "@": "\x1b[36m"} if coloured else {}
    for line in lines:
        colour = colours.get(line[:1], "")
        sys.stdout.write(f"{colour}{line}\x1b[0m" if colour else line)


def _complain(err: ConfdError) -> None:
    print(
        f"confd-py: {err.brief}",
        *(f"    {line}" for line in (*err.details, err.hint) if line),
        sep="\n",
        file=sys.stderr,
    )
