"""The telephony process is killed, or told to stop, in the middle of a call."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from telephony.custody import survey
from tests.faults.talk import begin
from tests.line.book import Book
from tests.line.desk import Desk
from tests.line.service import Line, Service
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp

pytestmark = [pytest.mark.peer, pytest.mark.rule("6.1-d")]

StartService = Callable[..., Service]
OpenBook = Callable[[Service], Book]
OpenPeer = Callable[..., RtpPeer]
LINE = Line(number="037122590031", phones=("4001",))


@pytest.mark.rule("6.1-a")
def test_killed_in_a_call_everything_until_a_second_before_is_kept(
    start_service: StartService, open_book: OpenBook, sipp: Sipp, rtp_peer: OpenPeer, number: str
) -> None:
    service = start_service(LINE)
    book = open_book(service)
    talk = begin(
        service, book, sipp, (rtp_peer(), rtp_peer()), line=LINE.number, extension="4001", number=number, talk_s=5
    )
    time.sleep(3.0)
    service.kill()
    killed = time.monotonic()
    service.start()
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("interrupted", "process_killed")
    assert page.kinds == ["arrived", "leg_started", "ringing", "answered", "ended", "salvaged"]
    assert (page.salvaged, page.recording_state) == (True, "waiting")
    assert page.damage is not None
    assert page.damage.startswith("interrupted")
    assert page.alarms == ("recording_damaged",)
    talk.check_kept(book, page, until=killed)
    assert abs(page.recording_seconds - (killed - talk.began)) <= 1.0
    assert book.component("4001") == ("registered", "")
    assert survey(service.settings, book.store, deep=True, heard=lambda _: None) == []


@pytest.mark.rule("6.1-a")
def test_killed_while_it_rings_the_call_is_a_pending_item(
    start_service: StartService, open_book: OpenBook, sipp: Sipp, number: str
) -> None:
    service = start_service(LINE)
    book = open_book(service)
    Desk(service, sipp).phone("phone_never_answers", "4001")
    sipp.start(
        "caller_cancels", remote=service.address, values={"line": LINE.number, "caller": number, "ring_ms": 5000}
    )
    book.wait(number, lambda page: page.state == "ringing")
    service.kill()
    service.start()
    page = book.ended(number)
    assert page.outcome == "interrupted"
    assert page.pending == ("missed_call",)
    assert page.recording_state in ("none", "kept")


def test_told_to_stop_it_ends_the_calls_with_bye(
    start_service: StartService, open_book: OpenBook, sipp: Sipp, rtp_peer: OpenPeer, number: str
) -> None:
    service = start_service(LINE)
    book = open_book(service)
    talk = begin(
        service,
        book,
        sipp,
        (rtp_peer(), rtp_peer()),
        line=LINE.number,
        extension="4001",
        number=number,
        talk_s=4,
        hears_bye=True,
    )
    time.sleep(2.0)
    stopping = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - stopping < 5.0
    assert talk.caller.wait().check().received[-1] == "BYE"
    assert talk.phone.wait().check().received[-1] == "BYE"
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("answered", "service_stopped")
    assert (page.damage, page.salvaged, page.recording_state) == (None, False, "waiting")
    talk.check_kept(book, page, until=stopping, slack_s=0.1)


def test_killed_twice_in_a_row_nothing_is_lost(
    start_service: StartService, open_book: OpenBook, sipp: Sipp, rtp_peer: OpenPeer, number: str
) -> None:
    """The second death comes while the first one's traces are being cleared away."""
    service = start_service(LINE)
    book = open_book(service)
    talk = begin(
        service, book, sipp, (rtp_peer(), rtp_peer()), line=LINE.number, extension="4001", number=number, talk_s=4
    )
    time.sleep(2.0)
    killed = time.monotonic()
    service.kill()
    service.start()
    service.kill()
    service.start()
    page = book.ended(number)
    assert page.outcome == "interrupted"
    talk.check_kept(book, page, until=killed)
    assert page.alarms == ("recording_damaged",)
