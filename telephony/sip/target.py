"""From a URI to a transport and a port, and back to a Contact (RFC 3261 sections 18.1.1 and 19.1.2, RFC 5630).

Names are resolved at the edge; here it is decided what to resolve them for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Address, Flow, Transport
from telephony.sip.message import Request
from telephony.sip.uri import SipUri, parse_uri

PORTS: dict[Transport, int] = {"UDP": 5060, "TCP": 5060, "TLS": 5061}
"""The default port of each transport."""

_NAMED: dict[str, Transport] = {"udp": "UDP", "tcp": "TCP", "tls": "TLS"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a URI leads: ``host`` is a name or an address without brackets."""

    transport: Transport
    host: str
    port: int


def target_of(uri: SipUri, *, default: Transport = "UDP") -> Target:
    """Transport, host and port of ``uri``.

    ``sips`` is TLS whatever the transport parameter says of the layer below it (RFC 5630 section 3.1.2), and
    ``transport=tls`` means TLS as all phones use it, though RFC 3261 deprecated it. Raises RemoteProtocolError (503)
    for a transport that we do not have.
    """
    named = (uri.param("transport") or default).lower()
    if named not in _NAMED or (uri.scheme == "sips" and named == "udp" and uri.param("transport")):
        raise RemoteProtocolError(503, "Transport not available")
    transport = "TLS" if uri.scheme == "sips" else _NAMED[named]
    return Target(transport=transport, host=uri.host.strip("[]"), port=uri.port or PORTS[transport])


def contact_uri(user: str, flow: Flow, *, secure: bool = False) -> SipUri:
    """Our own contact at the near end of ``flow``. ``secure``: as ``sips``, which a request with a ``sips``
    Request-URI demands (RFC 3261 section 12.1.1); the transport is then said by the scheme."""
    params: tuple[tuple[str, str | None], ...] = ()
    if flow.transport != "UDP" and not secure:
        params = (("transport", flow.transport.lower()),)
    host, port = flow.local
    return SipUri(scheme="sips" if secure else "sip", user=user, host=bracketed(host), port=port, params=params)


def dialog_flow(request: Request, target: str, routes: Sequence[str], flow: Flow) -> Flow:
    """The flow for our requests within the dialog to which the peer's ``request`` belongs: back along its own, as NAT
    demands; but past a proxy that brought it and did not record a route, straight to ``target``, the peer's contact
    (RFC 3261 12.2.1.1): such a proxy takes no further part. UDP only, and only where the contact is an address."""
    if flow.transport != "UDP" or routes or len(request.vias) < 2:
        return flow
    try:
        uri = parse_uri(target)
        contact = target_of(uri) if isinstance(uri, SipUri) else None
    except RemoteProtocolError:
        return flow
    if contact is None or contact.transport != "UDP" or not is_address(contact.host):
        return flow
    same_family = (":" in contact.host) == (":" in flow.remote[0])
    return replace(flow, remote=(contact.host, contact.port)) if same_family else flow


def is_address(host: str) -> bool:
    """Whether it is an IP address, not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def bracketed(host: str) -> str:
    """An IPv6 address as URIs and Via write it, any other host unchanged."""
    return f"[{host}]" if ":" in host else host


def same_host(first: str, second: str) -> bool:
    """Whether two hosts, with or without brackets, are the same address (``::ffff:192.0.2.1`` is ``192.0.2.1``) or
    the same name."""
    return _plain(first) == _plain(second)


def same_address(first: Address, second: Address) -> bool:
    """Whether host and port are the same."""
    return first[1] == second[1] and same_host(first[0], second[0])


def _plain(host: str) -> str:
    host = host.strip("[]").lower()
    try:
        address = ip_address(host)
    except ValueError:
        return host.rstrip(".")
    return str(getattr(address, "ipv4_mapped", None) or address)
