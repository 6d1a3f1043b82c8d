"""Chaos: a schedule of faults and orders from a seed, its run on a lab under load, and what must hold after it.

The rule of accounting: a request may fail only if a fault itself cut it, which is
- one through a load balancer whose host or HAProxy was hit, from the fault until it serves again after it was healed;
- one to an instance on a host that was hit, or to one that nobody can name, which was under way then or was sent within
  two seconds: by then all load balancers have to know, on a machine that is this busy. Of a host that was switched off
  only a POST, as that can't be repeated;
- one to an instance on a host whose cable is slow.
Agents, control, confd-py and members of etcd cut nothing, however they end. Every other failure is a lost request.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registrator.agent.drivers.runtime import traces
from registrator.lab import power, processes
from registrator.lab.plan import Host, Lab, read
from registrator.lab.programs import names
from tests.fleet.conftest import WEB, Fleet, failures

RIGHT_WITHIN_S = 2.0
BACK_WITHIN_S = 6.0  # until a load balancer that was healed serves
REST_S = 4.0  # after a fault was healed, before its host or another of its kind is hit
CONTROL_LEADER, ETCD_LEADER = "the leader of control", "the leader of etcd"
ETCD, EDGES, HOSTS = ("h1", "h2", "h3"), ("h4", "h5"), ("h1", "h2", "h3", "h4", "h5")

# kind, program ("" is the host), whom it may hit
FAULTS = (
    ("kill", "", HOSTS), ("freeze", "", HOSTS), ("cut", "", HOSTS), ("slow", "", HOSTS),
    ("kill", "agent", HOSTS), ("freeze", "agent", HOSTS),
    ("kill", "control", (CONTROL_LEADER,)), ("freeze", "control", (CONTROL_LEADER,)),
    ("kill", "etcd", (*ETCD, ETCD_LEADER)), ("freeze", "etcd", (*ETCD, ETCD_LEADER)),
    ("kill", "haproxy", EDGES), ("kill", "confd-py", EDGES), ("freeze", "confd-py", EDGES),
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """What is to befall whom, `at_s` seconds after the beginning, for how long."""

    at_s: float
    for_s: float
    kind: str
    program: str
    host: str

    def __str__(self) -> str:
        what = f"{self.kind} {self.program or 'host'}"
        return f"{self.at_s:6.1f} s  {what:16} {self.host}, healed after {self.for_s:.1f} s"

    @property
    def hits(self) -> set[str]:
        """Kinds of things of which only one may be hit at a time: most members of etcd and one edge are to be left."""
        found = {self.host}
        if self.host in (*ETCD, CONTROL_LEADER, ETCD_LEADER):
            found.add("etcd")
        return found | ({"edge"} if self.host in EDGES else set())


@dataclass(frozen=True)
class Order:
    """What an operator does meanwhile."""

    at_s: float
    what: str  # deploy, scale, rollback
    replicas: int = 0

    def __str__(self) -> str:
        return f"{self.at_s:6.1f} s  {self.what} {self.replicas or ''}"


def schedule(seed: int, seconds: float) -> list[Fault | Order]:
    """What happens, in order; the same for the same seed."""
    dice, found = random.Random(seed), list[Fault | Order]()
    busy: dict[str, float] = {}  # until then
    at_s = 1.0
    while at_s < seconds:
        kind, program, whom = dice.choice(FAULTS)
        fault = Fault(at_s, dice.uniform(1.0, 9.0), kind, program, dice.choice(whom))
        if all(busy.get(hit, 0.0) <= at_s for hit in fault.hits) and at_s + fault.for_s <= seconds:
            found.append(fault)
            busy |= dict.fromkeys(fault.hits, at_s + fault.for_s + REST_S)
        at_s += dice.uniform(0.5, 4.0)
    at_s = 2.0
    while at_s < seconds:
        what = dice.choice(("deploy", "deploy", "scale", "rollback"))
        found.append(Order(at_s, what, dice.randint(7, 12) if what == "scale" else 0))
        at_s += dice.uniform(5.0, 12.0)
    return sorted(found, key=lambda happening: happening.at_s)


@dataclass
class Hit:
    """A fault that befell a host. Times are seconds since the epoch."""

    fault: Fault
    host: str
    begun_at: float
    done_at: float
    victims: set[str]
    healed_at: float = float("inf")

    def cut(self, failure: dict[str, Any]) -> bool:
        """Whether the fault itself cut the request: see above."""
        kind, program = self.fault.kind, self.fault.program
        if program not in ("", "haproxy") or failure["ended_at"] < self.begun_at:
            return False
        if failure["edge"] == self.host:
            return bool(failure["sent_at"] <= self.healed_at + BACK_WITHIN_S)
        if program or failure["instance"] not in {"", *self.victims}:
            return False
        if kind == "slow":
            return bool(failure["sent_at"] <= self.healed_at + RIGHT_WITHIN_S)
        if kind == "kill" and failure["method"] != "POST":
            return False
        return bool(failure["sent_at"] <= self.done_at + RIGHT_WITHIN_S)


@dataclass
class Chaos:
    """A run on a lab that serves already."""

    fleet: Fleet
    happenings: list[Fault | Order]
    say: Callable[[str], None]
    hits: list[Hit] = field(default_factory=list)
    where: dict[str, str] = field(default_factory=dict)  # instance -> host, of all that were ever seen
    hung: list[str] = field(default_factory=list)  # orders that did not end
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    began_at: float = field(default_factory=time.time)

    def run(self) -> None:
        """Let it all happen, under load; then heal everything and wait until all is as wanted, and one more release."""
        faults = [h for h in self.happenings if isinstance(h, Fault)]
        orders = [h for h in self.happenings if isinstance(h, Order)]
        with self.fleet.load(kept_rate=60, fresh_rate=20) as self.reports:
            begun = time.monotonic()
            ends = threading.Event()
            threads = [threading.Thread(target=self._faults, args=(faults, begun))]
            threads += [threading.Thread(target=self._orders, args=(orders, begun))]
            threads += [threading.Thread(target=self._look, args=(ends,))]
            for thread in threads:
                thread.start()
            for thread in threads[:2]:
                thread.join()
            self.fleet.settle_whatever(60.0)
            self.fleet.release = self.fleet.world.services[WEB].release
            self.fleet.deploy()
            self.fleet.settle()
            ends.set()
            threads[2].join()

    def _faults(self, faults: list[Fault], begun: float) -> None:
        under_way: list[Hit] = []
        while faults or under_way:
            now_s = time.monotonic() - begun
            for hit in [h for h in under_way if now_s >= h.fault.at_s + h.fault.for_s]:
                under_way.remove(hit)
                self._do("heal", hit.host)
                hit.healed_at = time.time()
            if faults and now_s >= faults[0].at_s:
                under_way += self._hit(faults.pop(0), {h.host for h in under_way})
            time.sleep(0.05)

    def _hit(self, fault: Fault, ill: set[str]) -> list[Hit]:
        leaders = {CONTROL_LEADER: lambda: self.fleet.leader, ETCD_LEADER: lambda: self.fleet.etcd_leader}
        host = leaders.get(fault.host, lambda: fault.host)()
        if not host or host in ill:
            self.say(f"        {fault.kind} {fault.program} is left out: {host or 'nobody'} leads")
            return []
        victims = {name for name, at in self.where.items() if at == host}
        hit = Hit(fault, host, time.time(), 0.0, victims)
        self.hits.append(hit)
        self._do(
            fault.kind, host, *filter(None, [fault.program]), *(["--kbit", "4000"] if fault.kind == "slow" else [])
        )
        hit.done_at = time.time()
        return [hit]

    def _do(self, *words: str) -> None:
        done = self.fleet.lab(*words)
        self.say(f"        {' '.join(words)}{'' if done.code == 0 else f': {done.err.strip()}'}")
        assert done.code == 0, done.err

    def _orders(self, orders: list[Order], begun: float) -> None:
        threads = []
        for order in orders:
            time.sleep(max(0.0, order.at_s - (time.monotonic() - begun)))
            threads.append(threading.Thread(target=self._give, args=(order,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _give(self, order: Order) -> None:
        """Some are refused, as another one is under way; some can't be, while etcd elects a leader."""
        try:
            match order.what:
                case "deploy":
                    done = self.fleet.attempt("--detach")
                case "scale":
                    done = self.fleet.hecd("scale", f"web={order.replicas}")
                case _:
                    done = self.fleet.hecd("rollback", "web")
        except subprocess.TimeoutExpired as hung:
            self.hung.append(f"{order}: not ended after {hung.timeout:g} s")
            return
        self.say(f"        {order.what} {order.replicas or ''} ended with {done.code} {last(done.err)}")

    def _look(self, ends: threading.Event) -> None:
        while not ends.wait(0.1):
            self.where.update({i.instance: i.node for i in self.fleet.world.instances.values()})

    def verdicts(self) -> list[tuple[str, list[str]]]:
        """What was to hold, and what of it does not."""
        lab = read((self.fleet.folder / "lab.json").read_text())
        failed = failures(self.reports)
        lost = [f for f in failed if not any(hit.cut(f) for hit in self.hits)]
        unknown = sum(r["failed"] for r in self.reports.values()) - len(failed)
        within(15.0, lambda: not [*leaks(lab, self.fleet)])
        return [
            (f"no request is lost that no fault cut ({len(failed) - len(lost)} were cut)", [*map(self._told, lost)]),
            ("every order ends", self.hung),
            ("all failures are told of", [f"{unknown} more"] if unknown else []),
            ("wanted is what is seen", list(differences(self.fleet))),
            ("nothing is leaked", list(leaks(lab, self.fleet))),
            ("no address is given twice", list(doubles(lab, self.fleet))),
            ("all programs run", list(missing(lab))),
        ]

    def _told(self, failure: dict[str, Any]) -> str:
        """A failure with seconds since the beginning, and with the faults that were near."""
        sent_s, ended_s = failure["sent_at"] - self.began_at, failure["ended_at"] - self.began_at
        way = f"{failure['method']} through {failure['edge']} to {failure['instance'] or 'nobody'}"
        where = self.where.get(failure["instance"], "?")
        near = [self._span(h) for h in self.hits if h.begun_at <= failure["ended_at"]][-4:]
        return f"{failure['kind']}: {way} on {where}, {sent_s:.2f}-{ended_s:.2f} s; near {near}"

    def _span(self, hit: Hit) -> str:
        begun_s, done_s, healed_s = (at - self.began_at for at in (hit.begun_at, hit.done_at, hit.healed_at))
        return f"{hit.fault.kind} {hit.host} {hit.fault.program} {begun_s:.2f}-{done_s:.2f}, healed {healed_s:.2f}"


