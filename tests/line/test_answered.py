"""An arriving call that is answered: who hangs up, what the book says, and that both voices are kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.cells import proves
from tests.line.book import Book
from tests.line.conftest import DESK
from tests.line.desk import Desk
from tests.line.service import Service
from tests.peers.audio import account
from tests.peers.sipp import Sipp

pytestmark = pytest.mark.peer


@proves("SIPp", "desk phone", "registers", "answers", "is hung up on")
@proves("SIPp", "caller", "answers", "hangs up")
@pytest.mark.rule("6.1-a")
@pytest.mark.rule("6.1-d")
def test_answered_and_the_caller_hangs_up(
    service: Service, desk: Desk, book: Book, sipp: Sipp, utterance: bytes, number: str
) -> None:
    phone = desk.phone("phone_answers_and_talks", "1001", audio=utterance[::-1])
    caller = sipp.start(
        "caller_talks_then_bye", remote=service.address, audio=utterance, values={"line": DESK, "caller": number}
    )
    assert caller.wait().check().received == ["100", "180", "200", "200"]
    assert phone.wait().check().received == ["INVITE", "ACK", "BYE"]

    page = book.ended(number)
    assert (page.outcome, page.end_reason, page.answered_by) == ("answered", "caller_hung_up", "1001")
    assert page.kinds == ["arrived", "leg_started", "ringing", "answered", "ended"]
    assert (page.recording_state, page.damage, page.entries) == ("waiting", None, 1)
    assert (page.pending, page.alarms) == ((), ())
    heard = book.voices(page)
    assert account(utterance, heard[0]).perfect
    assert account(utterance[::-1], heard[1]).perfect


@proves("SIPp", "desk phone", "hangs up")
@proves("SIPp", "caller", "is hung up on")
@pytest.mark.rule("6.1-a")
def test_answered_and_the_phone_hangs_up(
    service: Service, desk: Desk, book: Book, sipp: Sipp, utterance: bytes, number: str
) -> None:
    phone = desk.phone("phone_hangs_up", "1001", audio=utterance, values={"talk_ms": 600})
    caller = sipp.start(
        "caller_hears_bye", remote=service.address, audio=utterance, values={"line": DESK, "caller": number}
    )
    assert caller.wait().check().received == ["100", "180", "200", "BYE"]
    assert phone.wait().check().received == ["INVITE", "ACK", "200"]

    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("answered", "officer_hung_up")
    assert page.kinds == ["arrived", "leg_started", "ringing", "answered", "ended"]
    assert page.recording_state == "waiting"
    assert page.recording_seconds > 0.5


def test_a_call_over_tcp(service: Service, desk: Desk, book: Book, sipp: Sipp, utterance: bytes, number: str) -> None:
    phone = desk.phone("phone_answers_and_talks", "1001", audio=utterance[::-1])
    caller = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=utterance,
        values={"line": DESK, "caller": number, "talk_ms": 800},
        transport="tcp",
    )
    result = caller.wait().check()
    assert {message.transport for message in result.messages} == {"TCP"}
    phone.wait().check()
    page = book.ended(number)
    assert (page.outcome, page.recording_state) == ("answered", "waiting")


@pytest.mark.rule("6.1-a")
def test_the_call_is_in_the_book_before_it_is_answered(
    service: Service, desk: Desk, book: Book, sipp: Sipp, utterance: bytes, number: str
) -> None:
    desk.phone("phone_answers_and_talks", "1001", audio=utterance, values={"answer_ms": 1500})
    caller = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=utterance,
        values={"line": DESK, "caller": number, "talk_ms": 100},
    )
    caller.wait_for_message(lambda message: message.status == 100)
    spool = service.data / "spool" / "book.spool"
    line = (
        spool.read_bytes() if spool.exists() else b""
    )  # before the book is asked: a line leaves only when it is there
    assert number.encode() in line or book.call(number) is not None
    page = book.wait(number, lambda page: page.state in ("arrived", "ringing"), timeout_s=1.0)
    assert page.outcome is None
    caller.wait().check()
    assert book.ended(number).outcome == "answered"


@pytest.mark.rule("5-a")
def test_two_callers_talk_at_once(
    service: Service,
    desk: Desk,
    book: Book,
    sipp: Sipp,
    utterance: bytes,
    another_number: Callable[[], str],
) -> None:
    numbers = [another_number(), another_number()]
    phone = desk.phone("phone_answers_and_echoes", "1001", calls=2, echo=True)
    callers = [
        sipp.start(
            "caller_talks_then_bye", remote=service.address, audio=utterance, values={"line": DESK, "caller": number}
        )
        for number in numbers
    ]
    for caller in callers:
        caller.wait().check()
    phone.wait().check()
    first, second = (book.ended(number) for number in numbers)
    assert {first.outcome, second.outcome} == {"answered"}
    assert first.answered_at is not None
    assert second.answered_at is not None
    assert max(first.answered_at, second.answered_at) < min(first.ended_at or 0, second.ended_at or 0)
    for page in (first, second):
        assert account(utterance, book.voices(page)[0]).perfect
