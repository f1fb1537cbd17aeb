"""What happens while two people talk, or while somebody sends what nobody should."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.line.book import Book
from tests.line.conftest import DESK
from tests.line.desk import Desk
from tests.line.raw import RawCaller
from tests.line.service import Service, ask, options
from tests.peers.audio import account
from tests.peers.rtp_peer import RtpPeer, packetize
from tests.peers.sipp import Sipp

pytestmark = pytest.mark.peer

OpenPeer = Callable[..., RtpPeer]


def test_the_phone_holds_the_call(
    service: Service, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    """Held, the caller goes on being recorded, and the phone that wants nothing is sent nothing (RFC 3264 8.4)."""
    ear = rtp_peer()
    values: dict[str, str | int] = {"new_port": ear.port, "new_direction": "sendonly", "reinvite_after_ms": 500}
    phone = desk.phone("phone_reinvites", "1001", audio=utterance, values=values)
    caller = sipp.start(
        "caller_talks_then_bye", remote=service.address, audio=utterance, values={"line": DESK, "caller": number}
    )
    caller.wait().check()
    result = phone.wait().check()
    assert result.received == ["INVITE", "ACK", "200", "BYE"]
    answer = next(one for one in result.messages if one.status == 200 and one.direction == "received")
    assert "a=recvonly" in answer.body
    page = book.ended(number)
    assert page.outcome == "answered"
    assert page.kinds == ["arrived", "leg_started", "ringing", "answered", "held", "ended"]
    assert page.data_of("held") == {"by": "officer"}
    assert account(utterance, book.voices(page)[0]).perfect
    assert ear.received == []
    assert page.evidence == ()


@pytest.mark.rule("6.1-a")
def test_a_repeated_invite_is_one_call(service: Service, desk: Desk, book: Book, number: str) -> None:
    phone = desk.phone("phone_never_answers", "1001")
    with RawCaller(service.address, dialled=DESK, caller=number) as caller:
        for _ in range(4):
            caller.send(caller.invite())
            caller.listen(0.1)
        caller.send(caller.cancel())
        statuses = caller.listen(0.5)
    assert {100, 180, 200, 487} == set(statuses)
    assert phone.wait().received == ["INVITE", "CANCEL", "ACK"]
    assert len(book.calls(number)) == 1
    assert book.ended(number).outcome == "cancelled"


@pytest.mark.rule("6.1-d")
def test_what_the_phone_says_before_its_answer_is_read_is_kept(
    service: Service, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, words: bytes, number: str
) -> None:
    """The first packets may overtake the 200 that says where they come from (RFC 3264 5.1)."""
    mouth = rtp_peer()
    phone = desk.phone("phone_answers_external_media", "1001", values={"media_port": mouth.port, "answer_ms": 200})
    caller = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=words,
        values={"line": DESK, "caller": number, "talk_ms": 1300},
    )
    mouth.send(words[::-1], phone.wait_for_audio_address())
    caller.wait().check()
    phone.wait().check()
    assert account(words[::-1], book.voices(book.ended(number))[1]).perfect


def test_options_are_answered(service: Service) -> None:
    answer = ask(service.address, options(service.address), timeout_s=2.0).decode()
    assert answer.startswith("SIP/2.0 200 OK\r\n")
    assert "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK\r\n" in answer
    assert "REFER" not in answer


_HOSTILE = [
    b"",
    b"\r\n\r\n",
    b"\x00" * 100,
    b"INVITE",
    b"INVITE sip:x SIP/2.0\r\n\r\n",
    b"SIP/2.0 200 OK\r\n\r\n",
    b"SIP/2.0 99999999999999999999 OK\r\nVia: x\r\n\r\n",
    b"BYE sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n"
    b"To: <sip:c@d>;tag=2\r\nCall-ID: nobody\r\nCSeq: 1 BYE\r\n\r\n",
    b"A" * 65_000,
]


@pytest.mark.rule("6.1-d")
def test_malformed_datagrams_do_not_harm_a_call(
    service: Service, desk: Desk, book: Book, sipp: Sipp, utterance: bytes, number: str
) -> None:
    """To the SIP port, and to the RTP ports of the call from a stranger: the recording stays what was said."""
    chance = random.Random(3261)
    phone = desk.phone("phone_answers_and_talks", "1001", audio=utterance[::-1])
    caller = sipp.start(
        "caller_talks_then_bye", remote=service.address, audio=utterance, values={"line": DESK, "caller": number}
    )
    media = [caller.wait_for_audio_address(), phone.wait_for_audio_address()]
    with RawCaller(service.address, dialled=DESK, caller=number) as stranger:
        whole = stranger.invite()
        stranger.listen(0.3)
        for datagram in _HOSTILE:
            stranger.send(datagram)
        for _ in range(150):
            torn = bytearray(whole[: chance.randrange(len(whole))])
            for _ in range(5):
                if torn:
                    torn[chance.randrange(len(torn))] = chance.randrange(256)
            stranger.send(bytes(torn))
        for packet in packetize(utterance[: 100 * 160]):
            for address in media:
                stranger.send(packet.pack(), address)
                stranger.send(chance.randbytes(chance.randrange(200)), address)
        stranger.listen(0.1)
    caller.wait().check()
    phone.wait().check()
    page = next(one for one in book.calls(number) if "answered" in one.kinds)
    page = book.wait_for(page.call_id, lambda one: one.recording_state != "open")
    assert (page.outcome, page.damage) == ("answered", None)
    recorded = book.voices(page)
    assert account(utterance, recorded[0]).perfect
    assert account(utterance[::-1], recorded[1]).perfect
    assert service.answers()
    assert "Traceback" not in service.log()


@pytest.mark.parametrize(
    "sdp",
    [
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18\r\n",
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 4000 RTP/AVP 96\r\n",
        "this is no SDP",
    ],
    ids=["another codec", "no audio", "nonsense"],
)
@pytest.mark.rule("6.1-a")
def test_a_call_without_usable_audio_is_refused_and_in_the_book(
    service: Service, book: Book, number: str, sdp: str
) -> None:
    with RawCaller(service.address, dialled=DESK, caller=number) as caller:
        caller.send(caller.invite(sdp=sdp))
        statuses = caller.listen(0.4)
    assert statuses[0] == 100
    assert statuses[1] in (400, 488)
    page = book.ended(number)
    assert page.outcome == "failed"
    assert page.end_reason.startswith("offer_refused")
    assert page.pending == ("missed_call",)
