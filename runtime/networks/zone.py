"""What the name server of a host answers from its own knowledge: names of services, bare and under `hecd`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
from dns.rdatatype import AAAA, ANY, A

from runtime.networks.topology import ZONE

TTL_S = 2
MOST_ADDRESSES = {A: 16, AAAA: 14}  # so many fit a plain datagram; of more, each asker is told some

Names = Mapping[str, Sequence[str]]


def answer(query: dns.message.Message, names: Names, pick: Callable[[Sequence[str], int], list[str]]) -> bytes | None:
    """The answer; None where the question is for others. `pick` takes so many of the addresses, in any order."""
    if len(query.question) != 1:
        return None
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True).lower()
    bare = name.removesuffix(f".{ZONE}")
    if bare not in names and bare == name != ZONE:
        return None
    reply = dns.message.make_response(query, recursion_available=True)
    reply.flags |= dns.flags.AA
    if bare not in names:
        reply.set_rcode(dns.rcode.NXDOMAIN if bare != name else dns.rcode.NOERROR)
    else:
        kind = A if question.rdtype == ANY else question.rdtype
        found = [address for address in names[bare] if kind == (AAAA if ":" in address else A)]
        if found:  # else there is none of this kind, which is not to say that there is no such name
            some = pick(found, min(MOST_ADDRESSES[kind], len(found)))
            reply.answer.append(dns.rrset.from_text(question.name, TTL_S, "IN", kind, *some))
    return reply.to_wire()


def upstreams(resolv: str, own: str) -> list[str]:
    """The name servers of the host, in its order, without this one."""
    found = [words[1] for line in resolv.splitlines() if (words := line.split())[:1] == ["nameserver"] and words[1:]]
    return [address for address in found if address != own]
