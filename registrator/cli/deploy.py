"""hecd deploy, hecd plan."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from registrator import config
from registrator.cli import session
from registrator.errors import HecdError, ReleaseFailed
from registrator.model.hook import POST_DEPLOY
from registrator.model.names import ServiceName
from registrator.model.rollout import Rollout
from registrator.model.service import Project
from registrator.orders import follow, give
from registrator.orders.moved import moved, unmoved
from registrator.orders.plan import Change
from registrator.orders.plan import plan as make_plan
from registrator.orders.steps import steps
from registrator.registry.store import Guard
from registrator.registry.world import Reader, World

FAILING_SHOWN = 3  # of each service
FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")

_file = click.option("-f", "--file", "file", metavar="FILE", help="The compose file; - is standard input.")


@click.command()
@_file
@click.option("-d", "--detach", is_flag=True, help="Do not wait for the release to end.")
@click.option("--check-index", type=click.IntRange(1), metavar="REVISION", help="Refuse if what `plan` read moved on.")
@session.output_option
@click.pass_context
def deploy(ctx: click.Context, file: str | None, detach: bool, check_index: int | None, output: str) -> None:
    """Bring the services of a compose file up.

    A service whose image or settings changed gets a new release, rolled out without losing a request. A release that
    fails is taken back, and this command ends with code 5. Nobody else deploys these services meanwhile.

    \b
    hecd deploy -f compose.yaml
    hecd plan && hecd deploy --check-index 812     # just what the plan said, or nothing
    """
    project = _project(file)
    session.run(_deploy(ctx, project, _digests(ctx, project), detach, check_index, output))


@click.command()
@_file
@session.output_option
@click.pass_context
def plan(ctx: click.Context, file: str | None, output: str) -> None:
    """Show what `hecd deploy` would change: each step in order, what HAProxy is told, and whether it would reload.

    The revision at its end is for `hecd deploy --check-index`.
    """
    project = _project(file)
    session.run(_plan(ctx, project, _digests(ctx, project), output))


async def _plan(ctx: click.Context, project: Project, digests: dict[str, str], output: str) -> None:
    async with session.registry(ctx) as (_, world):
        changes = make_plan(project, world, digests, now=time.time(), who=session.who())
    rows = [
        {
            "service": c.service,
            "kind": c.kind,
            "release": c.release,
            "reasons": c.reasons,
            "reloads": c.reloads,
            "places": c.places,
            "steps": _steps(c, world),
            "revision": world.revision,
        }
        for c in changes
    ]
    lines = [line for c in changes for line in (*_lines(c), *(f"    → {p}" for p in c.places), *_numbered(c, world))]
    lines.append(f"revision {world.revision}: `hecd deploy --check-index {world.revision}` does just this, or refuses")
    session.print_object(rows, output, lines)


def _steps(change: Change, world: World) -> list[str]:
    if change.service_record is None:
        return []
    return steps(world, change.service_record, change.release_record)


def _numbered(change: Change, world: World) -> list[str]:
    return [f"    {n}. {step}" for n, step in enumerate(_steps(change, world), 1)]


async def _deploy(
    ctx: click.Context, project: Project, digests: dict[str, str], detach: bool, since: int | None, output: str
) -> None:
    names = sorted(spec.name for spec in project.services)
    async with (
        session.registry(ctx) as (store, _),
        session.locked(ctx, store, names, "deploys") as (world, lock),
    ):
        still = _unmoved(world, names, since)
        changes = make_plan(project, world, digests, now=time.time(), who=session.who())
        for warning in project.warnings:
            session.progress(f"note: {warning}")
        for change in changes:
            for line in [*_lines(change), *(f"    → {p}" for p in change.places if change.kind == "update")]:
                session.progress(line)
        started = time.monotonic()
        revision = await give.deploy(store, changes, now=time.time(), who=session.who(), under=[*lock, *still])
        if detach:
            return
        _need_helpers(world)
        wanted = {c.service: c.release for c in changes}
        ended = await follow.releases(store, wanted, after=revision, show=lambda s: session.progress(f"  {s.line()}"))
        now = Reader().read(store.snapshot())
    took_s = time.monotonic() - started
    session.print_object(
        [
            {"service": n, "release": r.release, "state": r.state, "reason": r.reason, "took_s": took_s}
            for n, r in ended.items()
        ],
        output,
        [f"{line} ({took_s:.1f} s)" for line in follow.ends(now, ended)],
    )
    tell_of_hooks(ended)
    raise_failures(ended, now)


def _unmoved(world: World, names: list[ServiceName], since: int | None) -> list[Guard]:
    """Guards that what a plan read at `since` is as it was. Raises HecdError naming what is not."""
    if since is None:
        return []
    if since > world.revision:
        hint = "Is it the number that `hecd plan` printed here? After etcd lost its data, plan again."
        raise HecdError(f"revision {since} has not been yet: etcd is at {world.revision}", hint=hint)
    if changed := moved(world, names, since):
        hint = "`hecd plan` shows what would be done now, and its revision."
        raise HecdError(f"the world moved on since revision {since}", details=tuple(changed), hint=hint)
    return unmoved(world, names)


def _need_helpers(world: World) -> None:
    """Say at once what would make the waiting endless."""
    if world.leader is None:
        session.progress(
            "note: no control loop leads yet; the release starts when one does (`hecd up`, `hecd control`)"
        )
    if not world.nodes:
        session.progress("note: no node has joined yet; the release starts when one does (`hecd up`, `hecd agent`)")


def tell_of_hooks(ended: dict[ServiceName, Rollout]) -> None:
    """Say which post_deploy hook failed: the release serves all the same."""
    for name, rollout in ended.items():
        last = rollout.hooks.get(POST_DEPLOY)
        if rollout.state == "done" and last is not None and last.state == "failed":
            where = f" on {last.node}" if last.node else ""
            session.progress(f"note: post_deploy of {name}{where}: {last.reason}; release {rollout.release} serves")
            session.progress(f"  → `hecd logs {name} --hook post_deploy` shows what it wrote")


def raise_failures(ended: dict[ServiceName, Rollout], now: World | None = None) -> None:
    """Raise ReleaseFailed if a rollout ended otherwise than done, with its reason and its last words; or done, and
    `now` none of its instances serves, as they crash."""
    if now is not None:
        _raise_dead(ended, now)
    failed = {n: r for n, r in ended.items() if r.state != "done"}
    if not failed:
        return
    details = []
    for name, rollout in failed.items():
        back = f"; release {rollout.stable} serves" if rollout.state == "rolled-back" else ""
        details.append(f"{name}: {rollout.reason}{back}")
        details += [f"  | {line}" for line in rollout.log_tail]
    hints = ["Mend the cause and deploy again.", *_ways(failed), "`hecd ps` and `hecd logs SERVICE` tell more."]
    raise ReleaseFailed(
        f"the release of {', '.join(failed)} did not succeed", details=tuple(details), hint=" ".join(hints)
    )


def _ways(failed: dict[ServiceName, Rollout]) -> list[str]:
    """What else can be done about releases that wait for somebody."""
    waiting = [r for r in failed.values() if r.state == "paused" and r.stable not in (0, r.release)]
    return [f"Or `hecd rollout abort {r.service}` goes back to release {r.stable}, `resume` tries on." for r in waiting]


def _raise_dead(ended: dict[ServiceName, Rollout], now: World) -> None:
    """Say which instances fail of releases that are done; raise ReleaseFailed where none of one is left."""
    dead = {}
    for name in (n for n, r in ended.items() if r.state == "done"):
        standing = follow.standing(now, name)
        if standing is None or not standing.failing:
            continue
        if not standing.ready:
            dead[name] = standing.failing
        for line in standing.failing[:FAILING_SHOWN]:
            session.progress(f"note: {line}; `hecd logs {line.split()[0]}` there shows what it wrote")
    if dead:
        hint = "Mend the cause and deploy again, or `hecd rollback`. `hecd status` tells more."
        raise ReleaseFailed(f"the release of {', '.join(dead)} is done, and nothing of it serves", hint=hint)


def _digests(ctx: click.Context, project: Project) -> dict[str, str]:
    from registrator.agent import local  # the runtime, which `rollout`, `history` and `scale` do not need

    images = {spec.settings.image for spec in project.services}
    with local.opened(session.settings(ctx)) as here:
        return {image: here.digest(image) for image in sorted(images)}


def _project(file: str | None) -> Project:
    from registrator.spec import load_project

    environment = dict(config.environment())
    if file == "-":
        return load_project(sys.stdin.read(), environment, Path.cwd())
    path = Path(file) if file else next((Path(f) for f in FILES if Path(f).exists()), None)
    if path is None:
        raise HecdError("there is no compose file here", hint=f"Name one with -f, or call it {FILES[0]}.")
    return load_project(path, environment, path.resolve().parent)


def _lines(change: Change) -> list[str]:
    marks = {"create": "+", "release": "~", "update": "~", "nothing": "="}
    reload = " (HAProxy reloads once)" if change.reloads else ""
    what = {"create": "is new", "release": f"gets release {change.release}", "update": "is updated", "nothing": "stays"}
    return [f"{marks[change.kind]} {change.service} {what[change.kind]}{reload}", *(f"    {r}" for r in change.reasons)]
