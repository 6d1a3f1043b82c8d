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
    dynamic_cookie: bool = False  # its backend has HAProxy make a cookie of its address

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
    def hurried(self) -> bool:
        """Whether its first check shall come at once. One that is checked so is put there anew when it is down, and let
        in by one good check: that is not for a server that errors have taken out for a while."""
        return self.checked and "mark-down" not in self.words

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
    """The configuration in `text`. Never fails: what it does not know for certain is structure.

    A section whose servers are not understood (quotes, `server-template` …) is structure as a whole, and with
    conditional blocks so is the file.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("#", f"setenv {STAMP_VARIABLE} "))]
    if any(line.startswith(".") for line in lines):
        return HaproxyConfig("\n".join(lines), {})
    reader = _Reader()
    for line in lines:
        reader.feed(line)
    return reader.finished()


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


@dataclass(frozen=True, slots=True)
class _Defaults:
    """The `default-server` words of a section; not `clear` where they are not understood."""

    words: tuple[str, ...] = ()
    clear: bool = True


class _Reader:
    """Walks the lines. A section's servers are read at its end, when all that applies to them is known."""

    def __init__(self) -> None:
        self._structure: list[str] = []
        self._backends: dict[str, dict[str, Server]] = {}
        self._last = _Defaults()  # of the defaults section that applies to those that name none
        self._named: dict[str, _Defaults] = {}
        self._kind, self._name = "", ""
        self._lines: list[str] = []
        self._servers: list[tuple[tuple[str, ...], str]] = []
        self._words: tuple[str, ...] = ()
        self._clear = True
        self._dynamic_cookie = False

    def feed(self, text: str) -> None:
        first, *rest = text.split(None, 1)
        if first in _SECTIONS:  # indented or not
            self._close()
            self._open(first, text)
        elif first == "server" and rest:
            self._servers.append((self._words, rest[0]))
        elif first == "default-server":
            own = _split(text)
            self._words = (*self._words, *(own or [])[1:])
            self._clear &= own is not None
        elif first == "dynamic-cookie-key":
            self._dynamic_cookie = True
        elif first == "server-template" or _quoted(first):
            self._clear = False
        self._lines.append(text)

    def finished(self) -> HaproxyConfig:
        self._close()
        return HaproxyConfig("\n".join(self._structure), self._backends)

    def _open(self, kind: str, text: str) -> None:
        words = _split(text) or []
        self._kind, self._lines, self._servers, self._dynamic_cookie = kind, [], [], False
        self._name = words[1] if len(words) > 1 and words[1] != "from" else ""
        base = words[words.index("from") + 1 :][:1] if "from" in words[1:] else []
        found = self._named.get(base[0]) if base else _Defaults() if kind == "defaults" else self._last
        known = found or _Defaults(clear=False)
        self._words, self._clear = known.words, known.clear and bool(words)

    def _close(self) -> None:
        if self._kind == "defaults":
            self._last = _Defaults(self._words, self._clear)
            self._named[self._name] = self._last
        lines = self._lines
        if self._kind in ("backend", "listen"):
            servers = [read_server(words, line, self._dynamic_cookie) for words, line in self._servers]
            if self._clear and self._name not in self._backends and None not in servers:
                self._backends[self._name] = {server.name: server for server in servers if server is not None}
                lines = [line for line in lines if line.split(None, 1)[0] != "server"]
        self._structure += lines


@lru_cache(maxsize=20_000)
def read_server(defaults: tuple[str, ...], line: str, dynamic_cookie: bool = False) -> Server | None:
    """The server in `line` (what follows the word `server`), with `defaults` under its own words; None if it takes
    HAProxy to understand it."""
    parts = _split(line)
    if parts is None or len(parts) < 2:
        return None
    name, address, *own = parts
    settings: dict[str, str] = {}
    words = iter((*defaults, *own))
    for word in words:
        settings[word] = next(words, "") if word in _VALUED else ""
        if word.startswith("no-"):
            settings.pop(word.removeprefix("no-"), None)
    weight = settings.pop("weight", "1")
    if not weight.isdigit():
        return None
    spelled = tuple(part for word, value in settings.items() for part in (word, value) if part)
    return Server(name, address, int(weight), spelled, dynamic_cookie)


def _split(text: str) -> list[str] | None:
    """The words before a comment; None where quotes or backslashes are in them."""
    return None if _quoted(text) else text.partition("#")[0].split()


def _quoted(text: str) -> bool:
    return any(sign in text for sign in "\"'\\")
