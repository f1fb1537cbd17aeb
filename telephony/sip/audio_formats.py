"""Which of a stream's formats is a codec of ours, under which payload type (RFC 3551), and which is telephone-event."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from telephony.sip.errors import LocalProtocolError
from telephony.sip.session_description import Direction, MediaDescription, Rtpmap

PCMU = 0
PCMA = 8
G722 = 9
NAMES: Mapping[int, str] = {PCMA: "PCMA", PCMU: "PCMU", G722: "G722"}
"""Codecs by static payload type, in our order of preference. The clock of G.722 is told as 8000 Hz though its audio has
16000 (RFC 3551 4.5.2)."""
PACKET_MS = 20
_CLOCK_HZ = 8000
_FIRST_DYNAMIC = 96
_EVENTS = "0-15"


def codecs_of(media: MediaDescription) -> tuple[int, ...]:
    """The codecs of ours in ``media``, in its order."""
    found = (_codec_of(number, media.rtpmap.get(number)) for number in media.formats if isinstance(number, int))
    return tuple(dict.fromkeys(codec for codec in found if codec is not None))


def choose(media: MediaDescription, allowed: Collection[int], preferred: int | None = None) -> tuple[int, int] | None:
    """The format to use as payload type and codec; None where none is ``allowed``.

    It is the ``preferred`` codec, else the first one, each under its static number before any other. A static number
    that an rtpmap gives another meaning is none; a dynamic one (RFC 3551 section 3) is what its rtpmap says.
    """
    found: list[tuple[int, int]] = []
    for number in sorted((each for each in media.formats if isinstance(each, int)), key=lambda each: each not in NAMES):
        codec = _codec_of(number, media.rtpmap.get(number))
        if codec is not None and codec in allowed:
            found.append((number, codec))
    return next((each for each in found if each[1] == preferred), found[0] if found else None)


def telephone_event(media: MediaDescription) -> int | None:
    """The payload type of RFC 4733 at the clock of our codecs, None where there is none."""
    for number in media.formats:
        if isinstance(number, int) and number not in NAMES:
            rtpmap = media.rtpmap.get(number)
            if rtpmap is not None and _is(rtpmap, "telephone-event"):
                return number
    return None


def audio(
    *,
    port: int,
    protocol: str,
    codecs: Mapping[int, int],
    event: int | None,
    direction: Direction,
    attributes: tuple[tuple[str, str | None], ...] = (),
) -> MediaDescription:
    """An audio section of ours. ``codecs``: codecs by the payload type that stands for each on the wire; ``event`` is
    the payload type of telephone-event. Raises LocalProtocolError for a codec that we lack."""
    if not codecs or not NAMES.keys() >= set(codecs.values()):
        raise LocalProtocolError("only PCMU (0), PCMA (8) and G722 (9) can be offered")
    rtpmap = {number: Rtpmap(name=NAMES[codec], clock=_CLOCK_HZ) for number, codec in codecs.items()}
    fmtp = {}
    if event is not None:
        rtpmap[event] = Rtpmap(name="telephone-event", clock=_CLOCK_HZ)
        fmtp[event] = _EVENTS
    return MediaDescription(
        kind="audio",
        port=port,
        protocol=protocol,
        formats=tuple(rtpmap),
        rtpmap=rtpmap,
        fmtp=fmtp,
        direction=direction,
        ptime=PACKET_MS,
        attributes=attributes,
    )


def _codec_of(number: int, rtpmap: Rtpmap | None) -> int | None:
    if number in NAMES:
        return number if rtpmap is None or _is(rtpmap, NAMES[number]) else None
    if rtpmap is None or number < _FIRST_DYNAMIC:
        return None
    return next((codec for codec, name in NAMES.items() if _is(rtpmap, name)), None)


def _is(rtpmap: Rtpmap, name: str) -> bool:
    return rtpmap.name.upper() == name.upper() and rtpmap.clock == _CLOCK_HZ and rtpmap.channels == 1
