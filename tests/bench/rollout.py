"""Releases in a row under load: what every request met, and how long each release took.

    python tests/bench/rollout.py --releases 20

Raw HTTP clients without retries: 64 keep-alive connections and new ones, every third request a POST. One machine:
HAProxy, etcd, agents, containers and the clients share its cores. Needs root and what install.sh installs.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from registrator.demo.run import Demo, Load


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=20)
    parser.add_argument("--kept-rate", type=float, default=500)
    parser.add_argument("--fresh-rate", type=float, default=200)
    args = parser.parse_args()
    load = Load(kept_rate=args.kept_rate, fresh_rate=args.fresh_rate)
    story = Demo(lambda line: print(line, file=sys.stderr), load, args.releases).run(lambda _: None)
    report, inside = story.report, len(story.inside_killed())
    took = [step.seconds for step in story.steps if step.name.startswith("release")]
    print(f"releases            {len(took)}: median {statistics.median(took):.2f} s, longest {max(took):.2f} s")
    print(f"requests            {report['sent']}, {report['by_way']}")
    print(
        f"failed              {report['failed'] - inside} (and {inside} POSTs inside the one container killed by force)"
    )
    p50, p99, longest = report["p50_ms"], report["p99_ms"], report["max_ms"]
    print(f"latency             p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {longest:.0f} ms")
    print(f"reloads of HAProxy  {story.reloaded}")
    for step in story.steps:
        print(f"  {step.name:24} {step.seconds:6.2f} s  {step.remark}")
    for failure in report["failures"][:20]:
        print(f"  failed: {failure}")
    return 1 if report["failed"] > inside else 0


if __name__ == "__main__":
    sys.exit(main())
