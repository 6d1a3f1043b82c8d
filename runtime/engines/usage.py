"""What a control group has used, read from the files of version 1 or 2."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runtime.model import Usage

NO_LIMIT = 1 << 60  # version 1 writes nearly 2^63 for none

Read = Callable[[str], str]  # the text of a file of the group, "" where there is none


def version_1(read: Read) -> Usage:
    """`read` takes `controller/file`."""
    kept = _number(_value(read("memory/memory.stat"), "total_inactive_file"))
    limit = _number(read("memory/memory.limit_in_bytes"))
    io = [line.split() for line in read("blkio/blkio.throttle.io_service_bytes_recursive").splitlines()]
    return Usage(
        cpu_s=_number(read("cpuacct/cpuacct.usage")) / 1e9,
        memory_bytes=max(0, _number(read("memory/memory.usage_in_bytes")) - kept),
        memory_limit_bytes=limit if limit < NO_LIMIT else 0,
        pids=_number(read("pids/pids.current")),
        read_bytes=sum(_number(words[2]) for words in io if len(words) == 3 and words[1] == "Read"),
        written_bytes=sum(_number(words[2]) for words in io if len(words) == 3 and words[1] == "Write"),
    )


def version_2(read: Read) -> Usage:
    """`read` takes the file."""
    kept = _number(_value(read("memory.stat"), "inactive_file"))
    io = dict(_pairs(word for line in read("io.stat").splitlines() for word in line.split()[1:]))
    return Usage(
        cpu_s=_number(_value(read("cpu.stat"), "usage_usec")) / 1e6,
        memory_bytes=max(0, _number(read("memory.current")) - kept),
        memory_limit_bytes=_number(read("memory.max")),  # "max" is none
        pids=_number(read("pids.current")),
        read_bytes=io.get("rbytes", 0),
        written_bytes=io.get("wbytes", 0),
    )


def network(text: str) -> tuple[int, int]:
    """Bytes received and sent by all interfaces but the loopback one, of /proc/PID/net/dev."""
    rows = [line.partition(":") for line in text.splitlines()[2:]]
    columns = [found.split() for name, _, found in rows if name.strip() != "lo"]
    return sum(_number(c[0]) for c in columns), sum(_number(c[8]) for c in columns)


def _pairs(words: Iterable[str]) -> Iterable[tuple[str, int]]:
    """Sums of KEY=NUMBER, over all devices."""
    sums: dict[str, int] = {}
    for word in words:
        key, _, value = word.partition("=")
        sums[key] = sums.get(key, 0) + _number(value)
    return sums.items()


def _value(text: str, key: str) -> str:
    return next((line.split()[1] for line in text.splitlines() if line.startswith(f"{key} ")), "")


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isdecimal() else 0
