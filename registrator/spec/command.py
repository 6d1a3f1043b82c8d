"""Commands: a list of words, or a text that is split as a shell would, without any shell running."""

from __future__ import annotations

import shlex

from registrator.spec.field import Field


def words_of(place: Field) -> tuple[str, ...] | None:
    """The words; None where there is no command (the image's counts), () where it is taken away."""
    if place.value is None:
        return None
    if isinstance(place.value, list):
        return tuple(item.text() for item in place.items())
    try:
        return tuple(shlex.split(place.text()))
    except ValueError as err:
        place.fault(f"can't be split into words: {str(err).lower()}")
        return None
