"""Offer and answer of one audio stream (RFC 3264): what we propose, what we choose, where the peer wants its audio, and
by which keys it is encrypted (RFC 4568).

A peer's audio address is an IP address: resolving a name that a stranger sent is not for the media path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple

from telephony.sip.audio_formats import G722, NAMES, PCMA, PCMU, audio, choose, codecs_of, telephone_event
from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.security_description import CryptoAttribute, MediaKeys, read_cryptos
from telephony.sip.session_description import (
    Attribute,
    Connection,
    Direction,
    MediaDescription,
    Origin,
    Rtpmap,
    SessionDescription,
    parse_sdp,
)

__all__ = [
    "G711",
    "G722",
    "PCMA",
    "PCMU",
    "WRONG_FAMILY",
    "AudioTarget",
    "Connection",
    "Direction",
    "MediaDescription",
    "Origin",
    "Rtpmap",
    "Security",
    "SessionDescription",
    "accept",
    "answer",
    "asks_fax",
    "offer",
    "offered_codecs",
    "parse_sdp",
]

G711 = (PCMA, PCMU)
PLAIN = "RTP/AVP"
SECURE = "RTP/SAVP"
WRONG_FAMILY = "Audio address of an IP version that this side does not have"
_NOWHERE = frozenset({"0.0.0.0", "::"})
_RTCP = re.compile(r"([0-9]{1,5})(?:[ \t]++IN[ \t]++IP[46][ \t]++([0-9A-Fa-f.:]++))?[ \t]*+")
_SENDS = frozenset({"sendrecv", "sendonly"})
_RECEIVES = frozenset({"sendrecv", "recvonly"})
_DIRECTION: dict[tuple[bool, bool], Direction] = {
    (True, True): "sendrecv",
    (True, False): "sendonly",
    (False, True): "recvonly",
    (False, False): "inactive",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What holds for encrypted media in one description. ``keys`` are ours by suite, empty where none may be told;
    ``required``: audio that is not encrypted is refused; ``hindrance`` says why no key may be told."""

    keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    required: bool = False
    hindrance: str = "Encrypted media are switched off on this side"


NO_SECURITY = Security()


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTarget:
    """Where and how to send audio to the peer.

    ``host`` is an IP address without brackets, ``payload_type`` 0 (PCMU), 8 (PCMA) or 9 (G722; RFC 3551) names the
    codec. ``wire_payload_type`` is the number that packets in both directions carry: the same, unless the peer offered
    the codec under a dynamic number (96..127). ``telephone_event`` is the payload type of RFC 4733 that the peer reads,
    None where it reads none. ``direction`` is ours: in "recvonly" and "inactive" the peer does not want to hear us.
    ``ptime`` is in ms, None where the peer said nothing. ``keys`` encrypt both ways, None for plain RTP. ``rtcp_port``
    is where the peer takes reports, at ``host``: the media's own with RTP and RTCP on one port (RFC 5761).
    """

    host: str
    port: int
    payload_type: int
    wire_payload_type: int
    telephone_event: int | None
    direction: Direction
    ptime: int | None
    rtcp_port: int
    keys: MediaKeys | None = None

    @property
    def rtcp_mux(self) -> bool:
        """Whether reports share the port of the media."""
        return self.rtcp_port == self.port

    @property
    def nowhere(self) -> bool:
        """Whether the address is one of zeros, with which RFC 2543 put a call on hold."""
        return self.host in _NOWHERE


class _Choice(NamedTuple):
    """The stream that is used: its place, format and codec, and the peer's key where it is encrypted."""

    place: int
    number: int
    codec: int
    crypto: CryptoAttribute | None


def offer(
    *,
    host: str,
    port: int,
    codecs: Iterable[int] = G711,
    telephone_event: int | None = 101,
    session_id: int,
    version: int,
    direction: Direction = "sendrecv",
    cryptos: tuple[CryptoAttribute, ...] = (),
    required: bool = False,
) -> SessionDescription:
    """An offer of one audio stream at ``host``:``port`` with ``codecs`` in our order of preference.

    With ``cryptos`` it may be encrypted: they stand beside plain RTP, which a peer that cannot encrypt then answers;
    where it is ``required`` the offer is RTP/SAVP and nothing else.
    """
    connection = _own_connection(host)
    section = audio(
        port=port,
        protocol=SECURE if required else PLAIN,
        codecs={codec: codec for codec in codecs},
        event=telephone_event,
        direction=direction,
        attributes=tuple(("crypto", str(each)) for each in cryptos),
    )
    return SessionDescription(
        origin=Origin(session_id=str(session_id), version=str(version), connection=connection),
        connection=connection,
        media=(section,),
    )


