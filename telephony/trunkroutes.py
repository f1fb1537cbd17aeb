"""By which ways a line's PBXs are reached, from the settings and the domain name system (RFC 3263), kept up to date.

A trunk is named by an address, by a host with a port, or by a domain alone: a domain is resolved by NAPTR and SRV
records where it has some. What was found is used for as long as it holds, and beyond that while nobody can be asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from config.settings import LineSettings, SipSettings
from telephony.listening import certificates, listens, near_end
from telephony.names import Names
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow, Transport
from telephony.sip.locating import Srv, is_absent, services, srv_names
from telephony.sip.target import PORTS, Target, is_address, target_of
from telephony.sip.uri import SipUri, parse_uri
from telephony.trunk_target import TrunkRoute

_log = logging.getLogger(__name__)

MOST_ROUTES = 8
"""To one line, however many the domain names."""
SHORTEST_S, LONGEST_S = 5.0, 3_600.0
"""Between two looks, whatever an answer says of how long it holds."""
AGAIN_S = 15.0
"""After a look that found nothing, or was not complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """The ways that one URI leads to and for how long in s; not ``certain`` where a name server did not answer."""

    routes: tuple[TrunkRoute, ...]
    ttl: float = float("inf")
    certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """One server of a domain."""

    transport: Transport
    host: str
    port: int
    priority: int = 0
    weight: int = 0


class Locator:
    """Resolves URIs of PBXs as seen from where the line listens."""

    def __init__(self, sip: SipSettings, names: Names) -> None:
        self._sip, self._names = sip, names
        self._available = tuple(dict.fromkeys(each.transport for each in listens(sip)))

    def at_once(self, registrar: str) -> Located | None:
        """What needs no name server; None for a name. Raises RemoteProtocolError, OSError as ``locate``."""
        uri, target = self._read(registrar)
        return None if not is_address(target.host) else self._located(uri, _fixed(target), [target.host])

    async def locate(self, registrar: str) -> Located:
        """The ways to the PBX. Raises RemoteProtocolError for what is no SIP URI or needs a transport that is not set
        up, OSError for a name that does not resolve to an address we can reach."""
        uri, target = self._read(registrar)
        if uri.port or is_address(target.host):
            addresses = await self._names.addresses(target.host)
            return replace(self._located(uri, _fixed(target), addresses.items), ttl=addresses.ttl)
        servers: list[_Server] = []
        certain, ttl = True, float("inf")
        try:
            servers, ttl = await self._servers(uri, target)
        except OSError as error:
            _log.warning("the servers of %s: %s", target.host, error)
            certain = False
        if not servers:
            servers = [_fixed(self._fallback(uri, target))]
        routes, addresses_ttl, all_known = await self._addressed(uri, servers)
        if not routes:
            raise OSError(f"no address for {target.host} that can be reached from where the line listens")
        ttl = min(ttl, addresses_ttl)
        return Located(routes=tuple(routes[:MOST_ROUTES]), ttl=ttl, certain=certain and all_known)

    async def _addressed(self, uri: SipUri, servers: Sequence[_Server]) -> tuple[list[TrunkRoute], float, bool]:
        """The ways to all servers, for how long they hold, and whether every server's name could be looked up."""
        routes: list[TrunkRoute] = []
        ttl, all_known = float("inf"), True
        for server in servers:
            try:
                addresses = await self._names.addresses(server.host)
            except OSError as error:
                _log.warning("a server of %s: %s", uri.host, error)
                all_known = False
                continue
            ttl = min(ttl, addresses.ttl)
            routes += self._routes(uri, server, addresses.items)
        return routes, ttl, all_known

    def _read(self, registrar: str) -> tuple[SipUri, Target]:
        uri = parse_uri(registrar)
        if not isinstance(uri, SipUri):
            raise RemoteProtocolError(400, "a trunk's registrar is a sip: or sips: URI")
        target = target_of(uri)
        named = uri.port or uri.param("transport") or uri.scheme == "sips" or is_address(target.host)
        if target.transport == "TLS" and certificates(self._sip) is None:
            raise RemoteProtocolError(503, "TLS needs a certificate and a key in [sip.tls]")
        if named and target.transport == "UDP" and "UDP" not in self._available:
            raise RemoteProtocolError(503, "the line does not listen by UDP: name another transport")
        return uri, target

    def _fallback(self, uri: SipUri, target: Target) -> Target:
        """A domain without SRV records is a host, at the default port (RFC 3263 section 4.2)."""
        if uri.param("transport") or uri.scheme == "sips" or target.transport in self._available:
            return target
        transport = self._available[0]
        return replace(target, transport=transport, port=PORTS[transport])

    async def _servers(self, uri: SipUri, target: Target) -> tuple[list[_Server], float]:
        """The servers of the first transport for which there are SRV records, and for how long that holds."""
        secure, ttl = uri.scheme == "sips", float("inf")
        named = target.transport if uri.param("transport") or secure else None
        asked: list[tuple[Transport, str]] = []
        if named is None or secure:
            pointers = await self._names.naptr(target.host)
            asked = services(pointers.items, secure=secure, available=self._available)
            ttl = pointers.ttl
        asked = asked or srv_names(target.host, secure=secure, available=self._available, transport=named)
        for transport, name in asked:
            records = await self._names.srv(name)
            ttl = min(ttl, records.ttl)
            if records.items and not is_absent(records.items):
                return [_served(transport, each) for each in sorted(records.items, key=_settled)], ttl
        return [], ttl

    def _located(self, uri: SipUri, server: _Server, addresses: Sequence[str]) -> Located:
        routes = self._routes(uri, server, addresses)
        if not routes:
            raise OSError(f"no address for {uri.host} that can be reached from where the line listens")
        return Located(routes=tuple(routes[:MOST_ROUTES]))

    def _routes(self, uri: SipUri, server: _Server, addresses: Sequence[str]) -> list[TrunkRoute]:
        """The ways to each address of the first family that we reach: by the other one it would be the same PBX."""
        ways = [(host, near) for host in addresses if (near := near_end(self._sip, server.transport, host)) is not None]
        is_six = bool(ways) and ":" in ways[0][0]
        return [
            TrunkRoute(
                flow=Flow(transport=server.transport, remote=(host, server.port), local=local),
                domain=f"{uri.host}:{uri.port}" if uri.port else uri.host,
                name=uri.host.strip("[]"),
                priority=server.priority,
                weight=server.weight if index == 0 else 0,
            )
            for index, (host, local) in enumerate(way for way in ways if (":" in way[0]) is is_six)
        ]


