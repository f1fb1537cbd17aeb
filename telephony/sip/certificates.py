"""Whose certificate it is: the SIP identities in a peer's X.509 certificate (RFC 5922 section 7).

The chain is verified by the TLS library; here it is read whom a verified certificate speaks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.uri import SipUri, parse_uri

Certificate = Mapping[str, Any]
"""A verified certificate as ``ssl.SSLSocket.getpeercert()`` gives it."""


def sip_identities(certificate: Certificate) -> tuple[str, ...]:
    """The SIP domains that ``certificate`` speaks for, in lower case (RFC 5922 section 7.1).

    ``sip:`` URIs without user part come first; where there is one, DNS names do not count. Without any subject
    alternative name the certificate speaks for nobody: the common name, which the RFC still allows, is no longer
    taken by certificate authorities.
    """
    names = _alternative_names(certificate)
    uris = [domain for kind, text in names if kind == "URI" and (domain := _sip_domain(text)) is not None]
    return tuple(uris) or tuple(text.lower().rstrip(".") for kind, text in names if kind == "DNS")


def speaks_for(certificate: Certificate, domain: str) -> bool:
    """Whether ``certificate`` belongs to ``domain``, compared without regard to case and without wildcards (RFC 5922
    section 7.2). A domain that is an IP address, as a PBX without a name has it, is compared with the certificate's
    addresses."""
    domain = domain.strip("[]").lower().rstrip(".")
    try:
        address = ip_address(domain)
    except ValueError:
        return domain in sip_identities(certificate)
    return address in _addresses(certificate)


def speaks_for_any(certificate: Certificate, domains: Iterable[str]) -> bool:
    """Whether ``certificate`` belongs to one of ``domains``."""
    return any(speaks_for(certificate, domain) for domain in domains)


def _alternative_names(certificate: Certificate) -> list[tuple[str, str]]:
    return [(str(kind), str(text)) for kind, text in certificate.get("subjectAltName", ())]


def _sip_domain(text: str) -> str | None:
    try:
        uri = parse_uri(text)
    except RemoteProtocolError:
        return None
    if not isinstance(uri, SipUri) or uri.scheme != "sip" or uri.user is not None:
        return None
    return uri.host.lower().rstrip(".")


def _addresses(certificate: Certificate) -> set[object]:
    found: set[object] = set()
    for kind, text in _alternative_names(certificate):
        if kind == "IP Address":
            try:
                found.add(ip_address(text))
            except ValueError:
                continue
    return found
