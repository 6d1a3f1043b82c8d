"""Weights of servers by which a release gets a given share of the requests. Pure.

HAProxy's weights are whole numbers to 256. A server's share is its weight among all of its backend, so both releases'
weights are chosen together, by how many instances each has.
"""

from __future__ import annotations

from functools import lru_cache

from registrator.model.instance import USUAL_WEIGHT

MOST = 256
NEAR_ENOUGH = 0.0005


@lru_cache(maxsize=1000)
def weights(old: int, new: int, share: float) -> tuple[int, int]:
    """Of each server of `old` and of `new` instances, so that the new ones together get `share` (0..1) of the requests.

    What is served already keeps its usual weight where that comes near enough. Where no pair does, it is the nearest.
    """
    if not old or not new:
        return USUAL_WEIGHT, USUAL_WEIGHT
    usual = _pair(old, new, share, USUAL_WEIGHT)
    if _miss(old, new, share, usual) <= NEAR_ENOUGH:
        return usual
    pairs = (_pair(old, new, share, weight) for weight in range(MOST, 0, -1))
    return min(pairs, key=lambda pair: _miss(old, new, share, pair))


def share_of(old: int, new: int, pair: tuple[int, int]) -> float:
    """The share that these weights give the new ones."""
    whole = old * pair[0] + new * pair[1]
    return new * pair[1] / whole if whole else 0.0


def _pair(old: int, new: int, share: float, old_weight: int) -> tuple[int, int]:
    exact = old_weight * old * share / ((1 - share) * new)
    return old_weight, min(max(round(exact), 1), MOST)


def _miss(old: int, new: int, share: float, pair: tuple[int, int]) -> float:
    return abs(share_of(old, new, pair) - share)
