"""Whether a file has the shape that hecd serves: the schema's faults, in words that help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from registrator.spec.compose_keys import COMPOSE_KEYS, INSTEAD
from registrator.spec.fault import Path, shown

_KINDS = {dict: "a mapping", list: "a list", type(None): "empty"}


def faults_of(value: Any) -> Iterator[tuple[Path, str]]:
    """Every place where `value` differs from the schema, and how."""
    for error in _validator().iter_errors(value):
        path = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            for key in sorted(set(error.instance) - set(error.schema["properties"])):
                if not (key.startswith("x-") and "patternProperties" in error.schema):
                    yield (*path, key), _about_key(key, error.schema)
        elif error.validator == "required":
            missing = error.message.split("'")[1]  # one error comes for each missing key
            yield (*path, missing), "is required"
        else:
            yield path, f"must be {_wanted(error)}; is {_kind(error.instance)}"


def _about_key(key: str, schema: dict[str, Any]) -> str:
    section, served = schema["section"], list(schema["properties"])
    compose = COMPOSE_KEYS.get(section, ())
    instead = INSTEAD.get((section, key))
    if key in compose:
        return "is a key of Compose that hecd does not serve" + (f": {instead}" if instead else "")
    if instead:
        return f"is no key of x-hecd: {instead}"
    close = get_close_matches(key.lower().replace("-", "_"), [*served, *compose], 1, 0.7)
    close = close or get_close_matches(key.lower(), served, 1, 0.7)
    if close:
        return f"is not known; misspelt? Did you mean {close[0]}?"
    owner = "of x-hecd" if section.startswith("x-hecd") else "of Compose"
    return f"is not a key {owner} here; known: {', '.join(served)}"


def _wanted(error: Any) -> str:
    return str(error.schema.get("description", "something else"))


def _kind(value: Any) -> str:
    if value in ({}, []):
        return f"{_KINDS[type(value)]} without anything in it"
    return _KINDS.get(type(value)) or shown(value)


@cache
def _validator() -> Any:
    from jsonschema import Draft7Validator  # late: it takes longer to import than most commands take

    schema = json.loads(FilePath(__file__).with_name("compose.schema.json").read_text())
    return Draft7Validator(schema)
