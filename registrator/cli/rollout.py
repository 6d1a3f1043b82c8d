"""hecd rollout status, pause, resume, promote, abort."""

from __future__ import annotations

import time

import click

from registrator.cli import session
from registrator.cli.deploy import raise_failures, tell_of_hooks
from registrator.errors import HecdError, NotFound
from registrator.model.names import ServiceName
from registrator.model.rollout import ENDED, Rollout
from registrator.orders import follow, give, hooks
from registrator.registry.store import Store
from registrator.registry.world import World

OBEYED_WITHIN_S = 15.0  # a leader that was killed is followed by another one sooner

_service = click.argument("service", required=False)
_detach = click.option("-d", "--detach", is_flag=True, help="Do not wait until it has ended.")


@click.group()
def rollout() -> None:
    """A release under way. SERVICE may be left away where there is only one.

    \b
    hecd rollout status -f web
    hecd rollout pause web -m "looking at the errors"
    hecd rollout abort web
    """


@rollout.command()
@_service
@click.option("-f", "--follow", "follows", is_flag=True, help="Show each step until it has ended; code 5 if it failed.")
@session.output_option
@click.pass_context
def status(ctx: click.Context, service: str | None, follows: bool, output: str) -> None:
    """Tell how far the release of SERVICE is."""
    session.run(_status(ctx, service, follows, output))


async def _status(ctx: click.Context, service: str | None, follows: bool, output: str) -> None:
    async with session.registry(ctx) as (store, world):
        name = give.chosen(world, service).service
        if follows:
            world = await follow.until(
                store, lambda w: _over(w, name), None, "the rollout", watch=name, show=session.show
            )
    found = world.rollouts.get(name)
    now = follow.standing(world, name)
    if found is None or now is None:
        raise NotFound(f"no rollout of {name} has begun", hint="`hecd status` tells what is missing.")
    since = session.age(time.time() - found.started_at)
    lines = [now.line(), f"  began {since} ago; release {found.stable or 'none'} is the stable one"]
    lines += [f"  {line}" for line in hooks.lines(world, found)]
    lines += [f"  {found.reason}"] if found.reason else []
    session.print_object({**session.plain(found), "standing": session.plain(now)}, output, lines)
    if follows:
        tell_of_hooks({name: found})
        raise_failures({name: found})


def _over(world: World, name: ServiceName) -> bool:
    service, found = world.services.get(name), world.rollouts.get(name)
    return service is None or (found is not None and found.release == service.release and found.over)


@rollout.command()
@_service
@session.message_option
@click.pass_context
def pause(ctx: click.Context, service: str | None, message: str) -> None:
    """Hold the release where it is: no step is made and its deadline stands still, until `resume`.

    What serves goes on serving, of both releases; an instance that dies is replaced by one of the stable release.
    """
    session.run(_steer(ctx, service, "pause", message, None))


@rollout.command()
@_service
@session.message_option
@click.pass_context
def resume(ctx: click.Context, service: str | None, message: str) -> None:
    """Go on with a release that is held, or that failed and waits for a person (failure_action: pause)."""
    session.run(_steer(ctx, service, "resume", message, None))


@rollout.command()
@_service
@session.message_option
@_detach
@click.pass_context
def promote(ctx: click.Context, service: str | None, message: str, detach: bool) -> None:
    """Finish the release now: no canary, no delays, all at once (start-first), no window in which failures count.

    Old instances still go only after the new ones serve on every load balancer.
    """
    session.run(_steer(ctx, service, "promote", message, None if detach else "done"))


@rollout.command()
@_service
@session.message_option
@_detach
@click.pass_context
def abort(ctx: click.Context, service: str | None, message: str, detach: bool) -> None:
    """Give the release up and go back to the stable one. A first release is left as it is."""
    session.run(_steer(ctx, service, "abort", message, None if detach else "rolled-back"))


async def _steer(ctx: click.Context, service: str | None, order: str, message: str, end: str | None) -> None:
    """Give the order, and wait until the leader obeyed; then until the rollout reached the state `end`, if any."""
    async with session.registry(ctx) as (store, world):
        name = give.chosen(world, service).service
        wish = await give.steer(store, world, name, order, message, now=time.time(), who=session.who())
        found, revision = await _obeyed(store, name, wish.at)
        if found.release == wish.release and found.state not in ENDED and end is not None:
            found = (await follow.releases(store, {name: wish.release}, after=revision, show=session.show))[name]
    if found.state in ENDED and found.state != end:
        raise_failures({name: found})
        raise HecdError(f"it was too late to {order}: release {found.release} of {name} is {found.state}")
    click.echo(f"{name}: release {found.release} {found.state}" + (f", {found.reason}" if found.reason else ""))


async def _obeyed(store: Store, name: ServiceName, at: float) -> tuple[Rollout, int]:
    def heard(world: World) -> bool:
        return name in world.rollouts and world.rollouts[name].obeyed == at

    try:
        world = await follow.until(store, heard, OBEYED_WITHIN_S, "obeying", watch=name)
    except HecdError as err:
        hint = "It is obeyed as soon as one leads: `hecd control` or `hecd up`."
        raise HecdError("no control loop has obeyed yet", details=err.details, hint=hint) from err
    return world.rollouts[name], world.revision
