"""SIPp as a recording client (RFC 7866): it forks calls to the real service, with two real voices beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import pytest

from duty.store.database import Store
from telephony.sip.session_description import parse_sdp
from telephony.siprec.metadata import parse_metadata
from tests.line.book import Book
from tests.line.service import HOST, Line, Service, Siprec
from tests.peers.audio import account
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sip_trace import SipMessage
from tests.peers.sipp import Sipp, SippRun

pytestmark = pytest.mark.peer

OpenPeer = Callable[..., RtpPeer]
LINE = Line(number="037122590071", siprec=Siprec(peers=(f"{HOST}/32",), numbers=("8071",)))
OTHERS = Line(number="037122590072", siprec=Siprec(peers=("127.0.0.72/32",)))
PLAIN = Line(number="037122590073")
TALK_MS = 1500


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that stands in nobody's way: its lines have neither phones nor trunks."""
    with Service(tmp_path_factory.mktemp("siprec"), (LINE, OTHERS, PLAIN)) as running:
        yield running


@pytest.fixture(scope="module")
def book(service: Service) -> Iterator[Book]:
    """Its book."""
    with closing(Store(service.settings.store_url)) as store:
        yield Book(store, service.settings.data.recordings)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording session that has begun: SIPp's signalling, and the parties whose voices are forked."""

    client: SippRun
    caller: RtpPeer
    officer: RtpPeer
    stranger: RtpPeer
    ports: tuple[int, ...]

    def talk(self, caller: bytes, officer: bytes) -> None:
        """Both say all of it."""
        self.caller.send(caller, (HOST, self.ports[0]))
        self.officer.send(officer, (HOST, self.ports[1]))
        self.caller.finish_sending()
        self.officer.finish_sending()

    def sent_nothing(self) -> bool:
        """Whether none of the parties was sent any RTP."""
        return not (self.caller.received or self.officer.received or self.stranger.received)


def begin(
    sipp: Sipp,
    rtp_peer: OpenPeer,
    service: Service,
    scenario: str = "recording_client",
    *,
    transport: Literal["udp", "tcp"] = "udp",
    **values: str | int,
) -> Recording:
    caller, officer, stranger = rtp_peer(), rtp_peer(), rtp_peer()
    ports: dict[str, str | int] = {"caller_port": caller.port, "officer_port": officer.port}
    if scenario == "recording_client_transfers":
        ports["stranger_port"] = stranger.port
    client = sipp.start(
        scenario,
        remote=service.address,
        values={"line": LINE.number, "talk_ms": TALK_MS, **ports, **values},
        transport=transport,
    )
    answer = client.wait_for_message(_is_answer)
    return Recording(client=client, caller=caller, officer=officer, stranger=stranger, ports=ports_in(answer))


def _is_answer(message: SipMessage) -> bool:
    return message.direction == "received" and message.status == 200


def ports_in(message: SipMessage) -> tuple[int, ...]:
    return tuple(media.port for media in parse_sdp(message.body.encode()).media)


