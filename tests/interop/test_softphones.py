"""Foreign softphones at the line: as the desk phone, as the caller, and dialling out. Each passes the same tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.interop.cells import proves
from tests.interop.softphones import Account, Softphone, StartSoftphone, linphone_phone
from tests.interop.talk import Party, Values, folder_of, share_heard, wait_until
from tests.line.book import Book
from tests.line.conftest import DESK
from tests.line.desk import Desk
from tests.line.service import Service
from tests.peers.audio import align, decode_alaw, write_wav
from tests.peers.linphone import Linphone, LinphoneAccount
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp

pytestmark = [pytest.mark.peer, pytest.mark.slow]

OpenPeer = Callable[..., RtpPeer]
HEARD = 0.85
"""The least share of what was said that comes out behind a jitter buffer; the rest slipped by some samples."""


def _phone(
    start: StartSoftphone, service: Service, book: Book, source: Path | None = None, **more: object
) -> Softphone:
    account = Account(
        user="1001",
        server=service.address,
        password=service.password("1001"),
        registers=True,
        **more,  # type: ignore[arg-type]
    )
    phone = start(account, source=source)
    phone.wait_registered()
    wait_until(lambda: book.component("1001")[0] == "registered", "the phone is not shown as registered")
    return phone


def _caller(
    sipp: Sipp,
    service: Service,
    rtp_peer: OpenPeer,
    scenario: str,
    number: str,
    *,
    own: bool = False,
    **more: str | int,
) -> Party:
    media = rtp_peer()
    values: Values = {"line": DESK, "caller": number, "media_port": media.port, **more}
    return Party(sipp.start(scenario, remote=service.address, values=values, scenarios=folder_of(scenario)), media)


@proves("baresip", "desk phone", "registers", "answers", "both voices", "sends digits", "hears digits", "is hung up on")
@proves(
    "linphone", "desk phone", "registers", "answers", "both voices", "sends digits", "hears digits", "is hung up on"
)
@proves("SIPp", "caller", "sends digits", "hears digits")
@pytest.mark.rule("6.1-d")
def test_the_desk_phone_answers(
    service: Service,
    book: Book,
    sipp: Sipp,
    softphone: StartSoftphone,
    rtp_peer: OpenPeer,
    utterance: bytes,
    number: str,
    tmp_path: Path,
) -> None:
    officer = utterance[::-1]
    phone = _phone(softphone, service, book, write_wav(tmp_path / "officer.wav", decode_alaw(officer)))
    caller = _caller(sipp, service, rtp_peer, "caller_external_media", number, talk_ms=len(utterance) // 8 + 6500)
    phone.wait_ringing()
    phone.answer()
    phone.wait_talking()
    caller.says(utterance)
    caller.presses("4*7")
    phone.press("25")
    caller.run.wait().check()
    phone.wait_over()

    assert share_heard(decode_alaw(utterance), phone.heard()) >= HEARD
    assert caller.heard(officer) >= HEARD
    assert (phone.pressed(), caller.pressed()) == ("4*7", "25")
    page = book.ended(number)
    assert (page.outcome, page.end_reason, page.answered_by) == ("answered", "caller_hung_up", "1001")
    digits = [(data["by"], data["digit"]) for kind, data in page.events if kind == "dtmf"]
    assert digits == [("caller", "4"), ("caller", "*"), ("caller", "7"), ("officer", "2"), ("officer", "5")]
    sound = book.sound(page)
    assert align(decode_alaw(utterance), sound[:, 0]).correlation >= 0.99
    assert share_heard(decode_alaw(officer), sound[:, 1]) >= HEARD


@proves("baresip", "desk phone", "holds", "hangs up")
@proves("linphone", "desk phone", "holds", "hangs up")
def test_the_desk_phone_holds_resumes_and_hangs_up(
    service: Service,
    book: Book,
    sipp: Sipp,
    softphone: StartSoftphone,
    rtp_peer: OpenPeer,
    utterance: bytes,
    words: bytes,
    number: str,
    tmp_path: Path,
) -> None:
    phone = _phone(softphone, service, book, write_wav(tmp_path / "officer.wav", decode_alaw(utterance * 6)))
    caller = _caller(sipp, service, rtp_peer, "caller_external_media_hears_bye", number)
    phone.wait_ringing()
    phone.answer()
    phone.wait_talking()
    caller.says(words[::-1])
    phone.hold()
    book.wait(number, lambda page: "held" in page.kinds)
    caller.says(utterance[::-1])
    phone.resume()
    book.wait(number, lambda page: "resumed" in page.kinds)
    before = len(caller.media.received)
    caller.says(utterance)
    assert len(caller.media.received) - before > len(utterance) // 160 - 20, "the caller hears nothing after the hold"
    phone.hangup()
    assert caller.run.wait().check().received[-1] == "BYE"
    phone.wait_over()

    if phone.hears_after_hold:
        assert share_heard(decode_alaw(utterance), phone.heard()) >= HEARD
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("answered", "officer_hung_up")
    assert [kind for kind in page.kinds if kind != "ringing"] == [
        "arrived",
        "leg_started",
        "answered",
        "held",
        "resumed",
        "ended",
    ]
    assert align(decode_alaw(utterance[::-1]), book.sound(page)[:, 0]).correlation >= 0.99, "not recorded while held"


@proves("baresip", "desk phone", "is held")
@proves("linphone", "desk phone", "is held")
@proves("SIPp", "caller", "holds")
def test_the_caller_holds_the_desk_phone(
    service: Service,
    book: Book,
    sipp: Sipp,
    softphone: StartSoftphone,
    rtp_peer: OpenPeer,
    utterance: bytes,
    number: str,
) -> None:
    phone = _phone(softphone, service, book)
    after_ms = len(utterance) // 8 + 1500
    caller = _caller(sipp, service, rtp_peer, "caller_holds_and_resumes", number, before_ms=1500, after_ms=after_ms)
    phone.wait_ringing()
    phone.answer()
    phone.wait_talking()
    book.wait(number, lambda page: "resumed" in page.kinds)
    caller.says(utterance)
    caller.run.wait().check()
    phone.wait_over()
    assert share_heard(decode_alaw(utterance), phone.heard()) >= HEARD
    page = book.ended(number)
    assert page.data_of("held") == {"by": "caller"}
    assert (page.outcome, page.end_reason) == ("answered", "caller_hung_up")


@proves("baresip", "desk phone", "refuses")
@proves("linphone", "desk phone", "refuses")
@pytest.mark.rule("6.1-a")
def test_the_desk_phone_refuses(
    service: Service, book: Book, sipp: Sipp, softphone: StartSoftphone, number: str
) -> None:
    phone = _phone(softphone, service, book)
    values: Values = {"line": DESK, "caller": number, "final": phone.refusal[0]}
    caller = sipp.start("caller_refused", remote=service.address, values=values, timeout_s=20)
    phone.wait_ringing()
    phone.hangup()
    caller.wait().check()
    assert book.ended(number).outcome == phone.refusal[1]


@proves("baresip", "desk phone", "cancels")
@proves("linphone", "desk phone", "cancels")
@pytest.mark.rule("6.1-a")
def test_the_caller_gives_up_while_the_desk_phone_rings(
    service: Service, book: Book, sipp: Sipp, softphone: StartSoftphone, number: str
) -> None:
    phone = _phone(softphone, service, book)
    values: Values = {"line": DESK, "caller": number, "ring_ms": 1500}
    caller = sipp.start("caller_cancels", remote=service.address, values=values)
    phone.wait_ringing()
    caller.wait().check()
    phone.wait_over()
    assert book.ended(number).outcome == "cancelled"


# As the caller


def _dialling(
    start: StartSoftphone, service: Service, number: str, source: Path | None = None, **more: object
) -> Softphone:
    account = Account(user=number, server=service.address, **more)  # type: ignore[arg-type]
    return start(account, source=source)


def _line(service: Service) -> str:
    return f"sip:{DESK}@{service.address[0]}:{service.address[1]}"


def _at_desk(desk: Desk, rtp_peer: OpenPeer, scenario: str, **more: str | int) -> Party:
    media = rtp_peer()
    return Party(
        desk.phone(scenario, "1001", values={"media_port": media.port, **more}, scenarios=folder_of(scenario)), media
    )


@proves("baresip", "caller", "answers", "both voices", "sends digits", "hears digits", "hangs up")
@proves("linphone", "caller", "answers", "both voices", "sends digits", "hears digits", "hangs up")
@proves("SIPp", "desk phone", "sends digits", "hears digits")
@pytest.mark.rule("6.1-d")
def test_the_caller_talks_and_hangs_up(
    service: Service,
    desk: Desk,
    book: Book,
    softphone: StartSoftphone,
    rtp_peer: OpenPeer,
    utterance: bytes,
    number: str,
    tmp_path: Path,
) -> None:
    said = utterance[::-1]
    officer = _at_desk(desk, rtp_peer, "phone_answers_external_media")
    caller = _dialling(softphone, service, number, write_wav(tmp_path / "caller.wav", decode_alaw(said)))
    caller.dial(_line(service))
    caller.wait_talking()
    officer.says(utterance)
    officer.presses("39")
    caller.press("5*")
    wait_until(lambda: len(officer.pressed()) == 2, f"the caller's keys did not come: {officer.pressed()}")
    caller.hangup()
    officer.run.wait().check()
    caller.wait_over()
    assert officer.heard(said) >= HEARD
    assert share_heard(decode_alaw(utterance), caller.heard()) >= HEARD
    assert caller.pressed() == "39"
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("answered", "caller_hung_up")
    digits = [(data["by"], data["digit"]) for kind, data in page.events if kind == "dtmf"]
    assert digits == [("officer", "3"), ("officer", "9"), ("caller", "5"), ("caller", "*")]
    assert share_heard(decode_alaw(said), book.sound(page)[:, 0]) >= HEARD


@proves("baresip", "caller", "holds", "is hung up on")
@proves("linphone", "caller", "holds", "is hung up on")
@proves("SIPp", "desk phone", "is held")
def test_the_caller_holds_and_is_hung_up_on(
    service: Service,
    desk: Desk,
    book: Book,
    softphone: StartSoftphone,
    rtp_peer: OpenPeer,
    utterance: bytes,
    words: bytes,
    number: str,
    tmp_path: Path,
) -> None:
    officer = _at_desk(desk, rtp_peer, "phone_hangs_up_external_media", talk_ms=len(utterance) // 8 + 8000)
    caller = _dialling(softphone, service, number, write_wav(tmp_path / "caller.wav", decode_alaw(utterance * 6)))
    caller.dial(_line(service))
    caller.wait_talking()
    officer.says(words[::-1])
    caller.hold()
    book.wait(number, lambda page: "held" in page.kinds)
    caller.resume()
    book.wait(number, lambda page: "resumed" in page.kinds)
    before = len(officer.media.received)
    officer.says(utterance)
    assert len(officer.media.received) - before > len(utterance) // 160 - 20, "the officer hears nothing after the hold"
    officer.run.wait().check()
    caller.wait_over()
    if caller.hears_after_hold:
        assert share_heard(decode_alaw(utterance), caller.heard()) >= HEARD
    page = book.ended(number)
    assert page.data_of("held") == {"by": "caller"}
    assert (page.outcome, page.end_reason) == ("answered", "officer_hung_up")


@proves("baresip", "caller", "is held")
@proves("linphone", "caller", "is held")
def test_the_officer_holds_the_caller(
    service: Service,
    desk: Desk,
    book: Book,
    softphone: StartSoftphone,
    rtp_peer: OpenPeer,
    utterance: bytes,
    number: str,
) -> None:
    officer = _at_desk(desk, rtp_peer, "phone_holds_and_resumes")
    caller = _dialling(softphone, service, number)
    caller.dial(_line(service))
    caller.wait_talking()
    book.wait(number, lambda page: "resumed" in page.kinds)
    officer.says(utterance)
    caller.hangup()
    officer.run.wait().check()
    caller.wait_over()
    assert share_heard(decode_alaw(utterance), caller.heard()) >= HEARD
    assert book.ended(number).data_of("held") == {"by": "officer"}


@proves("baresip", "caller", "cancels")
@proves("linphone", "caller", "cancels")
@pytest.mark.rule("6.1-a")
def test_the_caller_gives_up(service: Service, desk: Desk, book: Book, softphone: StartSoftphone, number: str) -> None:
    phone = desk.phone("phone_never_answers", "1001")
    caller = _dialling(softphone, service, number)
    caller.dial(_line(service))
    book.wait(number, lambda page: "ringing" in page.kinds)
    time.sleep(0.3)
    caller.hangup()
    caller.wait_over()
    assert phone.wait().received == ["INVITE", "CANCEL", "ACK"]
    assert book.ended(number).outcome == "cancelled"


@proves("baresip", "caller", "refuses")
@proves("linphone", "caller", "refuses")
@pytest.mark.rule("6.1-a")
def test_the_caller_is_told_that_the_officer_is_busy(
    service: Service, desk: Desk, book: Book, softphone: StartSoftphone, number: str
) -> None:
    phone = desk.phone("phone_busy_at_once", "1001")
    caller = _dialling(softphone, service, number)
    caller.dial(_line(service))
    caller.wait_over()
    phone.wait().check()
    assert book.ended(number).outcome == "busy"


# Keys by INFO


@pytest.mark.rule("6.1-e")
def test_keys_that_the_desk_phone_sends_by_info_count_as_any_other(
    service: Service,
    book: Book,
    sipp: Sipp,
    linphone: Callable[..., Linphone],
    rtp_peer: OpenPeer,
    words: bytes,
    number: str,
    tmp_path: Path,
) -> None:
    """The caller, who reads events, is pressed them; a forwarding code stays here and is told of."""

    def start(account: Account, *, source: Path | None = None) -> Softphone:
        return linphone_phone(linphone, account, source)

    phone = _phone(start, service, book, write_wav(tmp_path / "officer.wav", decode_alaw(words)), digits="info")
    caller = _caller(sipp, service, rtp_peer, "caller_external_media", number, talk_ms=12_000)
    phone.wait_ringing()
    phone.answer()
    caller.says(words)
    phone.press("58")
    wait_until(lambda: caller.pressed() == "58", f"the keys did not come: {caller.pressed()}")
    phone.press("*21*9")
    page = book.wait(
        number, lambda page: [data["digit"] for kind, data in page.events if kind == "dtmf"] == [*"58*21*9"]
    )
    caller.run.wait().check()
    assert page.data_of("forward_blocked") == {"way": "pressed_code", "target": "*21*", "source": "127.0.0.1"}
    assert page.evidence[0].startswith(b"INFO ")
    assert caller.pressed() == "58*21"
    assert book.ended(number).end_reason == "caller_hung_up"


# Media of the other IP version


@pytest.mark.rule("6.1-a")
def test_a_caller_whose_audio_is_on_ipv6_is_told_so_over_ipv4(
    service: Service, book: Book, linphone: Callable[..., Linphone], number: str
) -> None:
    """It named an address that the line cannot reach: 488 with the Warning that says so (RFC 3261 20.43), instead of a
    call in which one side hears nothing."""
    caller = linphone(LinphoneAccount(user=number, registrar=service.address, ipv6=True))
    caller.dial(f"sip:{DESK}@{service.address[0]}:{service.address[1]}")
    caller.wait_state("Error")
    log = (caller.work / "debug.log").read_text("utf-8", "replace")
    assert "c=IN IP6 " in log
    assert "SIP/2.0 488" in log
    assert 'Warning: 301 dutyline "' in log
    page = book.ended(number)
    assert page.outcome == "failed"
    assert service.answers()
