"""time.Duration and the ways of a time.Time that need it, beside what Go printed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from confd_py.gotemplate.clock import Time
from confd_py.gotemplate.duration import Duration
from confd_py.gotemplate.printing import text_of

# nanoseconds, String, Hours, Milliseconds, Truncate(7000)
DURATIONS = [
    (0, "0s", "0", 0, "0s"),
    (1, "1ns", "2.777777777777778e-13", 0, "0s"),
    (999, "999ns", "2.775e-10", 0, "0s"),
    (1_000, "1µs", "2.7777777777777777e-10", 0, "0s"),
    (1_500, "1.5µs", "4.166666666666667e-10", 0, "0s"),
    (1_000_000, "1ms", "2.7777777777777776e-07", 1, "994µs"),
    (1_234_567, "1.234567ms", "3.429352777777778e-07", 1, "1.232ms"),
    (999_999_999, "999.999999ms", "0.0002777777775", 999, "999.999ms"),
    (1_000_000_000, "1s", "0.0002777777777777778", 1_000, "999.999ms"),
    (1_500_000_000, "1.5s", "0.0004166666666666667", 1_500, "1.499995s"),
    (60_000_000_000, "1m0s", "0.016666666666666666", 60_000, "59.999996s"),
    (61_500_000_000, "1m1.5s", "0.017083333333333332", 61_500, "1m1.499998s"),
    (3_600_000_000_000, "1h0m0s", "1", 3_600_000, "59m59.999998s"),
    (3_661_000_000_001, "1h1m1.000000001s", "1.0169444444447222", 3_661_000, "1h1m1s"),
    (-1_500_000, "-1.5ms", "-4.1666666666666667e-07", -1, "-1.498ms"),
    (-90_000_000_000, "-1m30s", "-0.025", -90_000, "-1m29.999994s"),
    (86_400_000_000_000, "24h0m0s", "24", 86_400_000, "23h59m59.999994s"),
]
# nanoseconds; 2023-11-14 22:13:20.123456789 truncated to them, with them added, and taken away
TIMES = [
    (86_400_000_000_000, "2023-11-14 00:00:00", "2023-11-15 22:13:20.123456789", "2023-11-13 22:13:20.123456789"),
    (3_600_000_000_000, "2023-11-14 22:00:00", "2023-11-14 23:13:20.123456789", "2023-11-14 21:13:20.123456789"),
    (7_000_000_000, "2023-11-14 22:13:17", "2023-11-14 22:13:27.123456789", "2023-11-14 22:13:13.123456789"),
    (1_000, "2023-11-14 22:13:20.123456", "2023-11-14 22:13:20.123457789", "2023-11-14 22:13:20.123455789"),
]


@pytest.mark.parametrize(("ns", "text", "hours", "milliseconds", "truncated"), DURATIONS)
def test_a_duration(ns: int, text: str, hours: str, milliseconds: int, truncated: str) -> None:
    duration = Duration(ns)
    assert (str(duration), text_of(duration.Hours()), duration.Milliseconds()) == (text, hours, milliseconds)
    assert str(duration.Truncate(7000)) == truncated


@pytest.mark.parametrize(("ns", "truncated", "later", "earlier"), TIMES)
def test_a_time(ns: int, truncated: str, later: str, earlier: str) -> None:
    time = Time(datetime.fromtimestamp(1_700_000_000, UTC), 123_456_789)
    found = [str(other).removesuffix(" +0000 UTC") for other in (time.Truncate(ns), time.Add(ns), time.Add(-ns))]
    assert found == [truncated, later, earlier]
    assert time.Add(ns).Sub(time) == ns
