"""Chaos on a lab: hosts and programs are killed, frozen, cut off and slowed down, and healed, while releases go on.

    python -m tests.bench.chaos --seed 7 --minutes 10

Prints the schedule, which the seed decides, what happened, and a verdict for everything that must hold after it;
tests/fleet/chaos.py says which failed requests count as lost. Needs root and what install.sh installs.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.fleet.chaos import Chaos, schedule
from tests.fleet.conftest import Fleet, rooted


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    happenings = schedule(options.seed, options.minutes * 60)
    print(f"seed {options.seed}, {options.minutes:g} minutes")
    for happening in happenings:
        print(happening)
    with rooted() as here:
        fleet = Fleet(here.root)
        fleet.up("5", "--edges", "2", "--etcd", "3")
        try:
            fleet.deploy()
            begun = time.monotonic()
            chaos = Chaos(fleet, happenings, lambda text: print(f"{time.monotonic() - begun:6.1f} {text}", flush=True))
            fleet.settle()
            chaos.run()
            return tell(chaos)
        finally:
            if fleet.watcher is not None:
                fleet.watcher.close()


def tell(chaos: Chaos) -> int:
    """Print the verdicts; 1 if one is bad."""
    sent = sum(report["sent"] for report in chaos.reports.values())
    print(f"{len(chaos.hits)} faults, {sent} requests")
    bad = 0
    for what, faults in chaos.verdicts():
        print(f"{'ok    ' if not faults else 'FAILED'} {what}")
        for fault in faults[:20]:
            print(f"       {fault}")
        bad |= bool(faults)
    return bad


if __name__ == "__main__":
    sys.exit(main())
