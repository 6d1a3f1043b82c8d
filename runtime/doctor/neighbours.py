"""The kernel's table of neighbours: one for all network namespaces of a machine, and full at some 1,000 containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runtime.doctor.need import Need

MOST = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
COUNTS = Path("/proc/net/stat/arp_cache")
USUAL_MOST = 1024  # what kernels begin with
WANTED = 16384


def room() -> Iterator[Need]:
    """Whether the table has room left; nothing where this namespace is not shown it."""
    try:
        most, counts = int(MOST.read_text()), COUNTS.read_text()
    except (OSError, ValueError):
        return
    yield judged(most, counts)


def judged(most: int, counts: str) -> Need:
    """`most` entries are kept; `counts` is the kernel's own statistics, hexadecimal, a line for each processor."""
    names, *rows = (line.split() for line in counts.splitlines())
    entries = int(rows[0][names.index("entries")], 16) if rows else 0  # the same in each line
    overflows = sum(int(row[names.index("table_fulls")], 16) for row in rows)  # since boot
    fine = entries < most * 0.8 and (not overflows or most > USUAL_MOST)  # one made larger since is not blamed
    told = f"neighbours that the kernel keeps: {entries} of {most}"
    told += f", overflowed {overflows} times since boot" if overflows else ""
    words = [f"net.ipv4.neigh.default.gc_thresh{n}={WANTED // part}" for n, part in ((1, 4), (2, 2), (3, 1))]
    return Need(told, fine, f"sysctl -w {' '.join(words)}: a full table cuts containers off.", vital=False)
