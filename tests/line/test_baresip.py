"""A real softphone on both sides of the line: baresip as desk phone and as caller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from tests.line.book import Book
from tests.line.conftest import DESK
from tests.line.service import Service
from tests.peers.audio import align, decode_alaw, write_wav
from tests.peers.baresip import Baresip, BaresipAccount
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp

pytestmark = pytest.mark.peer

StartBaresip = Callable[..., Baresip]
OpenPeer = Callable[..., RtpPeer]


def _phone(
    baresip: StartBaresip,
    service: Service,
    book: Book,
    *,
    answer: Literal["manual", "auto"] = "manual",
    transport: Literal["udp", "tcp"] = "udp",
    source: Path | None = None,
) -> Baresip:
    account = BaresipAccount(
        user="1001",
        registrar=service.address,
        password=service.password("1001"),
        expires_s=120,
        answer=answer,
        transport=transport,
    )
    phone = baresip(account, source=source)
    phone.wait_event("REGISTER_OK")
    service.wait(lambda: book.component("1001")[0] == "registered", "the phone is not shown as registered")
    return phone


@pytest.mark.rule("4-a")
@pytest.mark.rule("6.1-a")
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_baresip_answers_and_both_hear_each_other(
    service: Service,
    book: Book,
    sipp: Sipp,
    baresip: StartBaresip,
    rtp_peer: OpenPeer,
    utterance: bytes,
    number: str,
    tmp_path: Path,
    transport: Literal["udp", "tcp"],
) -> None:
    officer = decode_alaw(utterance[::-1])
    source = write_wav(tmp_path / "officer.wav", officer)
    phone = _phone(baresip, service, book, transport=transport, source=source)
    caller_media = rtp_peer()
    caller = sipp.start(
        "caller_external_media",
        remote=service.address,
        values={
            "line": DESK,
            "caller": number,
            "media_port": caller_media.port,
            "talk_ms": len(utterance) // 8 + 1000,
        },
    )
    phone.wait_event("CALL_INCOMING")
    phone.answer()
    phone.wait_event("CALL_ESTABLISHED")
    caller_media.send(utterance, caller.wait_for_audio_address())
    assert caller.wait().check().received == ["100", "180", "200", "200"]
    phone.wait_event("CALL_CLOSED")

    assert align(decode_alaw(utterance), phone.heard()).correlation >= 0.99
    assert align(officer, decode_alaw(caller_media.heard())).correlation >= 0.99
    page = book.ended(number)
    assert (page.outcome, page.answered_by) == ("answered", "1001")
    sound = book.sound(page)
    assert align(decode_alaw(utterance), sound[:, 0]).correlation >= 0.99
    assert align(officer, sound[:, 1]).correlation >= 0.99
    phone.unregister()
    service.wait(lambda: book.component("1001")[0] == "unregistered", "the phone is still shown as registered")


@pytest.mark.rule("6.1-a")
def test_baresip_rejects(service: Service, book: Book, sipp: Sipp, baresip: StartBaresip, number: str) -> None:
    phone = _phone(baresip, service, book)
    caller = sipp.start("caller_refused", remote=service.address, values={"line": DESK, "caller": number, "final": 486})
    phone.wait_event("CALL_INCOMING")
    phone.hangup()
    caller.wait().check()
    assert book.ended(number).outcome == "busy"


@pytest.mark.rule("6.1-a")
def test_baresip_hangs_up(
    service: Service, book: Book, sipp: Sipp, baresip: StartBaresip, words: bytes, number: str
) -> None:
    phone = _phone(baresip, service, book, answer="auto")
    caller = sipp.start(
        "caller_hears_bye", remote=service.address, audio=words, values={"line": DESK, "caller": number}
    )
    phone.wait_event("CALL_ESTABLISHED")
    book.wait(number, lambda page: page.state == "answered")
    phone.hangup()
    assert caller.wait().check().received[-1] == "BYE"
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("answered", "officer_hung_up")


def test_baresip_holds_and_resumes(
    service: Service, book: Book, sipp: Sipp, baresip: StartBaresip, utterance: bytes, number: str
) -> None:
    phone = _phone(baresip, service, book, answer="auto")
    caller = sipp.start(
        "caller_talks_then_bye", remote=service.address, audio=utterance, values={"line": DESK, "caller": number}
    )
    phone.wait_event("CALL_ESTABLISHED")
    phone.hold()
    book.wait(number, lambda page: "held" in page.kinds)
    phone.resume()
    book.wait(number, lambda page: "resumed" in page.kinds)
    caller.wait().check()
    page = book.ended(number)
    assert page.kinds == ["arrived", "leg_started", "ringing", "answered", "held", "resumed", "ended"]
    assert align(decode_alaw(utterance), book.sound(page)[:, 0]).correlation >= 0.99


@pytest.mark.rule("6.1-e")
def test_baresip_tries_to_transfer(
    service: Service, book: Book, sipp: Sipp, baresip: StartBaresip, words: bytes, number: str
) -> None:
    phone = _phone(baresip, service, book, answer="auto")
    caller = sipp.start(
        "caller_hears_bye", remote=service.address, audio=words, values={"line": DESK, "caller": number}
    )
    phone.wait_event("CALL_ESTABLISHED")
    book.wait(number, lambda page: page.state == "answered")
    phone.transfer("sip:13900139000@127.0.0.1")
    assert phone.wait_event("TRANSFER_FAILED").parameter.startswith("603")
    caller.wait().check()
    page = book.ended(number)
    assert page.data_of("forward_blocked")["way"] == "refer"
    assert "13900139000" in page.data_of("forward_blocked")["target"]
    assert page.alarms == ("forward_blocked",)


@pytest.mark.rule("6.1-a")
def test_baresip_calls_the_line(
    service: Service, book: Book, baresip: StartBaresip, number: str, tmp_path: Path, utterance: bytes
) -> None:
    """Softphone to softphone, as a newcomer tries it on one machine."""
    _phone(baresip, service, book, answer="auto")
    said = decode_alaw(utterance)
    caller = baresip(
        BaresipAccount(user=number, registrar=service.address), source=write_wav(tmp_path / "caller.wav", said)
    )
    caller.dial(f"sip:{DESK}@{service.address[0]}:{service.address[1]}")
    caller.wait_event("CALL_ESTABLISHED")
    answered = book.wait(number, lambda page: page.state == "answered")
    assert answered.answered_by == "1001"
    caller.wait_event("CALL_RTPESTAB")
    import time

    time.sleep(len(utterance) / 8000 + 0.5)
    caller.hangup()
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("answered", "caller_hung_up")
    assert align(said, book.sound(page)[:, 0]).correlation >= 0.99
