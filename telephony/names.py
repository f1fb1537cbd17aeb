"""Names of the domain name system, looked up on the event loop: what a trunk's domain stands for (RFC 3263).

Every answer comes with the time for which it holds. A name that does not exist is an empty answer; that nobody could be
asked is an ``OSError``.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver

from telephony.sip.flow import Address
from telephony.sip.locating import Naptr, Srv
from telephony.sip.target import is_address

_log = logging.getLogger(__name__)

Item = TypeVar("Item")

PATIENCE_S = 3.0
"""For one question, all name servers and repetitions together."""
UNKNOWN_TTL_S = 60.0
"""How long an answer holds that does not say so: of the hosts file, and that a name does not exist."""


class Found(NamedTuple, Generic[Item]):
    """What a name stands for, and for how long in s."""

    items: list[Item]
    ttl: float


class Names:
    """Asks ``nameservers``, or, where none are named, those of the machine; addresses then come from the machine's own
    resolver, so that its hosts file counts."""

    def __init__(self, nameservers: Sequence[Address] = ()) -> None:
        self._own = bool(nameservers)
        self._resolver: dns.asyncresolver.Resolver | None = None
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not self._own)
        except dns.exception.DNSException as error:
            _log.info("this machine has no name server: %s", error)
            return
        self._resolver.lifetime = PATIENCE_S
        if self._own:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(*each) for each in nameservers]

    async def naptr(self, domain: str) -> Found[Naptr]:
        """The NAPTR records of ``domain``. Raises OSError."""
        records, ttl = await self._ask(domain, "NAPTR")
        return Found(
            [
                Naptr(
                    order=each.order,
                    preference=each.preference,
                    flags=each.flags.decode("ascii", "replace"),
                    service=each.service.decode("ascii", "replace"),
                    replacement=each.replacement.to_text(omit_final_dot=True),
                )
                for each in records
            ],
            ttl,
        )

    async def srv(self, name: str) -> Found[Srv]:
        """The SRV records of ``name``. Raises OSError."""
        records, ttl = await self._ask(name, "SRV")
        return Found(
            [
                Srv(
                    priority=each.priority,
                    weight=each.weight,
                    port=each.port,
                    target=each.target.to_text(omit_final_dot=True),
                )
                for each in records
            ],
            ttl,
        )

    async def addresses(self, host: str) -> Found[str]:
        """The IP addresses of ``host``, sorted, IPv4 first: in the same order whoever answers. Raises OSError."""
        if is_address(host):
            return Found([host], float("inf"))
        if not self._own:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
            return Found(_sorted({str(each[4][0]) for each in found}), UNKNOWN_TTL_S)
        four, six = await asyncio.gather(self._ask(host, "A"), self._ask(host, "AAAA"))
        ttl = min((each.ttl for each in (four, six) if each.items), default=UNKNOWN_TTL_S)
        return Found(_sorted({each.address for each in (*four.items, *six.items)}), ttl)

    async def _ask(self, name: str, kind: str) -> Found[Any]:
        if self._resolver is None:
            raise OSError("there is no name server to ask")
        try:
            answer = await self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        except dns.resolver.NXDOMAIN:
            return Found([], UNKNOWN_TTL_S)
        except dns.exception.DNSException as error:
            raise OSError(f"{kind} of {name} cannot be looked up: {error}") from error
        if answer.rrset is None:
            return Found([], UNKNOWN_TTL_S)
        return Found(list(answer), float(answer.rrset.ttl))


def _sorted(hosts: set[str]) -> list[str]:
    return sorted(hosts, key=lambda host: (":" in host, host))