def last(text: str) -> str:
    return text.strip().splitlines()[-1][:150] if text.strip() else ""


def within(seconds: float, good: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not good() and time.monotonic() < deadline:
        time.sleep(0.2)


def differences(fleet: Fleet) -> Iterator[str]:
    """Where what is wanted, what is assigned, what agents say and what load balancers serve are not the same."""
    world = fleet.world
    service, rollout = world.services[WEB], world.rollouts[WEB]
    assigned = {a.instance for a in world.assigned(WEB)}
    if rollout.state != "done" or rollout.release != service.release:
        yield f"release {service.release} is wanted, and {rollout.release} is {rollout.state}: {rollout.reason}"
    if len(assigned) != service.replicas:
        yield f"{service.replicas} are wanted, {len(assigned)} assigned"
    if assigned != set(world.part(WEB).instances):
        yield f"assigned {sorted(assigned)}, seen {sorted(world.part(WEB).instances)}"
    if others := {i.instance for i in world.of_service(WEB) if i.release != service.release or not i.serving}:
        yield f"{sorted(others)} do not serve, or are of another release"
    for name, edge in world.edges.items():
        served = {s for s, report in edge.servers.get("web.8080", {}).items() if report.open}
        if served != assigned:
            yield f"{name} serves {sorted(served)}, assigned are {sorted(assigned)}"


def leaks(lab: Lab, fleet: Fleet) -> Iterator[str]:
    """Containers, namespaces, addresses and control groups of instances that are none."""
    for host in lab.hosts:
        config = lab.settings(host)
        pins, group = traces(config.lib, config.run)
        wanted = {str(a.instance) for a in fleet.world.assignments.values() if a.node == host.name}
        pids = power.within(lab, host)
        found = {
            "namespaces": {pin.name for pin in pins},
            "addresses": set(addresses(lab, host).values()),
            "processes": {name for pid in pids if (name := instance_of(pid))},
            "shims": {word[6:] for pid in pids for word in line(pid) if word.startswith("--cid=")},
            "control groups": {g.name.removeprefix(Path(group).name) for g in processes.groups(group)},
        }
        for what, seen in found.items():
            if seen != wanted:
                yield f"{what} on {host.name}: {sorted(seen)}, assigned {sorted(wanted)}"


def doubles(lab: Lab, fleet: Fleet) -> Iterator[str]:
    """Addresses that two instances have, in the registry or on hosts."""
    owners: dict[str, set[str]] = {}
    for instance in fleet.world.instances.values():
        for endpoint in instance.endpoints.values():
            owners.setdefault(endpoint.partition(":")[0], set()).add(instance.instance)
    for host in lab.hosts:
        for address, owner in addresses(lab, host).items():
            owners.setdefault(address, set()).add(owner)
    assert owners, "no address is known: this proves nothing"
    yield from (f"{address}: {sorted(who)}" for address, who in owners.items() if len(who) > 1)


def missing(lab: Lab) -> Iterator[str]:
    """Programs that do not run, or twice."""
    words = {"control": "registrator control", "agent": "registrator agent", "holder": "registrator holder"}
    for host in lab.hosts:
        pids = power.within(lab, host)
        for name in names(lab, host):
            found = processes.named(pids, words.get(name, name if name == "confd-py" else f"{name} "))
            if not found or (len(found) > 1 and name not in ("haproxy", "keepalived")):
                yield f"{name} on {host.name}: {len(found)} processes"


def addresses(lab: Lab, host: Host) -> dict[str, str]:
    """Owners of the host's addresses."""
    folder = lab.settings(host).lib / "runtime" / "addresses"
    return {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}


def instance_of(pid: int) -> str:
    """The instance that a process belongs to, "" if none."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    found = [word for word in words if word.startswith(b"HECD_INSTANCE=")]
    return found[0].decode().partition("=")[2] if found else ""


def line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []
