"""The phone holds its caller, who hears music, and comes back; the codec changes in the middle of a call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from telephony.rtp.music import hold_music
from tests.interop.cells import proves
from tests.line.book import Book
from tests.line.conftest import DESK
from tests.line.desk import Desk
from tests.line.service import Service
from tests.peers.audio import account, align, decode_alaw
from tests.peers.ladder import Ladder, sdp
from tests.peers.rtp_peer import PCMU, RtpPeer
from tests.peers.sipp import Sipp

pytestmark = pytest.mark.peer

OpenPeer = Callable[..., RtpPeer]
EXTENSION = "1001"


def phone(port: int, *, method: str, first: str, then: str, codec: int = 8, between_ms: int = 1500) -> Ladder:
    """Answers at ``port``, says ``first`` by ``method`` a second later, and ``then`` after ``between_ms`` more."""
    ladder = (
        Ladder("phone_changes", user=EXTENSION)
        .invited()
        .answer(180, "Ringing", invite=True)
        .answer(200, "OK", invite=True, body=sdp(port))
        .receive("ACK")
        .pause(1000)
    )
    for cseq, body in enumerate((first, then), 1):
        ladder.request(method, cseq, body=body).receive(100, optional=True).receive(200)
        if method == "INVITE":
            ladder.request("ACK", cseq)
        ladder.pause(between_ms)
    return ladder.receive("BYE").answer(200, "OK")


@proves("SIPp", "desk phone", "both voices", "holds")
@proves("SIPp", "caller", "both voices", "is held")
@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_on_hold_the_caller_hears_music_and_the_recording_goes_on(
    service: Service, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str, method: str
) -> None:
    """RFC 3264 8.4: what either side says meanwhile is recorded and heard by nobody; afterwards both hear again."""
    handset, caller_ear = rtp_peer(), rtp_peer()
    said, answered = utterance, utterance[::-1]
    held, back = (sdp(handset.port, direction=way, version=at) for at, way in ((2, "sendonly"), (3, "sendrecv")))
    ladder = phone(handset.port, method=method, first=held, then=back)
    at_the_desk = ladder.start(sipp)
    desk.register(EXTENSION, at_the_desk.port)
    caller = sipp.start(
        "caller_external_media",
        remote=service.address,
        values={"line": DESK, "caller": number, "media_port": caller_ear.port, "talk_ms": 4300},
    )
    to_officer, to_caller = at_the_desk.wait_for_audio_address(), caller.wait_for_audio_address()
    handset.send(answered, to_officer)
    caller_ear.send(said, to_caller)
    caller.wait().check()
    at_the_desk.wait().check()
    page = book.ended(number)
    assert page.kinds[-3:] == ["held", "resumed", "ended"]
    recorded = book.voices(page)
    assert account(said, recorded[0]).perfect
    assert account(answered, recorded[1]).perfect
    heard = caller_ear.heard()
    stream = caller_ear.account()
    assert (stream.lost, stream.duplicated, len(stream.ssrcs)) == (0, 0, 1)
    assert _music(heard) > 0.95
    for voice, ear in ((answered, heard), (said, handset.heard())):
        lost = account(voice, ear).lost
        assert 70 <= len(lost) <= 85
        assert lost == tuple(range(lost[0], lost[-1] + 1))
        assert lost[-1] < len(voice) // 160 - 1


def _music(heard: bytes) -> float:
    """How well a second of the hold music is found in what was heard."""
    melody = hold_music()[:8000]
    return align(melody, decode_alaw(heard)).correlation


@pytest.mark.rule("6.1-d")
def test_the_codec_changes_in_the_middle_of_the_call(
    service: Service, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    """PCMA to PCMU at the phone's side only (RFC 3264 8.3.2): relay, recording and its clock stay straight."""
    handset, caller_ear = rtp_peer(), rtp_peer()
    said = utterance
    again = sdp(handset.port, codec=PCMU, version=2)
    at_the_desk = phone(handset.port, method="INVITE", first=again, then=again, between_ms=1000).start(sipp)
    desk.register(EXTENSION, at_the_desk.port)
    caller = sipp.start(
        "caller_external_media",
        remote=service.address,
        values={"line": DESK, "caller": number, "media_port": caller_ear.port, "talk_ms": 4300},
    )
    to_officer, to_caller = at_the_desk.wait_for_audio_address(), caller.wait_for_audio_address()
    caller_ear.send(said, to_caller)
    changed = at_the_desk.wait_for_message(
        lambda one: one.direction == "received" and one.status == 200 and "CSeq: 1 INVITE" in one.text
    )
    assert f" RTP/AVP {PCMU} 101" in changed.body
    handset.send(_mulaw(utterance[::-1][: 100 * 160]), to_officer, payload_type=PCMU)
    caller.wait().check()
    at_the_desk.wait().check()
    page = book.ended(number)
    assert "held" not in page.kinds
    assert account(said, book.voices(page)[0]).perfect
    heard = [packet.payload_type for packet in handset.received]
    assert 40 <= heard.count(8) <= 90
    assert heard == sorted(heard, reverse=True)  # PCMA, then PCMU, and never back
    stream = handset.account()
    assert (stream.lost, stream.duplicated, len(stream.ssrcs), stream.timestamp_steps) == (0, 0, 1, {160})
    assert {packet.payload_type for packet in caller_ear.received} == {8}
    sound = decode_alaw(caller_ear.heard())
    assert align(decode_alaw(utterance[::-1][: 100 * 160]), sound).correlation > 0.98
    officer = book.sound(page)[:, 1]
    assert align(decode_alaw(utterance[::-1][: 100 * 160]), officer).correlation > 0.98


def _mulaw(alaw: bytes) -> bytes:
    """The same sound in µ-law, worked out here (ITU-T G.711): 8 bits of sign, segment and step."""
    out = bytearray()
    for sample in decode_alaw(alaw).astype(np.int32):
        magnitude = min(abs(int(sample)), 32_635) + 132
        segment = magnitude.bit_length() - 8
        step = (magnitude >> (segment + 3)) & 0x0F
        out.append(~((0x80 if sample < 0 else 0) | segment << 4 | step) & 0xFF)
    return bytes(out)