def _settled(record: Srv) -> tuple[int, int, str, int]:
    """An order that does not change with each answer."""
    return record.priority, -record.weight, record.target, record.port


def _served(transport: Transport, record: Srv) -> _Server:
    return _Server(
        transport=transport, host=record.target, port=record.port, priority=record.priority, weight=record.weight
    )


def _fixed(target: Target) -> _Server:
    return _Server(transport=target.transport, host=target.host, port=target.port)


class LineRoutes:
    """The ways to one line's PBXs: those of its first URI before those of the second."""

    def __init__(self, line: LineSettings, locator: Locator) -> None:
        self.number = line.number
        self._registrars = line.trunk.registrar if line.trunk is not None else ()
        self._locator = locator
        self._known: dict[str, Located] = {}
        self._names: list[str] = []
        for registrar in self._registrars:
            try:
                located = locator.at_once(registrar)
            except (RemoteProtocolError, OSError) as error:
                _log.error("the trunk %s of line %s cannot be used: %s", registrar, line.number, error)
                continue
            if located is None:
                self._names.append(registrar)
            else:
                self._known[registrar] = located

    @property
    def open(self) -> bool:
        """Whether more may be known of them than at the start, or nothing at all is."""
        return bool(self._registrars) and (bool(self._names) or not self._known)

    @property
    def routes(self) -> tuple[TrunkRoute, ...]:
        """As far as they are known."""
        ranked = [
            ((index, route.priority), route)
            for index, registrar in enumerate(self._registrars)
            if registrar in self._known
            for route in self._known[registrar].routes
        ]
        ranks = {rank: position for position, rank in enumerate(sorted({rank for rank, _ in ranked}))}
        unique: dict[object, TrunkRoute] = {}
        for rank, route in ranked:
            unique.setdefault(route.key, replace(route, priority=ranks[rank]))
        return tuple(unique.values())

    async def look(self) -> float:
        """Look all names up; in how many s to look again. What cannot be looked up stays as it was."""
        wait = LONGEST_S
        for registrar in self._names:
            try:
                located = await self._locator.locate(registrar)
            except (RemoteProtocolError, OSError) as error:
                _log.error("the trunk %s of line %s cannot be resolved: %s", registrar, self.number, error)
                wait = min(wait, AGAIN_S)
                continue
            if located.certain or registrar not in self._known:
                self._known[registrar] = located
            wait = min(wait, located.ttl if located.certain else AGAIN_S)
        return max(wait, SHORTEST_S)


async def watch(line: LineRoutes, located: Callable[[str, Sequence[TrunkRoute]], None]) -> None:
    """Tell ``located`` whenever the line's PBXs are others; the first time in any case."""
    told: tuple[TrunkRoute, ...] | None = None
    while True:
        wait = await line.look()
        if line.routes != told:
            told = line.routes
            located(line.number, told)
        await asyncio.sleep(wait)
