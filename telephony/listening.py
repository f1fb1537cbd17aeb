"""Where the line listens and by which way its PBX is reached, from the settings to addresses."""

from __future__ import annotations

import socket

from config.settings import SipSettings
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Address, Flow, Transport
from telephony.sip.target import target_of
from telephony.sip.uri import SipUri, parse_uri
from telephony.sockets import Listen
from telephony.tls import TlsSettings
from telephony.trunk_target import TrunkRoute


def listens(sip: SipSettings) -> list[Listen]:
    """The addresses to listen at; host and port by UDP and TCP where none are named."""
    if not sip.listen:
        return [Listen(by, sip.host, sip.port, sip.advertised_host) for by in ("UDP", "TCP")]
    return [Listen(each.transport, each.host, each.port, each.advertised_host) for each in sip.listen]


def certificates(sip: SipSettings) -> TlsSettings | None:
    """Our certificate and whose we believe; None where TLS is not set up."""
    tls = sip.tls
    if tls.certificate is None or tls.key is None:
        return None
    return TlsSettings(
        certificate=tls.certificate,
        key=tls.key,
        authorities=tls.authorities,
        client_certificates=tls.client_certificates,
        peer_domains=tls.peer_domains,
    )


def own_address(sip: SipSettings) -> Address:
    """Where this machine reaches the line by UDP; host and port where it does not listen by UDP."""
    return next(((each.host, each.port) for each in listens(sip) if each.transport == "UDP"), (sip.host, sip.port))


def route_to(registrar: str, sip: SipSettings) -> TrunkRoute:
    """The PBX, resolved. Raises RemoteProtocolError for what is no SIP URI or needs a transport that is not set up,
    OSError for a name that does not resolve to an address we can reach."""
    uri = parse_uri(registrar)
    if not isinstance(uri, SipUri):
        raise RemoteProtocolError(400, "a trunk's registrar is a sip: or sips: URI")
    target = target_of(uri)
    if target.transport == "TLS" and certificates(sip) is None:
        raise RemoteProtocolError(503, "TLS needs a certificate and a key in [sip.tls]")
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
    hosts = [str(each[4][0]) for each in found if each[0] in (socket.AF_INET, socket.AF_INET6)]
    ways = [(host, near) for host in hosts if (near := _near_end(sip, target.transport, host)) is not None]
    if not ways:
        raise OSError(f"no address for {target.host} that can be reached from where the line listens")
    host, local = ways[0]
    flow = Flow(transport=target.transport, remote=(host, target.port), local=local)
    return TrunkRoute(flow=flow, domain=f"{uri.host}:{uri.port}" if uri.port else uri.host, name=target.host)


def _near_end(sip: SipSettings, transport: Transport, remote: str) -> Address | None:
    """What we are to ``remote``: the listener of the same family, of the same transport where there is one."""
    fitting = [each for each in listens(sip) if (":" in each.host) is (":" in remote)]
    chosen = next((each for each in fitting if each.transport == transport), next(iter(fitting), None))
    return None if chosen is None else (chosen.advertised_host or chosen.host, chosen.port)
