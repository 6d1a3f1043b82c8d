"""How long it takes to decide where instances go: a whole fleet at once, and one change of a full one.

python -m tests.bench.placement [NODES] [INSTANCES]
"""

from __future__ import annotations

import sys
import time

from registrator.control.placement import Board, NoPlace
from registrator.model.instance import Assignment
from registrator.model.names import NodeName, ReleaseNumber, ServiceName, instance_name
from registrator.model.node import Capacity, Node
from registrator.model.placement import Placement
from registrator.model.service import Service

SERVICES = 100
ONE = ReleaseNumber(1)


def main() -> None:
    count, instances = (int(word) for word in (*sys.argv[1:], *("1000", "10000")[len(sys.argv) - 1 :]))
    nodes = {
        NodeName(f"n{n}"): Node(
            NodeName(f"n{n}"),
            capacity=Capacity(16.0, 64 << 30),
            labels={"zone": f"z{n % 7}", "disk": ["ssd", "hdd"][n % 2]},
        )
        for n in range(count)
    }
    services = {}
    for n in range(SERVICES):
        placement = Placement(
            constraints=("node.labels.disk==ssd",) if n % 3 == 0 else (), spread=("zone",) if n % 2 else (), cpus=0.25
        )
        services[ServiceName(f"s{n}")] = Service(ServiceName(f"s{n}"), ONE, instances // SERVICES, placement=placement)
    begun = time.perf_counter()
    board = Board(nodes, (), (), services)
    orders = []
    for service in services.values():
        for number in range(service.replicas):
            place = board.place(service, ONE)
            assert not isinstance(place, NoPlace), place
            orders.append(Assignment(instance_name(service.service, number), service.service, ONE, place.node))
    whole_s = time.perf_counter() - begun
    times = []
    for service in list(services.values())[:20]:
        begun = time.perf_counter()
        board = Board(nodes, orders, (), services)
        board.leaving(service, (a for a in orders if a.service == service.service))
        board.place(service, ONE)
        times.append(time.perf_counter() - begun)
    print(f"{count} nodes, {len(orders)} instances of {SERVICES} services")
    print(f"all placed         {whole_s * 1000:7.0f} ms")
    print(f"one change, median {sorted(times)[len(times) // 2] * 1000:7.1f} ms")
    print(f"one change, worst  {max(times) * 1000:7.1f} ms")


if __name__ == "__main__":
    main()
