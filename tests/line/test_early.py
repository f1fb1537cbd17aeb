"""Before the answer, against SIPp: reliable ringing both ways, UPDATE, early media, and a call that offers nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from duty.store.database import Store
from tests.line.book import Book
from tests.line.conftest import DESK
from tests.line.desk import Desk
from tests.line.service import Line, Service, Trunk
from tests.peers.audio import account
from tests.peers.ladder import Ladder, sdp
from tests.peers.ports import Address, free_port
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp

pytestmark = pytest.mark.peer

OpenPeer = Callable[..., RtpPeer]
NEEDS, TAKES = "Require: 100rel", "Supported: 100rel"
PBX_HOST = "127.0.0.2"
OUTSIDE, FAR = "037122590021", "13900139000"
RACK = "RAck: [$rseq] 1 INVITE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A line with a PBX."""

    service: Service
    pbx: Address
    desk: Desk
    book: Book


@pytest.fixture
def exchange(start_service: Callable[..., Service], sipp: Sipp) -> Iterator[Exchange]:
    pbx = (PBX_HOST, free_port(PBX_HOST))
    running = start_service(Line(number=OUTSIDE, phones=("2001",), trunk=Trunk(registrar=pbx)))
    with closing(Store(running.settings.store_url)) as store:
        desk = Desk(running, sipp)
        yield Exchange(service=running, pbx=pbx, desk=desk, book=Book(store, running.settings.data.recordings))


def caller(number: str, *, body: str) -> Ladder:
    """Dials and demands reliable ringing."""
    return (
        Ladder("caller_demands", user=number, calls=DESK)
        .invite(body=body, headers=(NEEDS, "Allow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE"))
        .receive(100, optional=True)
        .receive(180, keep={"rseq": "RSeq:"})
    )


@pytest.mark.rule("6.1-a")
def test_a_caller_that_demands_reliable_ringing(
    service: Service, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, words: bytes, number: str
) -> None:
    """RFC 3262 3: the 180 is repeated until its PRACK, which this caller sends late."""
    ear = rtp_peer()
    desk.phone("phone_answers_and_talks", "1001", audio=words[::-1], values={"answer_ms": 2500})
    ladder = caller(number, body=sdp(ear.port)).pause(800)
    ladder.request("PRACK", 2, headers=(RACK,)).receive(200).receive(200).request("ACK", 1)
    ladder.pause(1500).request("BYE", 3).receive(200)
    run = ladder.start(sipp, service.address)
    ear.send(words, run.wait_for_audio_address())
    result = run.wait().check()
    ringing = [one for one in result.messages if one.status == 180]
    assert len(ringing) == 2
    assert {one.header("RSeq") for one in ringing} == {ringing[0].header("RSeq")}
    assert {one.header("Require") for one in ringing} == {"100rel"}
    page = book.ended(number)
    assert page.outcome == "answered"
    assert account(words, book.voices(page)[0]).perfect
    assert account(words[::-1], ear.heard()).perfect


@pytest.mark.parametrize("reliably", [True, False], ids=["answer in the PRACK", "answer in the ACK"])
def test_a_caller_that_offers_nothing(
    service: Service,
    desk: Desk,
    book: Book,
    sipp: Sipp,
    rtp_peer: OpenPeer,
    words: bytes,
    number: str,
    reliably: bool,
) -> None:
    """Delayed offer (RFC 3264 5, RFC 3262 5): ours goes with the first reliable response or the 200."""
    ear = rtp_peer()
    desk.phone("phone_answers_and_talks", "1001", audio=words[::-1], values={"answer_ms": 500})
    mine = sdp(ear.port)
    if reliably:
        ladder = caller(number, body="").request("PRACK", 2, body=mine, headers=(RACK,)).receive(200)
        ladder.receive(200).request("ACK", 1)
    else:
        ladder = Ladder("caller_offers_nothing", user=number, calls=DESK).invite().receive(100, optional=True)
        ladder.receive(180, optional=True).receive(200).request("ACK", 1, body=mine)
    ladder.pause(1500).request("BYE", 3).receive(200)
    run = ladder.start(sipp, service.address)
    to_line = run.wait_for_audio_address()
    answered = run.wait_for_message(lambda one: one.status == 200 and one.method == "INVITE")
    ear.send(words, to_line)
    run.wait().check()
    assert (answered.audio_address is None) == reliably
    page = book.ended(number)
    assert page.outcome == "answered"
    assert account(words, book.voices(page)[0]).perfect
    assert account(words[::-1], ear.heard()).perfect