def answer(
    offer: SessionDescription,
    *,
    host: str,
    port: int,
    session_id: int,
    version: int,
    codecs: Iterable[int] = G711,
    preferred: int | None = None,
    direction: Direction = "sendrecv",
    security: Security = NO_SECURITY,
) -> tuple[SessionDescription, AudioTarget]:
    """Our answer to ``offer`` and where its sender wants the audio (RFC 3264 section 6).

    The first usable audio stream is taken, an encrypted one before a plain one, with the first of its formats that is
    in ``codecs``, or the ``preferred`` one where it is among them; every other stream is refused with port 0. A stream
    whose address is of another IP version than ``host`` is not usable, so that of two alternatives (RFC 4091) the right
    one is taken.
    ``direction`` is what we want; the answer holds what the offer allows of it. Raises RemoteProtocolError (488) where
    no stream is usable.
    """
    chosen = _usable(offer, frozenset(codecs), security, preferred, host)
    media = offer.media[chosen.place]
    keys: MediaKeys | None = None
    attributes: tuple[Attribute, ...] = ()
    if chosen.crypto is not None:
        own = security.keys[chosen.crypto.suite]
        keys = MediaKeys(suite=chosen.crypto.suite, send=own, receive=chosen.crypto.key)
        attributes = (("crypto", str(CryptoAttribute(tag=chosen.crypto.tag, suite=keys.suite, key=own))),)
    mux: tuple[Attribute, ...] = (("rtcp-mux", None),) if _muxed(media) else ()
    target = _target(offer, chosen, direction, keys, mux=bool(mux))
    connection = _own_connection(host)
    accepted = audio(
        port=port,
        protocol=media.protocol,
        codecs={target.wire_payload_type: target.payload_type},
        event=target.telephone_event,
        direction=target.direction,
        attributes=(*attributes, *mux),
    )
    description = SessionDescription(
        origin=Origin(session_id=str(session_id), version=str(version), connection=connection),
        connection=connection,
        times=offer.times,
        media=tuple(accepted if place == chosen.place else _refused(each) for place, each in enumerate(offer.media)),
    )
    return description, target


def accept(
    answer: SessionDescription,
    *,
    host: str,
    codecs: Iterable[int] = G711,
    cryptos: tuple[CryptoAttribute, ...] = (),
    required: bool = False,
) -> AudioTarget:
    """Where the answerer wants our audio. ``host`` and ``cryptos`` are those of our offer; it may have taken one of
    these.

    Raises RemoteProtocolError (488) for an answer without a usable audio stream, or one that is not encrypted where
    that is ``required``.
    """
    own = {each.suite: each.key for each in cryptos}
    chosen = _usable(answer, frozenset(codecs), Security(keys=own, required=required), None, host)
    keys = None
    if chosen.crypto is not None:
        taken = (chosen.crypto.tag, chosen.crypto.suite)
        if taken not in {(each.tag, each.suite) for each in cryptos}:
            raise RemoteProtocolError(488, "Answer with a crypto attribute that was not offered")
        keys = MediaKeys(suite=chosen.crypto.suite, send=own[chosen.crypto.suite], receive=chosen.crypto.key)
    return _target(answer, chosen, "sendrecv", keys, mux=False)


def offered_codecs(description: SessionDescription) -> tuple[int, ...]:
    """The codecs of ours in the first audio stream, in its order."""
    return next((codecs_of(media) for media in description.media if media.kind == "audio" and media.port > 0), ())


def asks_fax(description: SessionDescription) -> bool:
    """Whether a stream of T.38 fax is wanted (ITU-T T.38 Annex D, RFC 3362)."""
    return any(media.kind == "image" and media.port > 0 and "t38" in media.formats for media in description.media)


