"""Forwarding of the duty phone is forbidden: each way a foreign phone tries is refused, alarmed, kept as evidence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.line.book import Book
from tests.line.conftest import DESK
from tests.line.desk import Desk
from tests.line.service import Service
from tests.line.variants import with_header
from tests.peers.audio import account
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp

pytestmark = [pytest.mark.peer, pytest.mark.rule("6.1-e")]

OpenPeer = Callable[..., RtpPeer]


@pytest.mark.parametrize("final", [301, 302, 305, 380])
def test_a_phone_that_redirects(
    service: Service, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, prompt: bytes, number: str, final: int
) -> None:
    elsewhere, ear = rtp_peer(), rtp_peer()
    target = f"sip:13900139000@127.0.0.1:{elsewhere.port}"
    phone = desk.phone("phone_redirects", "1001", values={"final": final, "target": target})
    caller = sipp.start(
        "caller_hears_early_announcement",
        remote=service.address,
        values={"line": DESK, "caller": number, "media_port": ear.port},
    )
    result = caller.wait().check()
    assert result.received == ["100", "183", "480"]
    assert all(target not in message.text for message in result.messages), "the target must not reach the caller"
    phone.wait().check()

    assert account(prompt, ear.heard()).perfect
    page = book.ended(number)
    assert page.outcome == "rejected"
    assert page.kinds == ["arrived", "leg_started", "forward_blocked", "leg_failed", "announcement", "ended"]
    assert page.data_of("forward_blocked") == {"way": "redirect", "target": target, "source": "127.0.0.1"}
    assert page.alarms == ("forward_blocked", "call_missed")
    assert page.pending == ("missed_call",)
    (raw,) = page.evidence
    assert raw.startswith(f"SIP/2.0 {final} ".encode())
    assert target.encode() in raw
    assert (elsewhere.received, elsewhere.foreign) == ([], [])


def test_a_transfer_is_refused_and_the_call_goes_on(
    service: Service, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    elsewhere, ear = rtp_peer(), rtp_peer()
    target = f"sip:13900139000@127.0.0.1:{elsewhere.port}"
    values: dict[str, str | int] = {"final": 603, "refer_after_ms": 400, "target": target}
    phone = desk.phone("phone_refers", "1001", audio=utterance, values=values)
    talk_ms = len(utterance) // 8 + 500
    caller = sipp.start(
        "caller_external_media",
        remote=service.address,
        values={"line": DESK, "caller": number, "media_port": ear.port, "talk_ms": talk_ms},
    )
    ear.send(utterance[::-1], caller.wait_for_audio_address())
    assert caller.wait().check().received == ["100", "180", "200", "200"]
    assert phone.wait().check().received == ["INVITE", "ACK", "603", "BYE"]

    assert account(utterance, ear.heard()).perfect, "RTP did not go on during the refusal"
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("answered", "caller_hung_up")
    assert page.kinds == ["arrived", "leg_started", "ringing", "answered", "forward_blocked", "ended"]
    assert page.data_of("forward_blocked") == {"way": "refer", "target": f"<{target}>", "source": "127.0.0.1"}
    assert page.alarms == ("forward_blocked",)
    assert page.evidence[0].startswith(b"REFER ")
    recorded = book.voices(page)
    assert account(utterance[::-1], recorded[0]).perfect
    assert account(utterance, recorded[1]).perfect
    assert (elsewhere.received, elsewhere.foreign) == ([], [])


def test_media_moved_off_the_phone_is_refused_and_the_call_goes_on(
    service: Service, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    elsewhere = rtp_peer(host="127.0.0.9")
    values: dict[str, str | int] = {"new_host": "127.0.0.9", "new_port": elsewhere.port, "reinvite_after_ms": 300}
    phone = desk.phone("phone_moves_media_refused", "1001", audio=utterance, values=values)
    caller = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=utterance[::-1],
        values={"line": DESK, "caller": number},
    )
    caller.wait().check()
    assert phone.wait().check().received == ["INVITE", "ACK", "488", "BYE"]
    page = book.ended(number)
    assert page.outcome == "answered"
    assert page.kinds == ["arrived", "leg_started", "ringing", "answered", "forward_blocked", "ended"]
    assert page.data_of("forward_blocked") == {"way": "media_move", "target": "127.0.0.9", "source": "127.0.0.1"}
    assert page.evidence[0].startswith(b"INVITE ")
    recorded = book.voices(page)
    assert account(utterance, recorded[1]).perfect, "the phone was not heard all the time"
    assert account(utterance[::-1], recorded[0]).perfect
    assert (elsewhere.received, elsewhere.foreign) == ([], [])


@pytest.mark.parametrize("header", ["Diversion", "History-Info", "P-Served-User", "Diverted-By"])
def test_a_call_that_was_forwarded_to_us_is_taken_and_marked(
    service: Service, desk: Desk, book: Book, sipp: Sipp, words: bytes, number: str, header: str
) -> None:
    desk.phone("phone_answers_and_talks", "1001", audio=words)
    scenarios = with_header(sipp, "caller_talks_then_bye", f"{header}: <sip:037199999999@127.0.0.1>;reason=x")
    caller = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=words,
        values={"line": DESK, "caller": number, "talk_ms": 200},
        scenarios=scenarios,
    )
    caller.wait().check()
    page = book.ended(number)
    assert page.outcome == "answered"
    assert page.data_of("forward_marked")["way"] == "diverted"
    assert "sip:037199999999@127.0.0.1" in page.data_of("forward_marked")["target"]
    assert page.alarms == ("forward_marked",)
