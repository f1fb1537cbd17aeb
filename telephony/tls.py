"""TLS for SIP (RFC 3261 section 26, RFC 5922): certificates in, contexts and verdicts out.

Both sides verify the chain against the configured authorities; whose certificate it is, is then compared with the
domain we meant, since the library's own host name check knows nothing of ``sip:`` names.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from telephony.sip.certificates import Certificate, speaks_for, speaks_for_any


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """PEM files. ``authorities`` None: those of the system.

    ``client_certificates``: a peer that connects must show one (mutual TLS), and where ``peer_domains`` are given it
    must speak for one of them.
    """

    certificate: Path
    key: Path
    authorities: Path | None = None
    client_certificates: bool = False
    peer_domains: tuple[str, ...] = ()


class Tls:
    """The contexts of one endpoint. Raises OSError (ssl.SSLError included) where a file cannot be used."""

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self.server = _context(ssl.PROTOCOL_TLS_SERVER, settings)
        self.server.verify_mode = ssl.CERT_REQUIRED if settings.client_certificates else ssl.CERT_NONE
        self.client = _context(ssl.PROTOCOL_TLS_CLIENT, settings)
        self.reload()

    def reload(self) -> None:
        """Take up a renewed certificate; connections that are up stay as they are."""
        for context in (self.server, self.client):
            context.load_cert_chain(self._settings.certificate, self._settings.key)

    def admits(self, certificate: Certificate | None) -> bool:
        """Whether the peer that connected, with this verified certificate, may stay."""
        domains = self._settings.peer_domains
        if not self._settings.client_certificates or not domains:
            return True
        return speaks_for_any(certificate or {}, domains)

    def is_peer(self, certificate: Certificate | None, domain: str) -> bool:
        """Whether the peer we connected to is ``domain`` (RFC 5922 section 7.3)."""
        return speaks_for(certificate or {}, domain)


def _context(protocol: int, settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False  # RFC 5922 instead: is_peer
    if protocol == ssl.PROTOCOL_TLS_CLIENT:
        context.verify_mode = ssl.CERT_REQUIRED
    if settings.authorities is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cafile=settings.authorities)
    return context
