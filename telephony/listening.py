"""Where the line listens, from the settings to addresses, and what it is to others."""

from __future__ import annotations

from config.settings import SipSettings
from telephony.sip.flow import Address, Transport
from telephony.sockets import Listen
from telephony.tls import TlsSettings


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


def near_end(sip: SipSettings, transport: Transport, remote: str) -> Address | None:
    """What we are to ``remote``: the listener of the same family, of the same transport where there is one."""
    fitting = [each for each in listens(sip) if (":" in each.host) is (":" in remote)]
    chosen = next((each for each in fitting if each.transport == transport), next(iter(fitting), None))
    return None if chosen is None else (chosen.advertised_host or chosen.host, chosen.port)
