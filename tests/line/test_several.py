"""More than one phone, more than one call: ringing together, the second line, waiting and busy (requirement 5-a)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.line.book import Book
from tests.line.conftest import FULL, PAIR, QUEUE
from tests.line.desk import Desk
from tests.line.service import Service
from tests.line.variants import variant
from tests.peers.sipp import Sipp

pytestmark = [pytest.mark.peer, pytest.mark.rule("5-a")]

_QUEUED_FIRST = ('<recv response="100" optional="true"/>', '<recv response="100"/>\n\n  <recv response="182"/>')


def test_two_phones_ring_and_the_first_answer_wins(
    service: Service, desk: Desk, book: Book, sipp: Sipp, words: bytes, number: str
) -> None:
    late = desk.phone("phone_never_answers", "1003")
    first = desk.phone("phone_answers_and_talks", "1004", audio=words, values={"answer_ms": 400})
    caller = sipp.start(
        "caller_talks_then_bye", remote=service.address, audio=words, values={"line": PAIR, "caller": number}
    )
    assert caller.wait().check().received == ["100", "180", "200", "200"]
    assert first.wait().check().received == ["INVITE", "ACK", "BYE"]
    assert late.wait().check().received == ["INVITE", "CANCEL", "ACK"]
    page = book.ended(number)
    assert (page.outcome, page.answered_by) == ("answered", "1004")
    assert page.kinds == ["arrived", "leg_started", "leg_started", "ringing", "answered", "ended"]
    assert page.entries == 1


def test_both_phones_answer_at_once_and_one_is_let_go(
    service: Service, desk: Desk, book: Book, sipp: Sipp, words: bytes, number: str
) -> None:
    """The 200 that crosses our CANCEL is acknowledged and ended by BYE (RFC 3261 9.1, 13.2.2.4)."""
    values: dict[str, str | int] = {"answer_ms": 300}
    phones = {
        extension: desk.phone("phone_answers_and_talks", extension, audio=words, values=values)
        for extension in ("1003", "1004")
    }
    caller = sipp.start(
        "caller_talks_then_bye", remote=service.address, audio=words, values={"line": PAIR, "caller": number}
    )
    caller.wait().check()
    page = book.ended(number)
    assert page.outcome == "answered"
    assert page.kinds.count("answered") == 1
    winner = phones.pop(page.answered_by)
    winner.wait().check()
    (loser,) = phones.values()
    received = loser.wait().received
    assert received[0] == "INVITE"
    assert "CANCEL" in received or received[-1] == "BYE"


def test_one_phone_refuses_and_the_other_answers(
    service: Service, desk: Desk, book: Book, sipp: Sipp, words: bytes, number: str
) -> None:
    desk.phone("phone_busy_at_once", "1003")
    desk.phone("phone_answers_and_talks", "1004", audio=words, values={"answer_ms": 300})
    caller = sipp.start(
        "caller_talks_then_bye", remote=service.address, audio=words, values={"line": PAIR, "caller": number}
    )
    caller.wait().check()
    page = book.ended(number)
    assert (page.outcome, page.answered_by) == ("answered", "1004")
    assert page.data_of("leg_failed") == {"extension": "1003", "status": 486, "cause": 17}
    assert page.pending == ()


@pytest.mark.rule("6.1-a")
def test_the_second_caller_waits_and_rings_after_the_first(
    service: Service, desk: Desk, book: Book, sipp: Sipp, words: bytes, another_number: Callable[[], str]
) -> None:
    one, two = another_number(), another_number()
    phone = desk.phone("phone_answers_and_echoes", "1005", calls=2, echo=True)
    first = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=words,
        values={"line": QUEUE, "caller": one, "talk_ms": 1500},
    )
    book.wait(one, lambda page: page.state == "answered")
    second = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=words,
        values={"line": QUEUE, "caller": two},
        scenarios=variant(sipp, "caller_talks_then_bye", _QUEUED_FIRST),
    )
    waiting = book.wait(two, lambda page: page.state == "queued")
    assert waiting.kinds == ["arrived", "queued"]
    first.wait().check()
    assert second.wait().check().received == ["100", "182", "180", "200", "200"]
    phone.wait().check()
    earlier, later = book.ended(one), book.ended(two)
    assert (earlier.outcome, later.outcome) == ("answered", "answered")
    assert later.kinds == ["arrived", "queued", "leg_started", "ringing", "answered", "ended"]
    assert later.answered_at is not None
    assert earlier.ended_at is not None
    assert later.answered_at > earlier.ended_at


@pytest.mark.rule("6.1-a")
def test_a_waiting_caller_gives_up(
    service: Service, desk: Desk, book: Book, sipp: Sipp, words: bytes, another_number: Callable[[], str]
) -> None:
    one, two = another_number(), another_number()
    phone = desk.phone("phone_answers_and_talks", "1005", audio=words)
    first = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=words,
        values={"line": QUEUE, "caller": one, "talk_ms": 1200},
    )
    book.wait(one, lambda page: page.state == "answered")
    second = sipp.start(
        "caller_cancels",
        remote=service.address,
        values={"line": QUEUE, "caller": two},
        scenarios=variant(sipp, "caller_cancels", ('<recv response="180"/>', '<recv response="182"/>')),
    )
    assert second.wait().check().received == ["100", "182", "200", "487"]
    first.wait().check()
    phone.wait().check()
    page = book.ended(two)
    assert (page.outcome, page.kinds) == ("cancelled", ["arrived", "queued", "ended"])
    assert page.pending == ("missed_call",)


@pytest.mark.rule("6.1-a")
def test_the_second_caller_hears_that_the_line_is_busy(
    service: Service, desk: Desk, book: Book, sipp: Sipp, words: bytes, another_number: Callable[[], str]
) -> None:
    one, two = another_number(), another_number()
    phone = desk.phone("phone_answers_and_talks", "1006", audio=words)
    first = sipp.start(
        "caller_talks_then_bye", remote=service.address, audio=words, values={"line": FULL, "caller": one}
    )
    book.wait(one, lambda page: page.state == "answered")
    second = sipp.start("caller_refused", remote=service.address, values={"line": FULL, "caller": two, "final": 486})
    assert second.wait().check().received == ["100", "486"]
    first.wait().check()
    phone.wait().check()
    page = book.ended(two)
    assert (page.outcome, page.end_reason) == ("busy", "line_full")
    assert page.kinds == ["arrived", "ended"]
    assert (page.pending, page.alarms) == (("missed_call",), ("call_missed",))