@pytest.mark.rule("6.1-a")
@pytest.mark.rule("6.1-d")
def test_a_forked_call_is_a_row_and_a_recording_like_any_other(
    service: Service, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    recording = begin(sipp, rtp_peer, service, caller=number, session=f"{number}-a", talk_ms=len(utterance) // 8 + 600)
    recording.talk(utterance, utterance[::-1])
    result = recording.client.wait().check()
    assert result.received == ["100", "200", "200"]
    answer = next(message for message in result.messages if _is_answer(message))
    media = parse_sdp(answer.body.encode()).media
    assert [(each.direction, dict(each.attributes)["label"]) for each in media] == [
        ("recvonly", "1"),
        ("recvonly", "2"),
    ]
    assert "+sip.srs" in answer.text
    page = book.ended(number)
    assert (page.direction, page.caller_number, page.callee_number) == ("inbound", number, LINE.number)
    assert (page.outcome, page.end_reason, page.answered_by) == ("answered", "recording_ended", LINE.number)
    assert page.kinds == ["arrived", "parties", "answered", "ended"]
    assert page.data_of("parties")["parties"] == f"张三 <sip:{number}@{HOST}>; 值班室 <sip:{LINE.number}@{HOST}>"
    assert (page.recording_state, page.damage, page.entries) == ("waiting", None, 1)
    assert (page.pending, page.alarms) == ((), ())
    heard = book.voices(page)
    assert account(utterance, heard[0]).perfect
    assert account(utterance[::-1], heard[1]).perfect
    assert recording.sent_nothing()
    (kept,) = page.evidence
    assert parse_metadata(kept).participants[0].aor == f"sip:{number}@{HOST}"


@pytest.mark.rule("6.1-a")
def test_both_voices_are_an_answer_and_what_is_told_later_names_the_caller(
    service: Service, book: Book, sipp: Sipp, rtp_peer: OpenPeer, words: bytes, number: str
) -> None:
    recording = begin(sipp, rtp_peer, service, "recording_client_tells_later", caller=number, talk_ms=300)
    recording.talk(words, words[::-1])
    result = recording.client.wait().check()
    assert result.received == ["100", "200", "UPDATE", "200", "200"]
    asked = next(message for message in result.messages if message.method == "UPDATE")
    assert asked.header("Content-Type") == "application/rs-metadata-request"
    page = book.ended(number)
    assert page.kinds == ["arrived", "answered", "parties", "ended"]
    assert (page.outcome, page.entries, len(page.evidence)) == ("answered", 1, 1)
    assert account(words, book.voices(page)[0]).perfect
    assert account(words[::-1], book.voices(page)[1]).perfect
    assert recording.sent_nothing()


def test_a_client_by_tcp(
    service: Service, book: Book, sipp: Sipp, rtp_peer: OpenPeer, words: bytes, number: str
) -> None:
    """Metadata are long: clients send them by TCP (RFC 3261 18.1.1)."""
    recording = begin(sipp, rtp_peer, service, caller=number, session=f"{number}-a", transport="tcp")
    recording.talk(words, words[::-1])
    result = recording.client.wait().check()
    assert {message.transport for message in result.messages} == {"TCP"}
    page = book.ended(number)
    assert (page.outcome, page.damage) == ("answered", None)
    assert account(words, book.voices(page)[0]).perfect


@pytest.mark.rule("6.1-e")
def test_a_transfer_at_the_pbx_is_marked_and_all_of_it_recorded(
    service: Service,
    book: Book,
    sipp: Sipp,
    rtp_peer: OpenPeer,
    words: bytes,
    number: str,
    another_number: Callable[[], str],
) -> None:
    stranger = another_number()
    recording = begin(
        sipp,
        rtp_peer,
        service,
        "recording_client_transfers",
        caller=number,
        stranger=stranger,
        session=f"{number}-a",
    )
    recording.talk(words, words[::-1])
    moved = recording.client.wait_for_message(
        lambda message: _is_answer(message) and "3 INVITE" in message.text and bool(message.body)
    )
    caller_port, officer_port, stranger_port = ports_in(moved)
    assert (caller_port, officer_port, stranger_port) == (recording.ports[0], 0, recording.ports[1])
    later = words[len(words) // 320 * 160 :]
    recording.stranger.send(later[: 20 * 160], (HOST, stranger_port))
    recording.client.wait().check()
    page = book.ended(number)
    assert page.kinds == [
        "arrived",
        "parties",
        "answered",
        "parties",
        "held",
        "parties",
        "forward_marked",
        "resumed",
        "ended",
    ]
    assert page.data_of("forward_marked") == {"way": "recorded_transfer", "target": f"sip:{stranger}@{HOST}"}
    assert page.alarms == ("forward_marked",)
    assert len(page.evidence) == 3
    heard = book.voices(page)
    assert account(words, heard[0]).perfect
    assert account(words[::-1], heard[1]).perfect
    assert account(later[: 20 * 160], heard[1]).perfect
    assert recording.sent_nothing()


@pytest.mark.parametrize(("host", "final"), [("127.0.0.9", 403), ("127.0.0.72", 404)])
def test_nobody_else_may_fork_a_call(
    service: Service, book: Book, sipp: Sipp, number: str, host: str, final: int
) -> None:
    """One from elsewhere, and one that may, but for another line."""
    refused = sipp.start(
        "recording_client_refused",
        remote=service.address,
        host=host,
        values={"line": LINE.number, "caller": number, "caller_port": 9, "officer_port": 9, "final": final},
    )
    result = refused.wait().check()
    assert result.received == [str(final)]
    assert len({message.header("Via") for message in result.messages if message.direction == "sent"}) == 1
    assert book.calls(number) == []
    assert service.answers()


def test_a_call_of_nobody_here_is_not_recorded(service: Service, book: Book, sipp: Sipp, number: str) -> None:
    values: dict[str, str | int] = {"line": PLAIN.number, "caller": number, "caller_port": 9, "officer_port": 9}
    refused = sipp.start("recording_client_refused", remote=service.address, values={**values, "final": 404})
    refused.wait().check()
    assert book.calls(number) == []


@pytest.mark.rule("6.1-d")
def test_a_session_begun_anew_after_our_restart_is_linked_to_the_first(
    start_service: Callable[..., Service],
    open_book: Callable[[Service], Book],
    sipp: Sipp,
    rtp_peer: OpenPeer,
    words: bytes,
    number: str,
) -> None:
    service = start_service(LINE)
    book = open_book(service)
    lost = begin(sipp, rtp_peer, service, "recording_client_lost", caller=number, talk_ms=6000)
    lost.talk(words, words[::-1])
    time.sleep(1.2)
    service.kill()
    service.start()
    lost.client.wait().check()
    again = begin(sipp, rtp_peer, service, caller=number)
    again.talk(words, words[::-1])
    again.client.wait().check()
    deadline = time.monotonic() + 10
    while any(page.recording_state == "open" for page in book.calls(number)) and time.monotonic() < deadline:
        time.sleep(0.05)
    first, second = book.calls(number)
    assert (first.outcome, second.outcome) == ("interrupted", "answered")
    assert second.kinds == ["arrived", "continued", "parties", "answered", "ended"]
    assert second.data_of("continued") == {"call": first.call_id, "part": "earlier"}
    assert first.data_of("continued") == {"call": second.call_id, "part": "later"}
    for page in (first, second):
        assert account(words, book.voices(page)[0]).perfect
        assert account(words[::-1], book.voices(page)[1]).perfect
