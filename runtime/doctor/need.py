"""One thing that a host has to have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """`fine`: it is there. What is not `vital` costs a feature only. `hint` says what to do where it is not fine."""

    what: str
    fine: bool
    hint: str = ""
    vital: bool = True
