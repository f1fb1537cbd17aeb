"""Calls that leave through the line: the trunk's registration, dialling out, call-back, and what the guard stops."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from duty.domain.numbers import NumberPlan
from duty.domain.rights import Actor, Role
from duty.domain.times import utc_now
from duty.services.commands import Commands
from duty.services.directory import Directory, NewContact
from duty.store.database import Store
from duty.store.tables import CommandRow, ContactNumberRow, OfficerRow
from tests.line.book import Book
from tests.line.desk import Desk
from tests.line.service import Line, Service, Trunk
from tests.line.variants import variant
from tests.peers.audio import account, encode_alaw
from tests.peers.digits import press, pressed, sounded
from tests.peers.ports import Address, free_port
from tests.peers.rtp_peer import RtpPeer, packetize
from tests.peers.sip_trace import SipMessage
from tests.peers.sipp import SCENARIOS, Sipp, SippRun

pytestmark = pytest.mark.peer

OpenPeer = Callable[..., RtpPeer]
Values = dict[str, str | int]
PBX_HOST = "127.0.0.2"
KNOWN, OPEN, WRONG = "037122590011", "037122590012", "037122590013"
"""Lines: registered at a PBX with credentials; peered without; with the wrong password."""
SECRET = "pbx-secret"
DIALS = "phone_dials_out_external_media"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """The service and where its PBXes are."""

    service: Service
    known: Address
    open: Address


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """A service whose trunks have registered at SIPp."""
    root = tmp_path_factory.mktemp("outbound")
    known, open_, wrong = ((PBX_HOST, free_port(PBX_HOST)) for _ in range(3))
    lines = (
        Line(number=KNOWN, phones=("2001",), trunk=Trunk(registrar=known, username="duty", password=SECRET)),
        Line(number=OPEN, phones=("2002",), trunk=Trunk(registrar=open_)),
        Line(number=WRONG, phones=("2003",), trunk=Trunk(registrar=wrong, username="duty", password="wrong")),
    )
    registrars = Sipp(root)
    values: Values = {"auth_user": "duty", "password": SECRET}
    started = [
        registrars.start("line_registrar", values=values, host=PBX_HOST, port=port) for _, port in (known, wrong)
    ]
    with Service(root / "service", lines) as running:
        accepting, refusing = (run.wait() for run in started)
        accepting.check()
        assert refusing.sent == ["401", "403"]
        yield Exchange(service=running, known=known, open=open_)
    registrars.close()


@pytest.fixture
def service(exchange: Exchange) -> Service:
    return exchange.service


@pytest.fixture(scope="module")
def book(exchange: Exchange) -> Iterator[Book]:
    with closing(Store(exchange.service.settings.store_url)) as store:
        yield Book(store, exchange.service.settings.data.recordings)


def _dial(
    sipp: Sipp,
    service: Service,
    scenario: str,
    extension: str,
    number: str,
    *,
    audio: bytes | None = None,
    scenarios: Path = SCENARIOS,
    **more: str | int,
) -> SippRun:
    values: Values = {
        "user": extension,
        "auth_user": extension,
        "password": service.password(extension),
        "challenge": 401,
        "number": number,
        **more,
    }
    uri = f"{number}@{service.address[0]}:{service.address[1]}"
    return sipp.start(
        scenario,
        remote=service.address,
        audio=audio,
        values=values,
        auth_uri=uri,
        timeout_s=15,
        scenarios=scenarios,
    )


def _digest_is_right(message: SipMessage, password: str) -> bool:
    """RFC 2617 3.2.2, worked out here for what the line sent."""

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    header = message.header("Authorization") or message.header("Proxy-Authorization") or ""
    given = dict(re.findall(r'(\w+)="?([^",]*)"?', header.removeprefix("Digest ")))
    first, second = md5(given["username"], given["realm"], password), md5(message.method, given["uri"])
    return given["response"] == md5(first, given["nonce"], given["nc"], given["cnonce"], given["qop"], second)


@pytest.mark.rule("4-a")
def test_the_state_of_each_trunk_is_shown(service: Service, book: Book) -> None:
    service.wait(lambda: book.component(KNOWN) == ("registered", ""), "the trunk is not shown as registered")
    service.wait(lambda: book.component(WRONG)[0] == "failed", "the refused trunk is not shown")
    assert book.component(OPEN)[0] == "unchecked"
    assert "403" in book.component(WRONG)[1]
    (alarm,) = book.alarms("trunk_unreachable")
    assert (alarm.subject, alarm.severity, alarm.cleared_at) == (WRONG, "critical", None)


@pytest.mark.rule("6.1-d")
def test_the_officer_dials_out_and_both_voices_are_kept(
    exchange: Exchange, service: Service, book: Book, sipp: Sipp, utterance: bytes, number: str
) -> None:
    far = sipp.start(
        "phone_answers_and_talks", audio=utterance[::-1], host=PBX_HOST, port=exchange.open[1], values={"user": number}
    )
    phone = _dial(sipp, service, "phone_dials_out", "2002", number, audio=utterance)
    assert phone.wait().check().received == ["401", "100", "180", "200", "200"]
    result = far.wait().check()
    assert result.received == ["INVITE", "ACK", "BYE"]
    invite = result.messages[0]
    assert invite.start_line == f"INVITE sip:{number}@{PBX_HOST}:{exchange.open[1]} SIP/2.0"
    assert OPEN in (invite.header("From") or "")
    assert "2002" not in invite.text, "the extension is nobody's business outside"
    page = book.ended(number)
    assert (page.direction, page.outcome, page.caller_number) == ("outbound", "answered", OPEN)
    assert page.kinds == ["arrived", "ringing", "answered", "ended"]
    recorded = book.voices(page)
    assert account(utterance[::-1], recorded[0]).perfect
    assert account(utterance, recorded[1]).perfect


@pytest.mark.parametrize(("challenge", "header"), [(407, "Proxy-Authenticate"), (401, "WWW-Authenticate")])
def test_the_pbx_asks_for_credentials(
    exchange: Exchange,
    service: Service,
    book: Book,
    sipp: Sipp,
    rtp_peer: OpenPeer,
    words: bytes,
    number: str,
    challenge: int,
    header: str,
) -> None:
    ear = rtp_peer(host=PBX_HOST)
    values: Values = {
        "challenge": challenge,
        "challenge_header": header,
        "media_port": ear.port,
        "media_host": PBX_HOST,
        "user": number,
    }
    far = sipp.start("line_challenges_call", values=values, host=PBX_HOST, port=exchange.known[1])
    phone = _dial(sipp, service, "phone_dials_out", "2001", number, audio=words)
    phone.wait().check()
    result = far.wait().check()
    assert result.received == ["INVITE", "ACK", "INVITE", "ACK", "BYE"]
    again = [one for one in result.messages if one.method == "INVITE" and one.direction == "received"][1]
    assert _digest_is_right(again, SECRET)
    assert not _digest_is_right(again, "wrong")
    assert account(words, ear.heard()).perfect
    assert book.ended(number).outcome == "answered"


@pytest.mark.parametrize(
    ("final", "towards_phone", "outcome"), [(486, 486, "busy"), (404, 404, "failed"), (603, 603, "rejected")]
)
def test_the_far_party_refuses(
    exchange: Exchange,
    service: Service,
    book: Book,
    sipp: Sipp,
    number: str,
    final: int,
    towards_phone: int,
    outcome: str,
) -> None:
    far = sipp.start(
        "phone_busy_at_once", values={"final": final, "reason": "No"}, host=PBX_HOST, port=exchange.open[1]
    )
    phone = _dial(sipp, service, "phone_dials_out_refused", "2002", number, final=towards_phone)
    assert phone.wait().check().received == ["401", "100", str(towards_phone)]
    far.wait().check()
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == (outcome, f"network_{final}")
    assert page.pending == ()


@pytest.mark.rule("6.1-e")
def test_a_redirect_from_the_network_is_not_followed(
    exchange: Exchange, service: Service, book: Book, sipp: Sipp, rtp_peer: OpenPeer, number: str
) -> None:
    elsewhere = rtp_peer()
    target = f"sip:13900139000@127.0.0.1:{elsewhere.port}"
    far = sipp.start("phone_redirects", values={"target": target}, host=PBX_HOST, port=exchange.open[1])
    phone = _dial(sipp, service, "phone_dials_out_refused", "2002", number, final=480)
    phone.wait().check()
    far.wait().check()
    page = book.ended(number)
    assert page.outcome == "missed"
    assert page.data_of("forward_blocked") == {"way": "network_redirect", "target": target, "source": PBX_HOST}
    assert page.alarms == ("forward_blocked",)
    assert page.evidence[0].startswith(b"SIP/2.0 302 ")
    assert (elsewhere.received, elsewhere.foreign) == ([], [])


@pytest.mark.rule("6.1-e")
def test_a_call_that_the_network_forwards_goes_on_and_is_marked(
    exchange: Exchange, service: Service, book: Book, sipp: Sipp, utterance: bytes, number: str
) -> None:
    """181 on a call of ours: whom we reach is no longer whom we dialled, which the book says (RFC 3261 21.1.3)."""
    forwards = variant(sipp, "phone_answers_and_talks", ("180 Ringing", "181 Call Is Being Forwarded"))
    far = sipp.start(
        "phone_answers_and_talks",
        audio=utterance[::-1],
        host=PBX_HOST,
        port=exchange.open[1],
        values={"user": number},
        scenarios=forwards,
    )
    phone = _dial(sipp, service, "phone_dials_out", "2002", number, audio=utterance)
    phone.wait().check()
    far.wait().check()
    page = book.ended(number)
    assert page.outcome == "answered"
    assert page.data_of("forward_marked")["way"] == "forwarded_181"
    assert "forward_marked" in page.alarms
    recorded = book.voices(page)
    assert account(utterance[::-1], recorded[0]).perfect
    assert account(utterance, recorded[1]).perfect


@pytest.mark.rule("6.1-e")
@pytest.mark.parametrize(
    "dialled",
    [
        "*57*139001390{}%23",
        "*40*139001391{}%23",
        "*41*139001392{}%23",
        "**21*139001393{}%23",
        "**61*139001394{}%23",
        "**62*139001395{}%23",
        "**67*139001396{}%23",
        "*72139001397{}",
        "*73{}",
        "*90139001398{}",
        "*92139001399{}",
    ],
)
def test_a_forwarding_code_is_refused_and_never_leaves(
    exchange: Exchange, service: Service, book: Book, sipp: Sipp, rtp_peer: OpenPeer, number: str, dialled: str
) -> None:
    pbx = rtp_peer(host=PBX_HOST, port=exchange.open[1])
    code = dialled.format(number[-2:])
    phone = _dial(sipp, service, "phone_dials_out_refused", "2002", code, final=403)
    assert phone.wait().check().received == ["401", "100", "403"]
    shown = code.replace("%23", "#")
    page = book.ended(shown)
    assert (page.direction, page.outcome, page.end_reason) == ("outbound", "refused", "forward_feature_code")
    assert page.kinds == ["arrived", "forward_blocked", "ended"]
    assert page.data_of("forward_blocked") == {"way": "feature_code", "target": shown, "source": "127.0.0.1"}
    assert page.alarms == ("forward_blocked",)
    assert page.evidence[0].startswith(f"INVITE sip:{code}@".encode())
    assert (pbx.received, pbx.foreign) == ([], [])


def test_a_wrong_password_dials_nothing(
    exchange: Exchange, service: Service, book: Book, sipp: Sipp, rtp_peer: OpenPeer, number: str
) -> None:
    pbx = rtp_peer(host=PBX_HOST, port=exchange.open[1])
    phone = _dial(sipp, service, "phone_dials_out_refused", "2002", number, password="guessed", final=401)
    assert phone.wait().received == ["401", "401"]
    assert book.call(number) is None
    assert (pbx.received, pbx.foreign) == ([], [])


def _officer(book: Book) -> Actor:
    with book.store.reading() as session:
        row = session.scalars(select(OfficerRow).where(OfficerRow.login == "zhiban")).one()
    return Actor(officer_id=row.id, name=row.name, unit_id=row.unit_id, roles=frozenset({Role.OFFICER}))


def _leader(book: Book) -> Actor:
    with book.store.reading() as session:
        row = session.scalars(select(OfficerRow).where(OfficerRow.login == "daiban")).one()
    return Actor(officer_id=row.id, name=row.name, unit_id=row.unit_id, roles=frozenset({Role.LEADER}))


def _contact_number(book: Book, number: str) -> int:
    """Id of a new directory entry's number."""
    contact_id = Directory(book.store, utc_now, NumberPlan()).add(
        _leader(book), NewContact(organisation="北书店街道办事处", numbers=(number,))
    )
    with book.store.reading() as session:
        return session.scalars(select(ContactNumberRow.id).where(ContactNumberRow.contact_id == contact_id)).one()


