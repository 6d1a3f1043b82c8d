"""Whether the kernel's table of neighbours has room, by its own figures."""

from __future__ import annotations

import pytest

from runtime.doctor.neighbours import judged


def counts(entries: int, overflows: int) -> str:
    """As /proc/net/stat/arp_cache has them."""
    row = f"{entries:08x}  0000a008 {overflows:08x}"
    return f"entries  allocs   table_fulls\n{row}\n{entries:08x}  00009724 00000000\n"


@pytest.mark.parametrize(
    ("most", "entries", "overflows", "fine"),
    [
        (1024, 4, 0, True),
        (1024, 900, 0, False),
        (1024, 4, 7, False),
        (16384, 900, 7, True),  # it was made larger since
        (16384, 16000, 0, False),
    ],
)
def test_a_table_that_is_nearly_full_or_was_is_told(most: int, entries: int, overflows: int, fine: bool) -> None:
    need = judged(most, counts(entries, overflows))
    assert (need.fine, need.vital) == (fine, False)
    assert f"{entries} of {most}" in need.what and "gc_thresh3=16384" in need.hint
    assert ("overflowed 7 times" in need.what) == bool(overflows)
