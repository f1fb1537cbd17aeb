"""pyVoIP as the caller, through a carrier: it must register, and nobody from outside registers at the line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.interop.cells import proves
from tests.interop.talk import Party, Values, folder_of, share_heard
from tests.line.book import Book
from tests.line.carrier import Carrier
from tests.line.conftest import DESK
from tests.line.desk import Desk
from tests.line.service import Service
from tests.peers.audio import decode_alaw
from tests.peers.pyvoip import Pyvoip
from tests.peers.rtp_peer import RtpPeer

pytestmark = [pytest.mark.peer, pytest.mark.slow]

OpenPeer = Callable[..., RtpPeer]
HEARD = 0.85
"""The least share of what was said that comes through pyVoIP's 8-bit audio, whose quiet words are coarse."""


@pytest.fixture
def caller(service: Service, number: str, tmp_path: Path) -> Iterator[Pyvoip]:
    """Registered at a carrier of its own: pyVoIP counts its branches from one in every process, so that one carrier
    would take the second test's call for the first one's again."""
    with (
        closing(Carrier(line=service.address)) as carrier,
        Pyvoip(tmp_path / "pyvoip", carrier.address, number, "secret") as caller,
    ):
        yield caller


def _officer(desk: Desk, rtp_peer: OpenPeer, scenario: str, **more: str | int) -> Party:
    media = rtp_peer()
    values: Values = {"media_port": media.port, **more}
    return Party(desk.phone(scenario, "1001", values=values, scenarios=folder_of(scenario)), media)


@proves("pyVoIP", "caller", "answers", "both voices", "hears digits", "hangs up")
@pytest.mark.rule("6.1-d")
def test_pyvoip_talks_hears_keys_and_hangs_up(
    caller: Pyvoip, desk: Desk, book: Book, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    officer = _officer(desk, rtp_peer, "phone_answers_external_media")
    said = decode_alaw(utterance[::-1])
    caller.dial(DESK)
    caller.wait_talking()
    caller.say(said)
    officer.says(utterance)
    officer.presses("47")
    time.sleep(1.0)
    heard, keys = caller.heard()
    caller.hangup()
    officer.run.wait().check()
    assert share_heard(decode_alaw(utterance), heard) >= HEARD
    assert officer.heard(utterance[::-1]) >= HEARD
    assert keys == "47"
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("answered", "caller_hung_up")
    sound = book.sound(page)
    assert share_heard(said, sound[:, 0]) >= HEARD
    assert share_heard(decode_alaw(utterance), sound[:, 1]) >= HEARD


@proves("pyVoIP", "caller", "is hung up on")
def test_pyvoip_is_hung_up_on(caller: Pyvoip, desk: Desk, book: Book, rtp_peer: OpenPeer, number: str) -> None:
    """The line's BYE goes to pyVoIP itself: the carrier brought the INVITE and recorded no route (RFC 3261
    12.2.1.1)."""
    officer = _officer(desk, rtp_peer, "phone_hangs_up_external_media", talk_ms=1500)
    caller.dial(DESK)
    caller.wait_talking()
    caller.wait_over()
    officer.run.wait().check()
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("answered", "officer_hung_up")


@proves("pyVoIP", "caller", "is held")
def test_pyvoip_is_held(
    caller: Pyvoip, desk: Desk, book: Book, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    """The hold is between the phone and the line: pyVoIP is asked nothing, hears music and then the officer again."""
    officer = _officer(desk, rtp_peer, "phone_holds_and_resumes", before_ms=500)
    caller.dial(DESK)
    caller.wait_talking()
    book.wait(number, lambda page: "resumed" in page.kinds)
    officer.says(utterance)
    time.sleep(1.0)
    heard, _ = caller.heard()
    caller.hangup()
    officer.run.wait().check()
    assert share_heard(decode_alaw(utterance), heard) >= HEARD
    assert book.ended(number).data_of("held") == {"by": "officer"}


@pytest.mark.rule("6.1-a")
def test_pyvoip_takes_no_notice_that_the_officer_is_busy(
    service: Service, caller: Pyvoip, desk: Desk, book: Book, number: str
) -> None:
    """It reads the 486, sends no ACK (RFC 3261 17.1.1.2) and tells its user nothing: of the failures its
    ``SIPClient.parse_message`` knows 404 and 503 alone. The book has the call at once
    all the same, and the line goes on."""
    phone = desk.phone("phone_busy_at_once", "1001")
    caller.dial(DESK)
    phone.wait().check()
    assert book.ended(number).outcome == "busy"
    time.sleep(1.0)
    assert caller.state() == "DIALING"
    assert service.answers()
