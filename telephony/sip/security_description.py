"""Keys for encrypted media in a session description: the crypto attribute (RFC 4568, its suites RFC 3711 and RFC 7714).

A key that is read here leaves only as bytes in values whose ``repr`` hides it; ``masked`` takes keys out of a message
that is to be kept.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

AES_80 = "AES_CM_128_HMAC_SHA1_80"
AES_32 = "AES_CM_128_HMAC_SHA1_32"
GCM_128 = "AEAD_AES_128_GCM"
GCM_256 = "AEAD_AES_256_GCM"
KEY_BYTES: Mapping[str, int] = {GCM_256: 44, GCM_128: 28, AES_80: 30, AES_32: 30}
"""Bytes of master key and salt together, by suite (RFC 4568 6.2, RFC 7714 14.2)."""
OFFERED = (GCM_256, GCM_128, AES_80)
"""Suites of our own offers; one with a tag of 32 bits is only ever accepted."""

_ATTRIBUTE = re.compile(r"([0-9]{1,9})[ \t]++([A-Za-z0-9_]++)[ \t]++inline:([^ \t;]++)((?:[ \t]++[^ \t]++)*+)[ \t]*+")
_LIFETIME = re.compile(r"(?:2\^)?[0-9]{1,15}")
_HARMLESS = ("-", "WSH=")
"""Beginnings of session parameters that may be passed over: the optional ones (RFC 4568 6.3.7), and the replay window,
which is the receiver's own matter."""
_KEY = re.compile(rb"(inline:)([A-Za-z0-9+/=]+)|^(k=(?:base64|clear|uri):)([^\r\n]+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CryptoAttribute:
    """One a=crypto line that can be used: ``key`` is master key and salt, ``lifetime`` as written ("" for none),
    ``parameters`` the session parameters."""

    tag: int
    suite: str
    key: bytes = field(repr=False)
    lifetime: str = ""
    parameters: tuple[str, ...] = ()

    def __str__(self) -> str:
        inline = b64encode(self.key).decode() + (f"|{self.lifetime}" if self.lifetime else "")
        return " ".join((str(self.tag), self.suite, f"inline:{inline}", *self.parameters))


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaKeys:
    """What encrypts a stream each way, ``send`` being ours: master key and salt of ``suite``."""

    suite: str
    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)


def parse_crypto(value: str) -> CryptoAttribute | None:
    """The attribute in ``value``; None for one that cannot be used: malformed, an unknown suite, several keys or a key
    with an MKI, or a session parameter that changes the protection."""
    match = _ATTRIBUTE.fullmatch(value)
    if match is None or match[2] not in KEY_BYTES:
        return None
    encoded, *rest = match[3].split("|")
    parameters = tuple(match[4].split())
    if len(rest) > 1 or not all(_LIFETIME.fullmatch(text) for text in rest):
        return None
    if not all(each.startswith(_HARMLESS) for each in parameters):
        return None
    try:
        key = b64decode(encoded, validate=True)
    except (Base64Error, ValueError):
        return None
    if len(key) != KEY_BYTES[match[2]]:
        return None
    return CryptoAttribute(
        tag=int(match[1]), suite=match[2], key=key, lifetime=rest[0] if rest else "", parameters=parameters
    )


def read_cryptos(attributes: Iterable[tuple[str, str | None]]) -> tuple[CryptoAttribute, ...]:
    """The usable a=crypto lines among the attributes of a medium, in their order."""
    read = (parse_crypto(value) for name, value in attributes if name == "crypto" and value is not None)
    return tuple(each for each in read if each is not None)


def masked(message: bytes) -> bytes:
    """``message`` with every key in it replaced by as many asterisks, so that all lengths stay right: what is kept as
    evidence must open no recording of the wire."""
    return _KEY.sub(lambda found: (found[1] or found[3]) + b"*" * len(found[2] or found[4]), message)
