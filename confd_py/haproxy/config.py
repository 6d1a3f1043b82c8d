"""haproxy.cfg as far as the applier must understand it: sections, and the servers in them. Pure.

Everything but `server` lines is *structure*: if it differs, HAProxy has to reload. Servers are compared by what
they mean: their own words plus those of the `default-server` lines that apply.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

# What the running HAProxy answers to `show env`, so that its structure is known whoever started it.
STAMP_VARIABLE = "CONFD_PY_CONFIG"

_SECTION_WORDS = """
    global defaults frontend backend listen userlist peers mailers resolvers cache program http-errors ring
    log-forward fcgi-app crt-store crt-list log-profile traces acme healthcheck
"""
# Words of a server line that are followed by their value.
_VALUED_WORDS = """
    weight inter fastinter downinter rise fall addr port maxconn minconn maxqueue slowstart observe error-limit
    on-error on-marked-down on-marked-up pool-purge-delay pool-max-conn pool-low-conn max-reuse sni verify ca-file
    crt crl-file verifyhost ciphers ciphersuites alpn npn proto source id cookie track init-addr init-state
    resolvers resolve-prefer resolve-net resolve-opts ssl-min-ver ssl-max-ver check-sni check-alpn check-proto
    agent-port agent-addr agent-inter agent-send namespace shard ws log-proto redir set-proxy-v2-tlv-fmt
    curves sigalgs client-sigalgs guid proxy-v2-options socks4 tcp-ut
"""
_SECTIONS = frozenset(_SECTION_WORDS.split())
_VALUED = frozenset(_VALUED_WORDS.split())


@dataclass(frozen=True, slots=True)
class Server:
    """One server: its name, where it is, its weight, and all other words, spelled out in a fixed order."""

    name: str
    address: str
    weight: int
    words: tuple[str, ...]

    @property
    def dynamic(self) -> bool:
        """Whether it can be added at run time: its address is an IP with a port."""
        host, _, port = self.address.rpartition(":")
        return port.isdigit() and is_ip(host)

    @property
    def checked(self) -> bool:
        """Whether HAProxy checks it itself."""
        return "check" in self.words

    @property
    def disabled(self) -> bool:
        """Whether it shall stand in maintenance."""
        return "disabled" in self.words

    @property
    def keywords(self) -> tuple[str, ...]:
        """Its words without their values."""
        words = iter(self.words)
        found = []
        for word in words:
            found.append(word)
            if word in _VALUED:
                next(words, "")
        return tuple(found)


@dataclass(frozen=True)
class HaproxyConfig:
    """`structure` is the text without servers; `backends` their servers by section name and server name."""

    structure: str
    backends: Mapping[str, Mapping[str, Server]]

    @property
    def stamp(self) -> str:
        """Names the structure; two configurations of one stamp differ only in servers."""
        return hashlib.sha256(self.structure.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def parse(text: str) -> HaproxyConfig:
    """The configuration in `text`. Never fails: what it does not know is structure."""
    reader = _Reader()
    for line in text.splitlines():
        reader.feed(line)
    return HaproxyConfig("\n".join(reader.structure), reader.finished())


def stamped(text: str, stamp: str) -> str:
    """`text` with the stamp set as an environment variable of the process, right below `global`."""
    lines = text.split("\n")
    line = f"    setenv {STAMP_VARIABLE} {stamp}"
    for index, content in enumerate(lines):
        if content.split("#")[0].strip() == "global":
            return "\n".join([*lines[: index + 1], line, *lines[index + 1 :]])
    return "\n".join(["global", line, "", text])


def is_ip(host: str) -> bool:
    """Whether `host` is a literal address, as opposed to a name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


class _Reader:
    """Walks the lines. Server lines wait for the section's end, when all its default-server words are known."""

    def __init__(self) -> None:
        self.structure: list[str] = []
        self._kind = ""
        self._name = ""
        self._inherited: tuple[str, ...] = ()  # default-server words of the defaults section in force
        self._words: tuple[str, ...] = ()
        self._lines: list[tuple[tuple[str, ...], str]] = []
        self._backends: dict[str, dict[str, Server]] = {}

    def feed(self, line: str) -> None:
        text = line.strip()
        if not text or text.startswith(("#", f"setenv {STAMP_VARIABLE} ")):
            return
        first, _, rest = text.partition(" ")
        if not line[0].isspace() and first in _SECTIONS:
            self._close()
            self._kind, self._name = first, rest.split(" from ")[0].strip()
            self._words = () if first == "defaults" else self._inherited
        if first == "server" and self._kind in ("backend", "listen"):
            self._lines.append((self._words, rest.strip()))
            return
        if first == "default-server":
            self._words = (*self._words, *rest.split())
        self.structure.append(text)

    def finished(self) -> dict[str, dict[str, Server]]:
        self._close()
        return self._backends

    def _close(self) -> None:
        if self._kind == "defaults":
            self._inherited = self._words
        if self._kind in ("backend", "listen"):
            servers = (read_server(words, line) for words, line in self._lines)
            self._backends[self._name] = {server.name: server for server in servers}
        self._lines = []


@lru_cache(maxsize=20_000)
def read_server(defaults: tuple[str, ...], line: str) -> Server:
    """The server in `line` (what follows the word `server`), with `defaults` under its own words."""
    name, _, rest = line.partition(" ")
    address, _, own = rest.strip().partition(" ")
    settings: dict[str, str] = {}
    words = iter((*defaults, *own.split()))
    for word in words:
        if word.startswith("#"):
            break
        settings[word] = next(words, "") if word in _VALUED else ""
        if word.startswith("no-"):
            settings.pop(word.removeprefix("no-"), None)
    weight = settings.pop("weight", "1")
    spelled = tuple(part for word, value in settings.items() for part in (word, value) if part)
    return Server(name, address, int(weight) if weight.isdigit() else 1, spelled)
