"""What a HAProxy can be told while it runs, by its version. What it cannot becomes a reload. Pure.

The words are those that the parser of that version's first release marks as fit for dynamic servers (`dynamic_ok` in
src/server.c, src/ssl_sock.c and src/check.c); management.txt says the rest under "add server" and "del server":

- 2.4, 2.5: both only in experimental mode, "still in development"; 2.4 adds no checked server and deletes none that
  the file holds; 2.5.0 crashes on a server with an id, and without ids most added servers of a hash get no request.
  So servers come and go by a reload there. Weights, drains, maps and certificates need none.
- before 3.0 the hash of an added server is made before it has its id: all servers added without one share one place on
  the ring of `balance random` and `hash-type consistent`, and only two of them get requests (haproxy#3413, mended in
  3.0 and in late 2.8).
- 2.6 and older drop a reload silently that comes while another runs, 2.7 and later tell what became of it: this is
  found out by asking, as is whether a line of several commands has one prompt or several.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

OLDEST = (2, 4)
_MEMBERS_SINCE = (2, 6)
_IDS_BY_THEMSELVES_SINCE = (3, 0)
_WORDS_SINCE: tuple[tuple[tuple[int, int], str], ...] = (
    (
        (2, 6),
        """addr agent-addr agent-check agent-inter agent-port agent-send allow-0rtt alpn backup ca-file check
        check-alpn check-proto check-send-proxy check-sni check-ssl check-via-socks4 ciphers ciphersuites crl-file crt
        disabled downinter error-limit fall fastinter force-sslv3 force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13
        id inter maxconn maxqueue minconn no-backup no-send-proxy no-send-proxy-v2 no-ssl-reuse no-sslv3 no-tfo
        no-tls-tickets no-tlsv10 no-tlsv11 no-tlsv12 no-tlsv13 npn observe on-error on-marked-down on-marked-up
        pool-low-conn pool-max-conn pool-purge-delay port proto proxy-v2-options rise send-proxy send-proxy-v2
        send-proxy-v2-ssl send-proxy-v2-ssl-cn slowstart sni source ssl ssl-max-ver ssl-min-ver tfo tls-tickets track
        usesrc verify verifyhost weight ws""",
    ),
    ((2, 8), "shard"),
    ((2, 9), "client-sigalgs curves set-proxy-v2-tlv-fmt sigalgs"),
    ((3, 0), "cookie guid hash-key pool-conn-name"),
    ((3, 1), "init-state"),
    ((3, 2), "check-pool-conn-name check-reuse-pool idle-ping strict-maxconn"),
    ((3, 3), "ktls no-renegotiate renegotiate"),
    ((3, 4), "healthcheck no-check-sni-auto no-sni-auto"),
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """`members`: servers may come and go. `needs_ids`: an added one has to be given its id."""

    members: bool
    needs_ids: bool
    words: frozenset[str]

    def takes(self, words: Collection[str]) -> bool:
        """Whether a server with these words can be added while it runs."""
        return self.members and self.words.issuperset(words)


def capabilities_of(version: tuple[int, int]) -> Capabilities:
    """Of a release, as `(2, 8)`; one that is newer than all known can what the newest known one can."""
    words: Iterable[str] = (word for since, text in _WORDS_SINCE if version >= since for word in text.split())
    return Capabilities(version >= _MEMBERS_SINCE, version < _IDS_BY_THEMSELVES_SINCE, frozenset(words))
