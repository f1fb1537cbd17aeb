"""Arriving calls that nobody answers: each in the book with what became of it, and a pending item for the next."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.interop.cells import proves
from tests.line.book import Book
from tests.line.conftest import DESK, HURRIED, MUTE, PROMPT_FRAMES
from tests.line.desk import Desk
from tests.line.service import Service
from tests.peers.audio import account, align, decode_alaw
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp, SippRun

pytestmark = pytest.mark.peer

OpenPeer = Callable[..., RtpPeer]
MISSED = (("missed_call",), ("call_missed",))


def _refused(sipp: Sipp, service: Service, line: str, number: str, final: int) -> SippRun:
    values: dict[str, str | int] = {"line": line, "caller": number, "final": final}
    return sipp.start("caller_refused", remote=service.address, values=values)


@proves("SIPp", "desk phone", "cancels")
@proves("SIPp", "caller", "cancels")
@pytest.mark.rule("6.1-a")
def test_the_caller_gives_up_while_it_rings(service: Service, desk: Desk, book: Book, sipp: Sipp, number: str) -> None:
    phone = desk.phone("phone_never_answers", "1001")
    caller = sipp.start(
        "caller_cancels", remote=service.address, values={"line": DESK, "caller": number, "ring_ms": 300}
    )
    assert caller.wait().check().received == ["100", "180", "200", "487"]
    assert phone.wait().check().received == ["INVITE", "CANCEL", "ACK"]
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("cancelled", "caller_cancelled")
    assert page.kinds == ["arrived", "leg_started", "ringing", "ended"]
    assert (page.pending, page.alarms) == MISSED
    assert (page.answered_at, page.entries) == (None, 0)
    assert page.recording_state in ("none", "kept")


@proves("SIPp", "desk phone", "refuses")
@proves("SIPp", "caller", "refuses")
@pytest.mark.rule("6.1-a")
@pytest.mark.parametrize(
    ("final", "reason", "towards_caller", "outcome"),
    [(486, "Busy Here", 486, "busy"), (600, "Busy Everywhere", 486, "busy"), (603, "Decline", 603, "rejected")],
)
def test_the_phone_refuses(
    service: Service,
    desk: Desk,
    book: Book,
    sipp: Sipp,
    number: str,
    final: int,
    reason: str,
    towards_caller: int,
    outcome: str,
) -> None:
    phone = desk.phone("phone_rejects", "1001", values={"final": final, "reason": reason, "answer_ms": 50})
    caller = _refused(sipp, service, DESK, number, towards_caller)
    assert caller.wait().check().received == ["100", "180", str(towards_caller)]
    assert phone.wait().check().received == ["INVITE", "ACK"]
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == (outcome, f"phone_{final}")
    assert page.kinds == ["arrived", "leg_started", "ringing", "leg_failed", "ended"]
    cause = 21 if final == 603 else 17
    assert page.data_of("leg_failed") == {"extension": "1001", "status": final, "cause": cause}
    assert (page.pending, page.alarms) == MISSED


@pytest.mark.rule("6.1-a")
def test_the_phone_is_busy_without_ringing(service: Service, desk: Desk, book: Book, sipp: Sipp, number: str) -> None:
    phone = desk.phone("phone_busy_at_once", "1001")
    assert _refused(sipp, service, DESK, number, 486).wait().check().received == ["100", "486"]
    phone.wait().check()
    page = book.ended(number)
    assert page.outcome == "busy"
    assert page.kinds == ["arrived", "leg_started", "leg_failed", "ended"]


@pytest.mark.rule("6.1-a")
def test_nobody_answers_and_the_caller_hears_the_announcement(
    service: Service, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, prompt: bytes, number: str
) -> None:
    ear = rtp_peer()
    phone = desk.phone("phone_never_answers", "1002")
    caller = sipp.start(
        "caller_hears_early_announcement",
        remote=service.address,
        values={"line": HURRIED, "caller": number, "media_port": ear.port},
    )
    assert caller.wait().check().received == ["100", "180", "183", "480"]
    assert phone.wait().check().received == ["INVITE", "CANCEL", "ACK"]

    assert account(prompt, ear.heard()).perfect
    assert len(ear.received) == PROMPT_FRAMES
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("missed", "announcement_played")
    assert page.kinds == ["arrived", "leg_started", "ringing", "announcement", "ended"]
    assert page.data_of("announcement")["reason"] == "no_answer"
    assert (page.pending, page.alarms) == MISSED
    assert page.recording_state == "kept"
    assert account(prompt, book.voices(page)[1]).perfect


@pytest.mark.rule("6.1-a")
def test_no_phone_is_registered(
    service: Service, book: Book, sipp: Sipp, rtp_peer: OpenPeer, prompt: bytes, number: str
) -> None:
    ear = rtp_peer()
    caller = sipp.start(
        "caller_hears_early_announcement",
        remote=service.address,
        values={"line": HURRIED, "caller": number, "media_port": ear.port},
    )
    assert caller.wait().check().received == ["100", "183", "480"]
    assert align(decode_alaw(prompt), decode_alaw(ear.heard())).correlation >= 0.99
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("unreachable", "announcement_played")
    assert page.kinds == ["arrived", "announcement", "ended"]
    assert page.data_of("announcement")["reason"] == "no_phone_registered"
    assert (page.pending, page.alarms) == MISSED


def test_a_line_without_announcement_hangs_up(
    service: Service, desk: Desk, book: Book, sipp: Sipp, number: str
) -> None:
    phone = desk.phone("phone_never_answers", "1007")
    assert _refused(sipp, service, MUTE, number, 480).wait().check().received == ["100", "180", "480"]
    phone.wait().check()
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("missed", "no_answer")
    assert "announcement" not in page.kinds


@pytest.mark.rule("6.1-a")
def test_the_caller_gives_up_during_the_announcement(
    service: Service, book: Book, sipp: Sipp, rtp_peer: OpenPeer, number: str
) -> None:
    ear = rtp_peer()
    caller = sipp.start(
        "caller_hears_early_announcement",
        remote=service.address,
        values={"line": HURRIED, "caller": number, "media_port": ear.port, "final": 487},
    )
    ear.wait_for_packets(10, 5.0)
    invite = caller.messages()[0]
    cancel = "\r\n".join(
        [
            invite.start_line.replace("INVITE", "CANCEL", 1),
            *(f"{name}: {invite.header(name)}" for name in ("Via", "From", "To", "Call-ID")),
            "CSeq: 1 CANCEL",
            "Max-Forwards: 70",
            "Content-Length: 0\r\n\r\n",
        ]
    )
    ear.send_datagram(cancel.encode(), service.address)
    assert caller.wait().received[-1] == "487"
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("unreachable", "caller_cancelled")
    assert (page.pending, page.alarms) == MISSED
    packets = len(ear.received)
    time.sleep(0.2)
    assert len(ear.received) == packets, "the announcement goes on after the call"


def test_a_number_that_is_no_line_of_ours(service: Service, book: Book, sipp: Sipp, number: str) -> None:
    assert _refused(sipp, service, "12345", number, 404).wait().check().received == ["404"]
    assert book.call(number) is None