def _own_connection(host: str) -> Connection:
    try:
        version = ip_address(host).version
    except ValueError:
        raise LocalProtocolError("our audio address is no IP address") from None
    return Connection(host=host, address_type=f"IP{version}")


def _refused(media: MediaDescription) -> MediaDescription:
    return MediaDescription(
        kind=media.kind, port=0, protocol=media.protocol, formats=media.formats, direction="inactive"
    )


def _usable(
    description: SessionDescription, allowed: frozenset[int], security: Security, preferred: int | None, host: str
) -> _Choice:
    plain: _Choice | None = None
    barred = unreachable = False
    for place, media in enumerate(description.media):
        if media.kind != "audio" or media.protocol not in (PLAIN, SECURE) or media.port == 0:
            continue
        found = choose(media, allowed, preferred)
        if found is None:
            continue
        if not _is_reachable(description.connection_of(media), host):
            unreachable = True
            continue
        crypto = next((each for each in read_cryptos(media.attributes) if each.suite in security.keys), None)
        if crypto is not None:
            return _Choice(place, *found, crypto)
        if media.protocol == SECURE:
            barred = True
        else:
            plain = plain or _Choice(place, *found, None)
    if plain is not None and not security.required:
        return plain
    if unreachable and plain is None and not barred:
        raise RemoteProtocolError(488, WRONG_FAMILY)
    raise RemoteProtocolError(488, _why_not(security, allowed, barred=barred, plain=plain is not None))


def _why_not(security: Security, allowed: frozenset[int], *, barred: bool, plain: bool) -> str:
    """What was wrong with the audio streams, in the words of a Warning."""
    if barred:
        return "No usable crypto attribute" if security.keys else security.hindrance
    if plain:
        return "Audio that is not encrypted is refused on this side" if security.keys else security.hindrance
    return f"No audio stream in {', '.join(NAMES[codec] for codec in NAMES if codec in allowed)} over RTP"


def _is_reachable(connection: Connection | None, host: str) -> bool:
    """False for an audio address of the other IP version; what is no address at all is told apart later."""
    if connection is None or connection.host in _NOWHERE:
        return True
    return connection.address_type == f"IP{ip_address(host).version}"


def _muxed(media: MediaDescription) -> bool:
    return ("rtcp-mux", None) in media.attributes


def _target(
    description: SessionDescription, chosen: _Choice, wanted: Direction, keys: MediaKeys | None, *, mux: bool
) -> AudioTarget:
    media = description.media[chosen.place]
    connection = description.connection_of(media)
    if connection is None:
        raise RemoteProtocolError(488, "Audio stream without an address")
    address = _peer_address(connection)
    # An address of zeros is how RFC 2543 put a call on hold: the peer then hears nothing.
    held = address in _NOWHERE
    sends = wanted in _SENDS and media.direction in _RECEIVES and not held
    receives = wanted in _RECEIVES and media.direction in _SENDS
    return AudioTarget(
        host=address,
        port=media.port,
        payload_type=chosen.codec,
        wire_payload_type=chosen.number,
        telephone_event=telephone_event(media),
        direction=_DIRECTION[sends, receives],
        ptime=media.ptime,
        rtcp_port=media.port if mux else _rtcp_port(media, address),
        keys=keys,
    )


def _rtcp_port(media: MediaDescription, host: str) -> int:
    """The port of a=rtcp (RFC 3605), else the one above the media's; 0 where there is none. Reports go to the host of
    the media and nowhere else, whatever the attribute says."""
    for name, value in media.attributes:
        match = _RTCP.fullmatch(value or "") if name == "rtcp" else None
        if match is not None and 0 < int(match[1]) <= 65535 and match[2] in (None, host):
            return int(match[1])
    return media.port + 1 if media.port < 65535 else 0


def _peer_address(connection: Connection) -> str:
    try:
        address = ip_address(connection.host)
    except ValueError:
        raise RemoteProtocolError(488, "Audio address is no IP address") from None
    if address.is_multicast or f"IP{address.version}" != connection.address_type:
        raise RemoteProtocolError(488, "Audio address is not usable")
    return str(address)
