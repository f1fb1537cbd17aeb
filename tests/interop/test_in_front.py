"""A carrier's server in front of the line: Kamailio, which the trunk registers at with digest and which stays in the
route of every call (RFC 3261 16), or sippy's B2BUA. Calls come and go through it; both pass the same tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from duty.store.database import Store
from tests.interop.cells import proves
from tests.interop.exchange import EXTENSION, FAR_HOST, NUMBER, Exchange, behind_kamailio, behind_sippy
from tests.interop.talk import Party, Values, folder_of
from tests.line.book import Book
from tests.line.desk import Desk
from tests.line.service import Service
from tests.peers.audio import account
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp, SippRun

pytestmark = [pytest.mark.peer, pytest.mark.slow]

OpenPeer = Callable[..., RtpPeer]


@pytest.fixture(scope="module", params=["Kamailio", "sippy"])
def exchange(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    behind = {"Kamailio": behind_kamailio, "sippy": behind_sippy}[request.param]
    with behind(tmp_path_factory.mktemp(request.param)) as exchange:
        yield exchange


@pytest.fixture
def service(exchange: Exchange) -> Service:
    return exchange.service


@pytest.fixture(scope="module")
def book(exchange: Exchange) -> Iterator[Book]:
    with closing(Store(exchange.service.settings.store_url)) as store:
        yield Book(store, exchange.service.settings.data.recordings)


def _caller(exchange: Exchange, sipp: Sipp, rtp_peer: OpenPeer, scenario: str, number: str, **more: str | int) -> Party:
    media = rtp_peer()
    values: Values = {"line": NUMBER, "caller": number, "media_port": media.port, **more}
    return Party(sipp.start(scenario, remote=exchange.entry, values=values, scenarios=exchange.scenarios), media)


def _officer(desk: Desk, rtp_peer: OpenPeer, scenario: str, **more: str | int) -> Party:
    media = rtp_peer()
    values: Values = {"media_port": media.port, **more}
    return Party(desk.phone(scenario, EXTENSION, values=values, scenarios=folder_of(scenario)), media)


@proves("Kamailio", "in front, calls in", "answers", "both voices", "sends digits", "hears digits", "hangs up")
@proves("sippy", "in front, calls in", "answers", "both voices", "sends digits", "hears digits", "hangs up")
@pytest.mark.rule("6.1-d")
def test_a_call_comes_in_through_the_proxy(
    exchange: Exchange, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    officer = _officer(desk, rtp_peer, "phone_answers_external_media")
    caller = _caller(exchange, sipp, rtp_peer, "caller_external_media", number, talk_ms=2 * len(utterance) // 8 + 3000)
    officer.run.wait_for_message(lambda message: message.method == "ACK")
    caller.says(utterance)
    officer.says(utterance[::-1])
    caller.presses("12")
    officer.presses("34")
    caller.run.wait().check()
    officer.run.wait().check()
    assert account(utterance, officer.media.heard()).perfect
    assert account(utterance[::-1], caller.media.heard()).perfect
    assert (officer.pressed(), caller.pressed()) == ("12", "34")
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("answered", "caller_hung_up")
    assert exchange.proxy is None or exchange.proxy.requests("BYE")[-1][1] == f"127.0.0.1:{caller.run.port}"


@proves("Kamailio", "in front, calls in", "is hung up on")
@proves("sippy", "in front, calls in", "is hung up on")
def test_our_bye_follows_the_route(
    exchange: Exchange, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, number: str
) -> None:
    officer = _officer(desk, rtp_peer, "phone_hangs_up_external_media", talk_ms=500)
    caller = _caller(exchange, sipp, rtp_peer, "caller_external_media_hears_bye", number)
    assert caller.run.wait().check().received[-1] == "BYE"
    officer.run.wait().check()
    assert exchange.proxy is None or exchange.proxy.requests("BYE")[-1][1] == f"127.0.0.1:{exchange.service.port}"
    assert book.ended(number).end_reason == "officer_hung_up"


@proves("Kamailio", "in front, calls in", "holds")
@proves("sippy", "in front, calls in", "holds")
def test_the_caller_holds_through_the_proxy(
    exchange: Exchange, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    officer = _officer(desk, rtp_peer, "phone_answers_external_media")
    after_ms = len(utterance) // 8 + 1500
    caller = _caller(exchange, sipp, rtp_peer, "caller_holds_and_resumes", number, before_ms=500, after_ms=after_ms)
    book.wait(number, lambda page: "resumed" in page.kinds)
    officer.says(utterance)
    caller.run.wait().check()
    officer.run.wait().check()
    assert account(utterance, caller.media.heard()).perfect
    assert book.ended(number).data_of("held") == {"by": "caller"}


@proves("Kamailio", "in front, calls in", "is held")
@proves("sippy", "in front, calls in", "is held")
def test_the_officer_holds_and_resumes(
    exchange: Exchange, desk: Desk, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    officer = _officer(desk, rtp_peer, "phone_holds_and_resumes", before_ms=500)
    caller = _caller(exchange, sipp, rtp_peer, "caller_external_media", number, talk_ms=len(utterance) // 8 + 4000)
    book.wait(number, lambda page: "resumed" in page.kinds)
    caller.says(utterance)
    caller.run.wait().check()
    officer.run.wait().check()
    assert account(utterance, officer.media.heard()).perfect
    assert book.ended(number).data_of("held") == {"by": "officer"}


@proves("Kamailio", "in front, calls in", "cancels")
@proves("sippy", "in front, calls in", "cancels")
@pytest.mark.rule("6.1-a")
def test_the_caller_gives_up(exchange: Exchange, desk: Desk, book: Book, sipp: Sipp, number: str) -> None:
    phone = desk.phone("phone_never_answers", EXTENSION)
    values: Values = {"line": NUMBER, "caller": number, "ring_ms": 500}
    caller = sipp.start("caller_cancels", remote=exchange.entry, values=values, scenarios=exchange.scenarios)
    caller.wait().check()
    assert phone.wait().received == ["INVITE", "CANCEL", "ACK"]
    assert book.ended(number).outcome == "cancelled"


@proves("Kamailio", "in front, calls in", "refuses")
@proves("sippy", "in front, calls in", "refuses")
@pytest.mark.rule("6.1-a")
def test_busy_reaches_the_caller(exchange: Exchange, desk: Desk, book: Book, sipp: Sipp, number: str) -> None:
    phone = desk.phone("phone_busy_at_once", EXTENSION)
    values: Values = {"line": NUMBER, "caller": number, "final": 486}
    sipp.start("caller_refused", remote=exchange.entry, values=values, scenarios=exchange.scenarios).wait().check()
    phone.wait().check()
    assert book.ended(number).outcome == "busy"


# Out through the proxy


def _dial(exchange: Exchange, sipp: Sipp, scenario: str, number: str, **more: str | int) -> SippRun:
    service = exchange.service
    values: Values = {
        "user": EXTENSION,
        "auth_user": EXTENSION,
        "password": service.password(EXTENSION),
        "challenge": 401,
        "number": number,
        **more,
    }
    uri = f"{number}@{service.address[0]}:{service.address[1]}"
    return sipp.start(
        scenario,
        remote=service.address,
        values=values,
        auth_uri=uri,
        timeout_s=20,
        scenarios=folder_of(scenario),
    )


def _far(exchange: Exchange, sipp: Sipp, rtp_peer: OpenPeer, scenario: str, **more: str | int) -> Party:
    media = rtp_peer(host=FAR_HOST)
    values: Values = {"media_port": media.port, **more}
    return Party(
        sipp.start(scenario, host=FAR_HOST, port=exchange.far[1], values=values, scenarios=exchange.scenarios), media
    )


@proves("Kamailio", "in front, calls out", "registers", "answers", "both voices", "sends digits", "hears digits")
@proves("sippy", "in front, calls out", "answers", "both voices", "sends digits", "hears digits")
@proves("Kamailio", "in front, calls out", "is hung up on")
@proves("sippy", "in front, calls out", "is hung up on")
@pytest.mark.rule("6.1-d")
def test_a_call_goes_out_through_the_proxy(
    exchange: Exchange, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    far = _far(exchange, sipp, rtp_peer, "phone_answers_external_media")
    near = rtp_peer()
    talk_ms = 2 * len(utterance) // 8 + 3000
    run = _dial(exchange, sipp, "phone_dials_out_external_media", number, media_port=near.port, talk_ms=talk_ms)
    officer = Party(run, near)
    run.wait_for_message(lambda message: message.status == 200)
    officer.says(utterance)
    far.says(utterance[::-1])
    officer.presses("56")
    far.presses("78")
    run.wait().check()
    invite = far.run.wait().check().messages[0]
    assert account(utterance, far.media.heard()).perfect
    assert account(utterance[::-1], near.heard()).perfect
    assert (far.pressed(), officer.pressed()) == ("56", "78")
    assert NUMBER in (invite.header("From") or "")
    assert "Proxy-Authorization" not in invite.text
    page = book.ended(number)
    assert (page.direction, page.outcome, page.end_reason) == ("outbound", "answered", "officer_hung_up")
    assert exchange.proxy is None or exchange.proxy.requests("BYE")[-1][1] == f"127.0.0.1:{exchange.service.port}"


@proves("Kamailio", "in front, calls out", "hangs up")
@proves("sippy", "in front, calls out", "hangs up")
def test_the_far_party_hangs_up(exchange: Exchange, book: Book, sipp: Sipp, rtp_peer: OpenPeer, number: str) -> None:
    far = _far(exchange, sipp, rtp_peer, "phone_hangs_up_external_media", talk_ms=500)
    near = rtp_peer()
    run = _dial(exchange, sipp, "phone_dials_out_external_media", number, media_port=near.port, talk_ms=15_000)
    far.run.wait().check()
    run.wait_for_message(lambda message: message.method == "BYE" and message.direction == "received")
    run.stop()
    assert book.ended(number).end_reason == "caller_hung_up"


@proves("Kamailio", "in front, calls out", "holds")
@proves("sippy", "in front, calls out", "holds")
def test_the_far_party_holds(
    exchange: Exchange, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    far = _far(exchange, sipp, rtp_peer, "phone_holds_and_resumes", before_ms=500)
    near = rtp_peer()
    talk_ms = len(utterance) // 8 + 4000
    run = _dial(exchange, sipp, "phone_dials_out_external_media", number, media_port=near.port, talk_ms=talk_ms)
    officer = Party(run, near)
    book.wait(number, lambda page: "resumed" in page.kinds)
    officer.says(utterance)
    run.wait().check()
    far.run.wait().check()
    assert account(utterance, far.media.heard()).perfect
    assert book.ended(number).data_of("held") == {"by": "caller"}


@proves("Kamailio", "in front, calls out", "refuses")
@proves("sippy", "in front, calls out", "refuses")
def test_the_far_party_is_busy(exchange: Exchange, book: Book, sipp: Sipp, number: str) -> None:
    values: Values = {"final": 486, "reason": "Busy Here"}
    far = sipp.start(
        "phone_busy_at_once", host=FAR_HOST, port=exchange.far[1], values=values, scenarios=exchange.scenarios
    )
    run = _dial(exchange, sipp, "phone_dials_out_refused", number, final=486)
    assert run.wait().check().received[-1] == "486"
    far.wait().check()
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("busy", "network_486")


@proves("Kamailio", "in front, calls out", "is held")
@proves("sippy", "in front, calls out", "is held")
def test_the_officer_holds_whom_he_dialled(
    exchange: Exchange, book: Book, sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, number: str
) -> None:
    far = _far(exchange, sipp, rtp_peer, "phone_answers_external_media")
    near = rtp_peer()
    after_ms = len(utterance) // 8 + 2500
    run = _dial(
        exchange, sipp, "phone_dials_out_and_holds", number, media_port=near.port, before_ms=500, after_ms=after_ms
    )
    book.wait(number, lambda page: "resumed" in page.kinds)
    far.says(utterance)
    run.wait().check()
    far.run.wait().check()
    assert account(utterance, near.heard()).perfect
    assert book.ended(number).data_of("held") == {"by": "officer"}


@proves("Kamailio", "in front, calls out", "cancels")
@proves("sippy", "in front, calls out", "cancels")
@pytest.mark.rule("6.1-a")
def test_the_officer_gives_up(exchange: Exchange, book: Book, sipp: Sipp, number: str) -> None:
    far = sipp.start("phone_never_answers", host=FAR_HOST, port=exchange.far[1], scenarios=exchange.scenarios)
    _dial(exchange, sipp, "phone_dials_out_and_cancels", number).wait().check()
    assert far.wait().received == ["INVITE", "CANCEL", "ACK"]
    assert book.ended(number).outcome == "cancelled"
