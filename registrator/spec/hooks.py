"""What a release runs once, before and after it: x-hecd.hooks."""

from __future__ import annotations

from collections.abc import Mapping

from registrator.model.hook import POST_DEPLOY, PRE_DEPLOY, Hook, Hooks
from registrator.spec.command import words_of
from registrator.spec.environment import variables_in
from registrator.spec.field import Field


def hooks_of(place: Field, variables: Mapping[str, str]) -> Hooks:
    """The hooks at `place`; what is wrong in them stands in the findings."""
    return Hooks(_hook(place[PRE_DEPLOY], variables), _hook(place[POST_DEPLOY], variables))


def _hook(place: Field, variables: Mapping[str, str]) -> Hook | None:
    if place.value is None or place["command"].value is None:
        return None  # where a command is missing, the schema has said it
    command = words_of(place["command"])
    if not command or not command[0]:
        place["command"].fault("is an empty command")
        return None
    return Hook(
        command,
        timeout_s=place["timeout"].duration_s(300.0, least_s=1.0),
        entrypoint=words_of(place["entrypoint"]),
        environment=variables_in(place["environment"], variables),
    )