def _result(book: Book, command_id: int) -> tuple[str, str | None]:
    with book.store.reading() as session:
        row = session.get_one(CommandRow, command_id)
        return row.state, row.result


@pytest.mark.rule("6.1-c")
def test_the_console_calls_back_over_the_desk_phone(
    exchange: Exchange, service: Service, book: Book, sipp: Sipp, desk: Desk, utterance: bytes, number: str
) -> None:
    phone = desk.phone("phone_answers_and_talks", "2001", audio=utterance)
    values: Values = {"user": number, "talk_ms": len(utterance) // 8 + 500}
    far = sipp.start("phone_hangs_up", audio=utterance[::-1], host=PBX_HOST, port=exchange.known[1], values=values)
    command = Commands(book.store, utc_now).call_back(_officer(book), _contact_number(book, number))
    assert far.wait().check().received == ["INVITE", "ACK", "200"]
    assert phone.wait().check().received == ["INVITE", "ACK", "BYE"]
    page = book.ended(number)
    assert (page.direction, page.outcome, page.end_reason) == ("outbound", "answered", "caller_hung_up")
    assert page.kinds == ["arrived", "ringing", "answered", "ended"]
    assert _result(book, command) == ("done", "answered")
    recorded = book.voices(page)
    assert account(utterance[::-1], recorded[0]).perfect
    assert account(utterance, recorded[1]).found > 0


def test_a_call_back_without_a_phone_is_told(service: Service, book: Book, number: str) -> None:
    command = Commands(book.store, utc_now).call_back(_officer(book), _contact_number(book, number))
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("unreachable", "no_phone_registered")
    assert _result(book, command) == ("done", "unreachable")


def test_the_console_cannot_set_a_forward(service: Service, book: Book, number: str) -> None:
    command = Commands(book.store, utc_now).call_back(_officer(book), _contact_number(book, f"*72{number}"))
    service.wait(lambda: _result(book, command)[0] == "done", "the command is not answered")
    assert _result(book, command) == ("done", "refused")
    assert book.calls(f"*72{number}") == []


@pytest.mark.rule("6.1-e")
@pytest.mark.parametrize("told", ["events", "tones", "tones beside events"])
def test_a_forwarding_code_pressed_after_the_answer_does_not_reach_the_network(
    exchange: Exchange,
    service: Service,
    book: Book,
    sipp: Sipp,
    rtp_peer: OpenPeer,
    utterance: bytes,
    number: str,
    told: str,
) -> None:
    """By events its last key and all that follow stay here; tones are told of. Both voices go on, no frame lost."""
    near, far_media = rtp_peer(), rtp_peer(host=PBX_HOST)
    said = utterance[:48_000]
    values: Values = {"media_port": far_media.port, "media_host": PBX_HOST, "user": number}
    far = sipp.start("phone_answers_external_media", values=values, host=PBX_HOST, port=exchange.open[1])
    without = [(" 101\n", "\n"), ("    a=rtpmap:101 telephone-event/8000\n    a=fmtp:101 0-15\n", "")] * 2
    scenarios = variant(sipp, DIALS, *without) if told == "tones" else SCENARIOS
    more: Values = {"media_port": near.port, "talk_ms": len(said) // 8 + 3000}
    phone = _dial(sipp, service, DIALS, "2002", number, scenarios=scenarios, **more)
    service.wait(lambda: any(page.state == "answered" for page in book.calls(number)), "not answered")
    far_media.send(said, far.wait_for_audio_address())
    if told == "events":
        voice = packetize(said[:8000])
        near.send_packets([*voice, *press("*21*139#", voice[-1])], phone.wait_for_audio_address())
    else:
        near.send(said[:8000] + encode_alaw(sounded("*21*139#")), phone.wait_for_audio_address())
    near.finish_sending()
    far_media.finish_sending()
    phone.wait().check()
    far.wait().check()
    page = book.ended(number)
    assert page.outcome == "answered"
    assert page.data_of("forward_blocked") == {"way": "pressed_code", "target": "*21*", "source": "127.0.0.1"}
    assert page.alarms == ("forward_blocked",)
    assert [raw.partition(b":")[0] for raw in page.evidence] == [b"event" if told == "events" else b"voice"]
    noted = [data["digit"] for kind, data in page.events if kind == "dtmf"]
    assert noted == ([] if told == "tones beside events" else list("*21*139#"))
    assert account(said, near.heard()).perfect, "the officer did not hear the network all the time"
    assert account(said[:8000], book.voices(page)[1]).perfect
    if told == "events":
        assert pressed(far_media.received) == "*21"
