"""How far the hooks of a release are, in words. Pure."""

from __future__ import annotations

from registrator.errors import NotFound
from registrator.model.hook import HOOKS, Passage, Run
from registrator.model.names import ServiceName
from registrator.model.rollout import Rollout
from registrator.registry.world import World


def under_way(world: World, rollout: Rollout) -> str:
    """The hook that is waited for, `pre_deploy running on n2`; "" where none is."""
    name = rollout.hook
    return _line(world, name, rollout.hooks.get(name, Passage())) if name else ""


def lines(world: World, rollout: Rollout) -> list[str]:
    """One for each hook, but for those that will not run: post_deploy of a release that is not done."""
    failed = rollout.state in ("rolling-back", "rolled-back", "paused")
    hooks = {name: passage for name, passage in rollout.hooks.items() if not (failed and passage.state == "waiting")}
    return [_line(world, name, hooks[name]) for name in HOOKS if name in hooks]


def last_run(world: World, service: ServiceName, hook: str) -> Run:
    """The newest run of that hook. Raises NotFound."""
    found = [run for run in world.runs_of(service).values() if run.hook == hook]
    if not found:
        hint = "x-hecd.hooks in the compose file says what is run; `hecd history` what came of it."
        raise NotFound(f"no {hook} of {service} has run of late", hint=hint)
    return max(found, key=lambda run: run.ordered_at)


def _line(world: World, name: str, passage: Passage) -> str:
    result = world.results.get(passage.run)
    state = result.state if result and passage.state == "ordered" else passage.state
    where = f" on {passage.node}" if passage.node else ""
    return f"{name} {state}{where}" + (f": {passage.reason}" if passage.reason else "")
