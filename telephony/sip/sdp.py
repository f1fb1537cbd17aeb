"""Offer and answer of one audio stream in G.711 (RFC 3264): what we propose, what we choose, where the peer
wants its audio.

A peer's audio address is an IP address: resolving a name that a stranger sent is not for the media path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.session_description import (
    Connection,
    Direction,
    MediaDescription,
    Origin,
    Rtpmap,
    SessionDescription,
    parse_sdp,
)

__all__ = [
    "AudioTarget",
    "Connection",
    "Direction",
    "MediaDescription",
    "Origin",
    "Rtpmap",
    "SessionDescription",
    "accept",
    "answer",
    "offer",
    "parse_sdp",
]

PCMU = 0
PCMA = 8
PACKET_MS = 20
_NAMES = {PCMU: "PCMU", PCMA: "PCMA"}
_CLOCK_HZ = 8000
_FIRST_DYNAMIC = 96
_EVENTS = "0-15"
_NOWHERE = frozenset({"0.0.0.0", "::"})
_SENDS = frozenset({"sendrecv", "sendonly"})
_RECEIVES = frozenset({"sendrecv", "recvonly"})
_DIRECTION: dict[tuple[bool, bool], Direction] = {
    (True, True): "sendrecv",
    (True, False): "sendonly",
    (False, True): "recvonly",
    (False, False): "inactive",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTarget:
    """Where and how to send audio to the peer.

    ``host`` is an IP address without brackets, ``payload_type`` 0 (PCMU) or 8 (PCMA; RFC 3551) names the codec.
    ``wire_payload_type`` is the number that packets in both directions carry: the same, unless the peer offered G.711
    under a dynamic number (96..127). ``telephone_event`` is the payload type of RFC 4733 that the peer reads, None
    where it reads none. ``direction`` is ours: in "recvonly" and "inactive" the peer does not want to hear us.
    ``ptime`` is in ms, None where the peer said nothing.
    """

    host: str
    port: int
    payload_type: int
    wire_payload_type: int
    telephone_event: int | None
    direction: Direction
    ptime: int | None

    @property
    def nowhere(self) -> bool:
        """Whether the address is one of zeros, with which RFC 2543 put a call on hold."""
        return self.host in _NOWHERE


def offer(
    *,
    host: str,
    port: int,
    codecs: Iterable[int] = (PCMA, PCMU),
    telephone_event: int | None = 101,
    session_id: int,
    version: int,
    direction: Direction = "sendrecv",
) -> SessionDescription:
    """An offer of one audio stream at ``host``:``port`` with ``codecs`` in our order of preference."""
    connection = _own_connection(host)
    audio = _audio(port, {codec: codec for codec in codecs}, telephone_event, direction)
    return SessionDescription(
        origin=Origin(session_id=str(session_id), version=str(version), connection=connection),
        connection=connection,
        media=(audio,),
    )


def answer(
    offer: SessionDescription,
    *,
    host: str,
    port: int,
    session_id: int,
    version: int,
    codecs: Iterable[int] = (PCMA, PCMU),
    direction: Direction = "sendrecv",
) -> tuple[SessionDescription, AudioTarget]:
    """Our answer to ``offer`` and where its sender wants the audio (RFC 3264 section 6).

    The first usable audio stream is taken with the first of its formats that is in ``codecs``; every other
    stream is refused with port 0. ``direction`` is what we want; the answer holds what the offer allows of
    it. Raises RemoteProtocolError (488) where no stream is usable.
    """
    allowed = frozenset(codecs)
    chosen = _first_usable(offer, allowed)
    target = _target(offer, offer.media[chosen], allowed, direction)
    connection = _own_connection(host)
    accepted = _audio(port, {target.wire_payload_type: target.payload_type}, target.telephone_event, target.direction)
    description = SessionDescription(
        origin=Origin(session_id=str(session_id), version=str(version), connection=connection),
        connection=connection,
        times=offer.times,
        media=tuple(accepted if place == chosen else _refused(media) for place, media in enumerate(offer.media)),
    )
    return description, target


def accept(answer: SessionDescription) -> AudioTarget:
    """Where the answerer wants our audio.

    Raises RemoteProtocolError (488) for an answer without a usable audio stream.
    """
    allowed = frozenset(_NAMES)
    return _target(answer, answer.media[_first_usable(answer, allowed)], allowed, "sendrecv")


def _own_connection(host: str) -> Connection:
    try:
        version = ip_address(host).version
    except ValueError:
        raise LocalProtocolError("our audio address is no IP address") from None
    return Connection(host=host, address_type=f"IP{version}")


def _audio(port: int, codecs: Mapping[int, int], telephone_event: int | None, direction: Direction) -> MediaDescription:
    """``codecs``: PCMU or PCMA by the payload type that stands for it on the wire."""
    if not codecs or not _NAMES.keys() >= set(codecs.values()):
        raise LocalProtocolError("only PCMU (0) and PCMA (8) can be offered")
    rtpmap = {number: Rtpmap(name=_NAMES[codec], clock=_CLOCK_HZ) for number, codec in codecs.items()}
    fmtp = {}
    if telephone_event is not None:
        rtpmap[telephone_event] = Rtpmap(name="telephone-event", clock=_CLOCK_HZ)
        fmtp[telephone_event] = _EVENTS
    return MediaDescription(
        kind="audio",
        port=port,
        protocol="RTP/AVP",
        formats=tuple(rtpmap),
        rtpmap=rtpmap,
        fmtp=fmtp,
        direction=direction,
        ptime=PACKET_MS,
    )


def _refused(media: MediaDescription) -> MediaDescription:
    return MediaDescription(
        kind=media.kind, port=0, protocol=media.protocol, formats=media.formats, direction="inactive"
    )


def _first_usable(description: SessionDescription, allowed: frozenset[int]) -> int:
    for place, media in enumerate(description.media):
        plain_audio = media.kind == "audio" and media.protocol == "RTP/AVP" and media.port > 0
        if plain_audio and _codec(media, allowed) is not None:
            return place
    raise RemoteProtocolError(488, "No audio stream in PCMA or PCMU over RTP/AVP")


def _codec(media: MediaDescription, allowed: frozenset[int]) -> tuple[int, int] | None:
    """The first G.711 format as payload type and codec, one under its static number before any other.

    A static number that an rtpmap gives another meaning is none; a dynamic one (RFC 3551 section 3) is what its
    rtpmap says.
    """
    formats = [payload_type for payload_type in media.formats if isinstance(payload_type, int)]
    for payload_type in sorted(formats, key=lambda number: number not in _NAMES):
        codec = _codec_of(payload_type, media.rtpmap.get(payload_type))
        if codec is not None and codec in allowed:
            return payload_type, codec
    return None


def _codec_of(payload_type: int, rtpmap: Rtpmap | None) -> int | None:
    if payload_type in _NAMES:
        return payload_type if rtpmap is None or _is(rtpmap, _NAMES[payload_type]) else None
    if rtpmap is None or payload_type < _FIRST_DYNAMIC:
        return None
    return next((codec for codec, name in _NAMES.items() if _is(rtpmap, name)), None)


def _telephone_event(media: MediaDescription) -> int | None:
    for payload_type in media.formats:
        if isinstance(payload_type, int) and payload_type not in _NAMES:
            rtpmap = media.rtpmap.get(payload_type)
            if rtpmap is not None and _is(rtpmap, "telephone-event"):
                return payload_type
    return None


def _is(rtpmap: Rtpmap, name: str) -> bool:
    return rtpmap.name.upper() == name.upper() and rtpmap.clock == _CLOCK_HZ and rtpmap.channels == 1


def _target(
    description: SessionDescription, media: MediaDescription, allowed: frozenset[int], wanted: Direction
) -> AudioTarget:
    chosen = _codec(media, allowed)
    connection = description.connection_of(media)
    if chosen is None or connection is None:
        raise RemoteProtocolError(488, "Audio stream without a codec or an address")
    address = _peer_address(connection)
    # An address of zeros is how RFC 2543 put a call on hold: the peer then hears nothing.
    held = address in _NOWHERE
    sends = wanted in _SENDS and media.direction in _RECEIVES and not held
    receives = wanted in _RECEIVES and media.direction in _SENDS
    return AudioTarget(
        host=address,
        port=media.port,
        payload_type=chosen[1],
        wire_payload_type=chosen[0],
        telephone_event=_telephone_event(media),
        direction=_DIRECTION[sends, receives],
        ptime=media.ptime,
    )


def _peer_address(connection: Connection) -> str:
    try:
        address = ip_address(connection.host)
    except ValueError:
        raise RemoteProtocolError(488, "Audio address is no IP address") from None
    if address.is_multicast or f"IP{address.version}" != connection.address_type:
        raise RemoteProtocolError(488, "Audio address is not usable")
    return str(address)
