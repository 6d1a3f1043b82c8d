"""Releases in a row on a lab of five hosts and two load balancers under load, and then failures, one at a time.

    python -m tests.bench.fleet --releases 50 --replicas 20 --rate 1000 --etcd-away 120

Keep-alive and new connections, every third request a POST, through both load balancers. Each release's time is held
against waves x (start + first good check + drain), of which each is the median of what its instances took. A failed
request is lost where the fault did not cut it itself: see tests/fleet/chaos.py. All share this machine's cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from registrator.model.names import InstanceName
from tests.bench import lean
from tests.fleet.chaos import Fault, Hit
from tests.fleet.conftest import WEB, Fleet, failures, rooted


@dataclass
class Stages:
    """When each instance was assigned, said to serve, was served by all load balancers, was to drain, and was gone."""

    fleet: Fleet
    seen: dict[InstanceName, dict[str, float]] = field(default_factory=dict)
    _ends: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watched(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._ends.set()
            thread.join()

    def median_s(self, first: str, then: str) -> float:
        """Seconds between two stages."""
        took = [at[then] - at[first] for at in self.seen.values() if first in at and then in at]
        return statistics.median(took) if took else 0.0

    def _watch(self) -> None:
        while not self._ends.wait(0.02):
            now, world = time.monotonic(), self.fleet.world
            orders = {a.instance: a for a in world.assigned(WEB)}
            up = [{n for n, r in e.servers.get("web.8080", {}).items() if r.open} for e in world.edges.values()]
            serving = self.fleet.serving()
            for name, order in orders.items():
                at = self.seen.setdefault(name, {})
                self._note(at, "assigned", now, True)
                self._note(at, "serving", now, name in serving)
                self._note(at, "up", now, bool(up) and all(name in names for names in up))
                self._note(at, "drain", now, order.drain)
            for name in self.seen.keys() - orders.keys():
                self._note(self.seen[name], "gone", now, True)

    def _note(self, at: dict[str, float], stage: str, now: float, reached: bool) -> None:
        if reached:
            at.setdefault(stage, now)


def releases(fleet: Fleet, options: argparse.Namespace) -> bool:
    stages, took = Stages(fleet), []
    begun = time.monotonic()
    with stages.watched(), load(fleet, options) as reports:
        for _ in range(options.releases):
            at = time.monotonic()
            fleet.deploy()
            took.append(time.monotonic() - at)
        seconds = time.monotonic() - begun
    start, check = stages.median_s("assigned", "serving"), stages.median_s("serving", "up")
    drain, waves = stages.median_s("drain", "gone"), -(-options.replicas // options.parallelism)
    failed: int = sum(r["failed"] for r in reports.values())
    sent: int = sum(r["sent"] for r in reports.values())
    print(f"releases   {len(took)} of {options.replicas} replicas, {options.parallelism} at once")
    print(f"requests   {sent}, {sent / seconds:.0f} a second of {options.rate} wanted; failed {failed}")
    for name, report in reports.items():
        print(f"latency    through {name}: p50 {report['p50_ms']:.0f} ms, p99 {report['p99_ms']:.0f} ms")
    whole = waves * (start + check + drain)
    print(f"a release  median {statistics.median(took):.2f} s, longest {max(took):.2f} s; for 1 s of it, it is watched")
    print(
        f"           {waves} waves x ({start:.2f} start + {check:.2f} first check + {drain:.2f} drain) = {whole:.2f} s"
    )
    for failure in failures(reports)[:10]:
        print(f"  failed: {failure}")
    return failed == 0


def load(fleet: Fleet, options: argparse.Namespace) -> Any:
    """Four fifths of the requests over kept connections, each one a second, and half of all through each edge."""
    kept = int(options.rate * 0.4)
    return fleet.load(kept_rate=kept, fresh_rate=int(options.rate * 0.1), kept=kept)


def bring_lean(fleet: Fleet) -> None:
    """An app in the sample's place that costs little: what is measured is not the app."""
    for number in (1, 2):
        layout = fleet.root / "lean" / str(number)
        lean.build(layout, number)
        done = fleet.lab("image", str(layout))
        assert done.code == 0, done.err


