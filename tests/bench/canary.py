"""Canaries under load: what share each step really gives, and what a bad release costs. `python tests/bench/canary.py`.

Real etcd, control, two HAProxys and confd-py with the shipped templates; instances are small web servers in this
process. All share the cores of this machine, so rates are low; shares and counts of requests do not depend on that.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from registrator.model.canary import Step
from registrator.model.service import Update
from tests.integration.registrator.fleet import Fleet, fleet

_STEPS = (1, 2, 5, 10, 25, 50)
_STEP_S = 5.0


def _update(*weights: int, for_s: float = _STEP_S) -> Update:
    return Update(parallelism=0, monitor_s=0.2, canary=tuple(Step(w, for_s) for w in weights), deadline_s=30.0)


async def _shares(folder: Path, replicas: int, rate: float) -> None:
    print(f"\n{replicas} replicas, {rate:g} requests/s through two load balancers: wanted and measured share, %")
    async with fleet(folder) as here:
        await here.deploy(1, replicas, _update(*_STEPS))
        await here.until_ended(1, 20.0)
        async with here.load(rate):
            await here.deploy(2, replicas, _update(*_STEPS))
            for number, weight in enumerate(_STEPS):
                await here.until(partial(_open, here, number), 60.0, f"step {number}")
                before = here.hits
                await asyncio.sleep(_STEP_S - 1.0)
                _print_share(here, weight, before)
            await here.until_ended(2, 60.0)
        print(f"then {here.rollout.state}; {len(here.failures)} of {here.sent} requests failed")


def _print_share(here: Fleet, weight: int, before: dict[str, int]) -> None:
    new = set(map(str, here.instances(2)))
    got = {name: count - before.get(name, 0) for name, count in here.hits.items()}
    whole, share = sum(got.values()), 100 * sum(got[name] for name in got if name in new) / sum(got.values())
    print(f"  {weight:3d}  {share:7.3f}   {share - weight:+.3f}   {len(new)} instances, {whole} requests", flush=True)


def _open(here: Fleet, number: int) -> bool:
    trial = here.rollout.trial
    return trial is not None and trial.step == number and trial.open_since > 0


async def _harm(folder: Path, replicas: int, rate: float, how: str) -> None:
    async with fleet(folder) as here:

        def behave(order: object) -> None:
            if getattr(order, "release", 0) == 2:
                name = str(getattr(order, "instance", ""))
                here.web.failing.add(name) if how == "fails" else here.web.delay_s.update({name: 0.15})

        here.behave = behave
        await here.deploy(1, replicas, _update(1, 25))
        await here.until_ended(1, 20.0)
        async with here.load(rate):
            begun = time.monotonic()
            await here.deploy(2, replicas, _update(1, 25))
            await here.until_ended(2, 60.0)
            took_s = time.monotonic() - begun
        harmed, per_mille = len(here.failures), 1000 * len(here.failures) / here.sent
        print(
            f"  {replicas:3d} {rate:6g}/s  {how:6s} {here.rollout.state} in {took_s:4.1f} s;"
            f" failed {harmed} of {here.sent} ({per_mille:.2f} in 1,000)\n      {here.rollout.reason}",
            flush=True,
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rate", type=float, default=800.0, help="requests a second, together")
    rate = parser.parse_args().rate
    with tempfile.TemporaryDirectory(prefix="hecd-bench-") as folder:
        for replicas in (1, 4, 10):
            asyncio.run(_shares(Path(folder, f"shares{replicas}"), replicas, rate))
        print("\na release that is bad from the start")
        for replicas, at, how in ((1, rate, "fails"), (4, rate, "fails"), (10, rate / 4, "fails"), (4, rate, "slow")):
            asyncio.run(_harm(Path(folder, f"{how}{replicas}"), replicas, at, how))


if __name__ == "__main__":
    main()
