"""A name server for tests that knows some SRV records."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence

import dns.flags
import dns.message
import dns.rcode
import dns.rrset


class DnsServer(threading.Thread):
    """Answers on a free UDP port of loopback; `records` are SRV data by name, as in "10 5 2379 host."."""

    def __init__(self, records: Mapping[str, Sequence[str]]) -> None:
        super().__init__(daemon=True)
        self._records = records
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.start()

    def run(self) -> None:
        while True:
            try:
                question, client = self._socket.recvfrom(4096)
            except OSError:
                return
            if not question:  # told to end
                return
            self._socket.sendto(self._answer(question), client)

    def stop(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self.join(5)
        self._socket.close()

    def _answer(self, wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.AA | dns.flags.RA
        found = self._records.get(query.question[0].name.to_text())
        if found is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "SRV", *found))
        return answer.to_wire()