@dataclass
class Failing:
    """One failure: what befalls whom, until when it is counted, and how long it took to be made good."""

    fleet: Fleet
    options: argparse.Namespace
    hit: Hit | None = None

    def tell(self, what: str, kind: str, program: str, host: str, run: Callable[[], float]) -> bool:
        """Let it happen under load and print it; whether no request was lost. `run` gives the seconds it took."""
        self.fleet.settle()
        victims = {str(i.instance) for i in self.fleet.world.of_service(WEB) if host in ("", i.node)}
        with load(self.fleet, self.options) as reports:
            self.hit = hit = Hit(Fault(0.0, 0.0, kind, program, host), host, time.time(), 0.0, victims)
            took_s = run()
            self.fleet.settle()
            hit.healed_at = time.time()
        failed = failures(reports)
        lost = [f for f in failed if not hit.cut(f)]
        sent = sum(report["sent"] for report in reports.values())
        print(
            f"{what:28} made good in {took_s:6.2f} s; {len(failed):4} of {sent} failed, {len(lost)} of them lost",
            flush=True,
        )
        for failure in lost[:5]:
            print(f"  lost: {failure}")
        return not lost

    def do(self, *words: str) -> None:
        done = self.fleet.lab(*words)
        assert done.code == 0, done.err
        if words[0] != "heal" and self.hit is not None:
            self.hit.done_at = time.time()

    def until(self, good: Callable[[], object], within_s: float, what: str) -> float:
        return self.fleet.until(good, within_s, what)

    def worker(self, host: str) -> float:
        victims = self.fleet.serving(host)
        self.do("kill", host)
        all_back = self.fleet.replicas
        return self.until(lambda: len(self.fleet.serving() - victims) == all_back, 30.0, "all replicas are back")

    def edge(self, host: str) -> float:
        self.do("kill", host)
        time.sleep(3.0)
        self.do("heal", host)
        return self.until(self.fleet.settled, 40.0, "it serves again")

    def leader(self, host: str, program: str) -> float:
        self.do("kill", host, program)
        other = (lambda: self.fleet.etcd_leader) if program == "etcd" else (lambda: self.fleet.leader)
        return self.until(lambda: _quietly(other) not in ("", host), 20.0, "another one leads")

    def agent(self, host: str) -> float:
        self.do("kill", host, "agent")
        time.sleep(3.0)
        self.do("heal", host)
        return self.until(self.fleet.settled, 30.0, "it has found its containers")

    def etcd_away(self, seconds: float) -> float:
        for host in ("h1", "h2", "h3"):
            self.do("kill", host, "etcd")
        time.sleep(seconds)
        before = self.fleet.world.revision
        self.do("heal")
        return self.until(
            lambda: self.fleet.world.revision > before and self.fleet.settled(), 60.0, "all is known again"
        )

    def half(self, leader: str, seconds: float) -> float:
        """The smaller half has the leader and an edge; both serve what they have."""
        large = ",".join(host for host in self.fleet.hosts if host not in (leader, "h5"))
        for host in (leader, "h5"):
            self.do("cut", host, "--from", large)
        time.sleep(seconds)
        self.do("heal")
        return self.until(self.fleet.settled, 60.0, "there is one truth")


def _quietly(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except (AssertionError, ValueError, IndexError):
        return ""  # nobody leads, or the member that is asked is the dead one


def one_at_a_time(fleet: Fleet, options: argparse.Namespace) -> bool:
    it = Failing(fleet, options)
    spare = next(h for h in ("h1", "h2", "h3") if h not in (fleet.leader, fleet.etcd_leader))
    good = it.tell(f"worker {spare} killed", "kill", "", spare, lambda: it.worker(spare))
    good &= it.tell("load balancer h5 killed", "kill", "", "h5", lambda: it.edge("h5"))
    first = fleet.etcd_leader
    good &= it.tell(f"etcd's leader {first} killed", "kill", "etcd", first, lambda: it.leader(first, "etcd"))
    leads = fleet.leader
    good &= it.tell(f"control's leader {leads} killed", "kill", "control", leads, lambda: it.leader(leads, "control"))
    good &= it.tell("agent of h1 killed", "kill", "agent", "h1", lambda: it.agent("h1"))
    away_s = options.etcd_away
    good &= it.tell(f"all etcd away {away_s:g} s", "kill", "etcd", "h1", lambda: it.etcd_away(away_s))
    small, cut_s = fleet.leader, options.cut
    return good & it.tell(f"{small} and h5 cut off {cut_s:g} s", "cut", "", "", lambda: it.half(small, cut_s))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, default=50)
    parser.add_argument("--replicas", type=int, default=20)
    parser.add_argument("--parallelism", type=int, default=5, help="replicas that are replaced at once")
    parser.add_argument("--rate", type=int, default=1000, help="requests a second, in all")
    parser.add_argument("--etcd-away", type=float, default=120.0, help="seconds without any member of etcd")
    parser.add_argument("--cut", type=float, default=30.0, help="seconds for which two hosts are cut off from the rest")
    parser.add_argument("--no-failures", action="store_true", help="releases only")
    options = parser.parse_args()
    with rooted() as here:
        fleet = Fleet(here.root, replicas=options.replicas, parallelism=options.parallelism)
        fleet.up("5", "--edges", "2", "--etcd", "3")
        try:
            bring_lean(fleet)
            fleet.deploy()
            fleet.settle()
            good = releases(fleet, options)
            return 0 if (options.no_failures or one_at_a_time(fleet, options)) and good else 1
        finally:
            if fleet.watcher is not None:
                fleet.watcher.close()


if __name__ == "__main__":
    sys.exit(main())
