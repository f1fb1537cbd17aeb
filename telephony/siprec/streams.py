"""The streams of a recording session (RFC 7866 section 7): each m= line is one voice, and each gets an answer of its
own: to one of our two channels, receiving only.

What an m= line may be, its codecs and protections, is decided by ``telephony.sip.sdp`` as for any call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from duty.domain.transcripts import Speaker
from telephony.sip import sdp
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.sdp import NO_SECURITY, AudioTarget, Security
from telephony.sip.session_description import MediaDescription, SessionDescription

Claim = Callable[[str], Speaker | None]
"""Whose voice the stream with a label is, None where nobody says."""

_SENDS = frozenset({"sendrecv", "sendonly"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where one channel's voice is to come: our host and port, and what holds there for encrypted media."""

    local: tuple[str, int]
    security: Security = NO_SECURITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Our answer. ``targets`` tell where each channel's voice comes from, ``labels`` those of the streams that send
    now, ``refused`` those of voices that have no channel left."""

    description: SessionDescription
    targets: Mapping[Speaker, AudioTarget]
    labels: tuple[str, ...]
    refused: tuple[str, ...]


def answer_streams(
    offer: SessionDescription,
    *,
    channels: Mapping[Speaker, Channel],
    codecs: Iterable[int],
    claim: Claim,
    session_id: int,
    version: int,
) -> Answered:
    """Our answer to ``offer`` (or to what the client answers to an offer of ours), with ``codecs`` in our
    order.

    A stream that sends goes before one that pauses; of two that claim one channel the first has it. A paused stream
    without a channel is answered as paused, any other without one is refused with port 0. Raises RemoteProtocolError
    (488) where no stream can be taken.
    """

    taken = tuple(codecs)

    def one(place: int, speaker: Speaker) -> tuple[SessionDescription, AudioTarget]:
        host, port = channels[speaker].local
        return sdp.answer(
            replace(offer, media=(offer.media[place],)),
            host=host,
            port=port,
            session_id=session_id,
            version=version,
            codecs=taken,
            direction="recvonly",
            security=channels[speaker].security,
        )

    usable = [place for place in range(len(offer.media)) if _is_usable(one, place)]
    if not usable:
        raise RemoteProtocolError(488, "No audio stream that can be recorded")
    sending = [place for place in usable if offer.media[place].direction in _SENDS]
    paused = [place for place in usable if place not in sending]
    given = _channels(sending, paused, lambda place: claim(label(offer.media[place])))
    answers = {place: one(place, given.get(place, Speaker.CALLER)) for place in (*given, *paused)}
    first = next(iter(answers.values()))[0]
    return Answered(
        description=replace(first, media=tuple(_media(offer, place, answers) for place in range(len(offer.media)))),
        targets={speaker: answers[place][1] for place, speaker in given.items()},
        labels=tuple(label(offer.media[place]) for place in sending),
        refused=tuple(label(offer.media[place]) for place in sending if place not in given),
    )


def label(media: MediaDescription) -> str:
    """The ``a=label`` of an m= line (RFC 4574), "" where it has none."""
    return next((value or "" for name, value in media.attributes if name == "label"), "")


def _is_usable(one: Callable[[int, Speaker], object], place: int) -> bool:
    try:
        one(place, Speaker.CALLER)
    except RemoteProtocolError:
        return False
    return True


def _channels(sending: list[int], paused: list[int], claim: Callable[[int], Speaker | None]) -> dict[int, Speaker]:
    """Which place has which channel: who sends first, a claimed channel before one that is only free. A voice whose own
    channel is taken never gets one that another claims: nobody shall be heard as somebody else."""
    claims = {place: claim(place) for place in (*sending, *paused)}
    found: dict[int, Speaker] = {}
    for places in (sending, paused):
        for place in places:
            wanted = claims[place]
            if wanted is not None and wanted not in found.values():
                found[place] = wanted
        for place in places:
            free = [speaker for speaker in Speaker if speaker not in found.values()]
            unclaimed = [speaker for speaker in free if speaker not in claims.values()]
            left = unclaimed or (free if claims[place] is None else [])
            if place not in found and left:
                found[place] = left[0]
    return found


def _media(
    offer: SessionDescription, place: int, answers: Mapping[int, tuple[SessionDescription, AudioTarget]]
) -> MediaDescription:
    media = offer.media[place]
    if place not in answers:
        return MediaDescription(
            kind=media.kind, port=0, protocol=media.protocol, formats=media.formats, direction="inactive"
        )
    answered = answers[place][0].media[0]
    named = label(media)
    return replace(answered, attributes=(*answered.attributes, ("label", named))) if named else answered