def test_nobody_answers_a_caller_that_demands_reliable_ringing(
    service: Service, book: Book, sipp: Sipp, rtp_peer: OpenPeer, prompt: bytes, number: str
) -> None:
    """The announcement to a caller that offered nothing begins as soon as its PRACK says where it listens."""
    ear = rtp_peer()
    ladder = (
        Ladder("caller_unanswered", user=number, calls=DESK)
        .invite(headers=(TAKES,))
        .receive(100, optional=True)
        .receive(183, keep={"rseq": "RSeq:"})
        .request("PRACK", 2, body=sdp(ear.port), headers=(RACK,))
        .receive(200)
        .receive(480)
        .acknowledge_failure()
    )
    result = ladder.start(sipp, service.address).wait().check()
    assert result.received[:2] == ["100", "183"]
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("unreachable", "announcement_played")
    assert account(prompt, ear.heard()).perfect


@pytest.mark.rule("6.1-d")
def test_the_pbx_rings_reliably_speaks_early_and_moves(
    exchange: Exchange, sipp: Sipp, rtp_peer: OpenPeer, words: bytes
) -> None:
    """RFC 3262 4, RFC 3311: two reliable responses of the PBX are acknowledged in order, its early media reach the
    phone and the recording, its UPDATE before the answer moves them, and its 200 needs no description."""
    mouth, moved, handset = rtp_peer(host=PBX_HOST), rtp_peer(host=PBX_HOST), rtp_peer()
    pbx = (
        Ladder("pbx_early", user="pbx")
        .invited()
        .answer(183, "Session Progress", invite=True, body=sdp(mouth.port), headers=(NEEDS, "RSeq: 700"))
        .receive("PRACK")
        .answer(200, "OK")
        .pause(1300)
        .answer(180, "Ringing", invite=True, headers=(NEEDS, "RSeq: 701"))
        .receive("PRACK")
        .answer(200, "OK")
        .request("UPDATE", 1, body=sdp(moved.port, version=2))
        .receive(200)
        .pause(1500)
        .answer(200, "OK", invite=True)
        .receive("ACK")
        .receive("BYE")
        .answer(200, "OK")
    ).start(sipp, host=PBX_HOST, port=exchange.pbx[1])
    values: dict[str, str | int] = {
        "user": "2001",
        "auth_user": "2001",
        "password": exchange.service.password("2001"),
        "number": FAR,
        "challenge": 401,
        "media_port": handset.port,
        "talk_ms": 600,
    }
    uri = f"{FAR}@{exchange.service.address[0]}:{exchange.service.address[1]}"
    phone = sipp.start("phone_dials_out_external_media", remote=exchange.service.address, values=values, auth_uri=uri)
    to_line = pbx.wait_for_audio_address()
    pbx.wait_for_message(lambda one: one.method == "PRACK" and one.direction == "received")
    mouth.send(words, to_line)
    pbx.wait_for_message(lambda one: one.method == "UPDATE" and one.status == 200)
    moved.send(words[::-1], to_line)
    phone.wait().check()
    result = pbx.wait().check()
    racks = [one.header("RAck") for one in result.messages if one.start_line.startswith("PRACK")]
    cseq = next(one.header("CSeq") for one in result.messages if one.start_line.startswith("INVITE"))
    assert racks == [f"700 {cseq}", f"701 {cseq}"]
    invite = next(one for one in result.messages if one.start_line.startswith("INVITE"))
    assert "100rel" in (invite.header("Supported") or "")
    page = exchange.book.ended(FAR)
    assert page.outcome == "answered"
    for said in (words, words[::-1]):
        assert account(said, handset.heard()).perfect
        assert account(said, exchange.book.voices(page)[0]).perfect
