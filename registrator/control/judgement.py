"""Whether a release does worse than the one beside it in the same window, as load balancers count it. Pure.

Few requests have to be enough, and chance must not be. So it is asked how likely it would be to see so many failures,
if the new release failed as often as the old one: one test, for failures, for slow answers and for requests that pile
up. It is asked again at each look, so the likelihood that counts as impossible is small.
"""

from __future__ import annotations

import math

from registrator.model.usage import Figures, percentile_ms, slower

IMPOSSIBLE = 1e-5
UNLIKELY = 1e-2
RARE = 1e-3  # where every release is asked about, and not only those that are to be tried
FAILS_ANYWAY = 0.001  # of requests: a release that fails no more is not judged for it
SLOW_ANYWAY = 0.01  # what is above the 99th percentile, by its meaning
SLOW_FACTOR, SLOW_MORE_MS = 2.0, 25.0  # slow is what takes longer than the old p99 by both
LEAST_SLOW = 20  # the first answers of a fresh process are slow
LEAST_PILED = 3
MANY = 1_000_000  # clients, of whom each has a request under way or not
BUDGET = 0.001  # of all requests of the service: so many may be harmed
BUDGET_LEAST = 2  # one failure can be anybody's
MORE = 2.0  # times as often as before: another hour and other requests are no worse release


def fault(old: Figures, new: Figures) -> str:
    """What is wrong with the new release; "" if nothing is certain."""
    return _failing(old, new) or _slow(old, new)


def overspent(old: Figures, new: Figures) -> str:
    """Whether it harmed more of the service's requests than it may, by the figures since the canary began."""
    return _overspent(old, new, old.requests + new.requests, UNLIKELY)


def failing(before: Figures, beside: Figures, new: Figures) -> str:
    """What is wrong with the answers of a release that took over, as the old one did `before` and `beside` it: more
    failures than twice as often, for certain, or more than the budget; "" if nothing is."""
    old = _usual(before, beside, _failing(before, beside))
    return _failing(old, new, MORE) or _overspent(old, new, beside.requests + new.requests, RARE, MORE)


def slow(before: Figures, beside: Figures, new: Figures) -> str:
    """Whether a release that took over is slower than the old one was `before` and `beside` it; "" if not."""
    return _slow(_usual(before, beside, _slow(before, beside)), new)


def stuck(old: int, new: int, answered: int) -> str:
    """Whether requests wait at a release that took over: `new` right now, where `old` did before, and it has `answered`
    fewer. Of a release that hangs, nothing else tells for a minute. Twice as many would be usual, and one more: it is
    not known how many the old one had a moment earlier."""
    usual = 2 * (old + 1)
    if new > answered and tail(new, MANY, usual / MANY) < IMPOSSIBLE:
        return f"requests pile up: it has {new} under way and has answered {answered}; the old release had {old}"
    return ""


def piling(old: int, new: int, share: float) -> str:
    """Whether requests wait at the new release: `old` and `new` are those that each has right now.

    A release that hangs answers nothing, so nothing else would tell of it for a minute.
    """
    twice = 2 * share / (1 + share)
    if new >= LEAST_PILED and tail(new, old + new, twice) < IMPOSSIBLE:
        return f"requests pile up: it has {new} under way at {share * 100:.3g} % of them, the old release {old}"
    return ""


def tail(least: int, of: int, chance: float) -> float:
    """The likelihood of `least` or more among `of` tries that each come true by `chance`. Only its order matters where
    it is above one half."""
    if least <= of * chance or least == 0:
        return 1.0
    if chance <= 0.0 or least > of:
        return 0.0
    term = math.exp(
        math.lgamma(of + 1)
        - math.lgamma(least + 1)
        - math.lgamma(of - least + 1)
        + least * math.log(chance)
        + (of - least) * math.log1p(-chance)
    )
    total = 0.0
    for k in range(least, of + 1):
        total += term
        if term <= total * 1e-9:
            break
        term *= (of - k) / (k + 1) * chance / (1 - chance)
    return min(total, 1.0)


def _usual(before: Figures, beside: Figures, worse: str) -> Figures:
    """What may be expected: all that is known of the old release; of one that does worse now, only how it does now."""
    return beside if worse else before + beside


def _overspent(old: Figures, new: Figures, requests: int, likelihood: float, factor: float = 1.0) -> str:
    spent = new.failed > max(BUDGET_LEAST, BUDGET * requests)
    if spent and _worse(new.failed, new.requests, old.failed, old.requests, FAILS_ANYWAY, likelihood, factor):
        return f"the failure budget is spent: it failed {new.failed} of all {requests} requests"
    return ""


def _failing(old: Figures, new: Figures, factor: float = 1.0) -> str:
    if not _worse(new.failed, new.requests, old.failed, old.requests, FAILS_ANYWAY, IMPOSSIBLE, factor):
        return ""
    return f"{new.failed} of {new.requests} requests failed; of the old release {old.failed} of {old.requests}"


def _slow(old: Figures, new: Figures) -> str:
    p99_ms = percentile_ms(old.latency, 99)
    slow_ms = max(p99_ms * SLOW_FACTOR, p99_ms + SLOW_MORE_MS)
    slow, of = slower(new.latency, slow_ms), sum(new.latency.values())
    before, before_of = slower(old.latency, slow_ms), sum(old.latency.values())
    if slow < LEAST_SLOW or not before_of or not _worse(slow, of, before, before_of, SLOW_ANYWAY, IMPOSSIBLE):
        return ""
    new_p99_ms = percentile_ms(new.latency, 99)
    return f"p99 is {new_p99_ms:g} ms, that of the old release {p99_ms:g} ms ({slow} of {of} took over {slow_ms:g} ms)"


def _worse(bad: int, of: int, old_bad: int, old_of: int, anyway: float, likelihood: float, factor: float = 1.0) -> bool:
    """Whether so many bad ones can't be, were the new one like the old one, or `factor` times as bad. Of few old
    requests, little is known."""
    usual = max(anyway, factor * (old_bad + 1) / (old_of + 1))
    return usual < 1 and tail(bad, of, usual) < likelihood
