"""nginx.conf as far as the applier must know it: where the server goes in that tells which text runs. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass

_COMMENT = re.compile(r"(?:^|(?<=[\s;{}]))#.*$", re.MULTILINE)
_LISTEN = re.compile(r"(?:^|(?<=[\s;{}]))listen\s+([^\s;]+)([^;]*);")
_PREFIX = re.compile(r"^(?:\S+ \S+ \[\w+\] \d+#\d+: |nginx: (?:\[\w+\] )?)")
_HTTP = re.compile(r"^\s*http\s*\{", re.MULTILINE)


@dataclass(frozen=True)
class Address:
    """An IP address in its shortest form, and a TCP port."""

    host: str
    port: int

    @property
    def wildcard_of_family(self) -> str:
        """What stands for all addresses of its family."""
        return "::" if ":" in self.host else "0.0.0.0"  # noqa: S104 a name, nothing listens


def listens(text: str) -> tuple[Address, ...]:
    """Where the text has nginx listen, each once; names of hosts and sockets in the file system are passed over."""
    found = (_address(match[1]) for match in _LISTEN.finditer(_COMMENT.sub("", text)) if " udp" not in match[2])
    return tuple(dict.fromkeys(address for address in found if address is not None))


def stamp_of(text: str) -> str:
    """Names a text: its workers answer it."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def stamped(text: str, stamp: str, status: str) -> str:
    """`text` with a server at `status` that answers the worker's pid and the stamp, first in `http`."""
    server = (
        "\n    # confd-py asks here which configuration the workers run.\n"
        f"    server {{ listen {status}; access_log off; location / {{ return 200 "
        f'"$pid {stamp}\\n"; }} }}\n'
    )
    found = _HTTP.search(text)
    if found is None:
        return f"{text.rstrip()}\n\nhttp {{{server}}}\n"
    return text[: found.end()] + server + text[found.end() :]


def words_of_check(lines: tuple[str, ...], staged: str, target: str) -> tuple[str, ...]:
    """What `nginx -t` complained about, without time and pids, and with the file's final name."""
    return tuple(_PREFIX.sub("", line).replace(staged, target) for line in lines)


def refusals(log: str, master: int) -> tuple[str, ...]:
    """What the master wrote at level emerg, without time and pids, each once: why it refused."""
    pattern = re.compile(rf"^\S+ \S+ \[emerg\] {master}#\d+: (?:\*\d+ )?(.*)$", re.MULTILINE)
    return tuple(dict.fromkeys(match[1] for match in pattern.finditer(log)))


def final(refused: tuple[str, ...]) -> bool:
    """Whether it gave up: a port in use is tried five times before that, half a second apart."""
    return any(not words.startswith("bind() to") for words in refused)


def _address(word: str) -> Address | None:
    if word.isdigit():
        return Address("0.0.0.0", int(word))  # noqa: S104 what the line says
    host, _, port = word.rpartition(":") if re.search(r":\d+$", word) and not word.endswith("]") else (word, "", "80")
    try:
        plain = "0.0.0.0" if host == "*" else str(ipaddress.ip_address(host.strip("[]")))  # noqa: S104
    except ValueError:
        return None
    return Address(plain, int(port))
