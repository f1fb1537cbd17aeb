"""Encrypted audio and G.722 with a real softphone on either side of the real service, and no key left behind."""

from __future__ import annotations

import base64
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from config.settings import load
from duty.store.database import Store
from tests.line.book import Book
from tests.line.desk import Desk
from tests.line.raw import RawCaller
from tests.line.service import Line, Service
from tests.peers.audio import Samples, align, decode_alaw, write_wav
from tests.peers.baresip import Baresip, BaresipAccount
from tests.peers.ladder import Ladder, sdp
from tests.peers.ports import free_port
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp
from tests.telephony.sip.test_tls import Office

pytestmark = pytest.mark.peer

StartBaresip = Callable[..., Baresip]
OpenPeer = Callable[..., RtpPeer]

LINE, STRICT = "037122595110", "037122595111"
NAME = "line.example.gov.cn"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The telephony process with UDP and TLS; the second line demands encrypted audio of its phones."""
    office = Office(tmp_path_factory.mktemp("office"))
    lines = (
        Line(number=LINE, phones=("1001",)),
        Line(
            number=STRICT,
            phones=("2001",),
            encryption=("required", "optional"),
            keys_without_tls=("phones",),  # until the settings name an address for TLS
            no_answer="hangup",
        ),
    )
    made = Service(root=tmp_path_factory.mktemp("secret"), lines=lines)
    issued = office.settings(NAME)
    file = made.root / "settings.toml"
    listen = [("UDP", made.port), ("TCP", made.port), ("TLS", free_port())]
    entries = ", ".join(f'{{ transport = "{by}", host = "127.0.0.1", port = {port} }}' for by, port in listen)
    text = file.read_text("utf-8").replace("[sip]\n", f"[sip]\nlisten = [{entries}]\n")
    text = text.replace('keys_without_tls = ["phones"]', "keys_without_tls = []")
    tls = {"certificate": issued.certificate, "key": issued.key, "authorities": issued.authorities}
    file.write_text(
        text + "[sip.tls]\n" + "".join(f'{name} = "{path}"\n' for name, path in tls.items()), encoding="utf-8"
    )
    made.settings = load(file)
    with made:
        yield made


@pytest.fixture(scope="module")
def book(service: Service) -> Iterator[Book]:
    with closing(Store(service.settings.store_url)) as store:
        yield Book(store, service.settings.data.recordings)


@pytest.fixture
def desk(service: Service, sipp: Sipp) -> Iterator[Desk]:
    phones = Desk(service, sipp)
    yield phones
    phones.clear()


def at(service: Service, transport: str) -> tuple[str, int]:
    (place,) = [(each.host, each.port) for each in service.settings.sip.listen if each.transport == transport.upper()]
    return place


def phone(
    baresip: StartBaresip,
    service: Service,
    book: Book,
    *,
    extension: str = "1001",
    transport: Literal["udp", "tls"] = "tls",
    encryption: str = "",
    codecs: tuple[str, ...] = ("PCMA",),
    source: Path | None = None,
    **options: bool,
) -> Baresip:
    account = BaresipAccount(
        user=extension,
        registrar=at(service, transport),
        password=service.password(extension),
        expires_s=120,
        answer="auto",
        transport=transport,
        encryption=encryption,  # type: ignore[arg-type]
        codecs=codecs,
    )
    started = baresip(account, source=source, **options)
    started.wait_event("REGISTER_OK")
    service.wait(lambda: book.component(extension)[0] == "registered", "the phone is not shown as registered")
    return started


def dial(
    baresip: StartBaresip,
    service: Service,
    number: str,
    *,
    transport: Literal["udp", "tls"] = "tls",
    encryption: str = "",
    codecs: tuple[str, ...] = ("PCMA",),
    source: Path | None = None,
    line: str = LINE,
    **options: bool,
) -> Baresip:
    address = at(service, transport)
    account = BaresipAccount(
        user=number,
        registrar=address,
        transport=transport,
        encryption=encryption,  # type: ignore[arg-type]
        codecs=codecs,
    )
    caller = baresip(account, source=source, **options)
    caller.dial(f"sip:{line}@{address[0]}:{address[1]};transport={transport}")
    return caller


def talk(caller: Baresip, desk: Baresip, seconds: float) -> None:
    """Both talk to their ends, then the caller hangs up. A phone that had to be asked twice dumps both calls into files
    of one name: what it heard is then not to be read."""
    for side in (caller, desk):
        side.wait_event("CALL_ESTABLISHED")
    time.sleep(seconds + 0.7)
    caller.hangup()
    for side in (caller, desk):
        side.wait_event("CALL_CLOSED")


def alike(said: Samples, heard: Samples) -> float:
    return align(said, heard).correlation


@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize(
    ("desk_encryption", "caller_encryption"),
    [
        ("srtp", ""),
        ("srtp-mand", "srtp-mand"),
        pytest.param("srtp-mand", "", marks=pytest.mark.slow),
        pytest.param("", "srtp-mand", marks=pytest.mark.slow),
    ],
)
def test_either_side_may_be_encrypted_and_both_are_recorded(
    service: Service,
    book: Book,
    baresip: StartBaresip,
    utterance: bytes,
    number: str,
    tmp_path: Path,
    desk_encryption: str,
    caller_encryption: str,
) -> None:
    said, answered = decode_alaw(utterance), decode_alaw(utterance[::-1])
    desk_source = write_wav(tmp_path / "officer.wav", answered)
    caller_source = write_wav(tmp_path / "caller.wav", said)
    strict = desk_encryption == "srtp-mand"
    extension, line = ("2001", STRICT) if strict else ("1001", LINE)
    desk = phone(baresip, service, book, extension=extension, encryption=desk_encryption, source=desk_source)
    caller = dial(
        baresip,
        service,
        number,
        line=line,
        transport="tls" if caller_encryption else "udp",
        encryption=caller_encryption,
        source=caller_source,
    )
    talk(caller, desk, len(utterance) / 8000)
    assert alike(said, desk.heard()) >= 0.99
    assert alike(answered, caller.heard()) >= 0.99
    page = book.ended(number)
    sound = book.sound(page)
    assert alike(said, sound[:, 0]) >= 0.99
    assert alike(answered, sound[:, 1]) >= 0.99
    assert desk.secured == bool(desk_encryption)
    assert caller.secured == bool(caller_encryption)
    suites = quality(service, page.call_id, "encryption")
    assert [bool(suite) for suite in suites] == [bool(caller_encryption), bool(desk_encryption)]
    assert quality(service, page.call_id, "undeciphered") == (0, 0)
    assert quality(service, page.call_id, "signalling") == ("TLS" if caller_encryption else "UDP", "TLS")


def test_a_phone_that_refuses_keys_beside_plain_audio_is_offered_nothing_else(
    service: Service, book: Book, baresip: StartBaresip, utterance: bytes, number: str, tmp_path: Path
) -> None:
    """baresip's mandatory encryption answers such an offer with 488; the INVITE goes out once more as RTP/SAVP."""
    answered = decode_alaw(utterance)
    source = write_wav(tmp_path / "officer.wav", answered)
    desk = phone(baresip, service, book, encryption="srtp-mand", source=source)
    caller = dial(baresip, service, number, transport="udp")
    talk(caller, desk, len(utterance) / 8000)
    assert desk.secured
    assert alike(answered, caller.heard()) >= 0.99
    assert alike(answered, book.sound(book.ended(number))[:, 1]) >= 0.99


@pytest.mark.rule("6.1-d")
def test_no_key_is_left_anywhere(
    service: Service, book: Book, baresip: StartBaresip, utterance: bytes, number: str
) -> None:
    """Neither in files nor in the database, in whatever form. What baresip sent and got is in its own log."""
    desk = phone(baresip, service, book, encryption="srtp-mand", trace=True)
    caller = dial(baresip, service, number, encryption="srtp-mand")
    talk(caller, desk, 1.0)
    book.ended(number)
    keys = set(re.findall(r"inline:([A-Za-z0-9+/=]{36,})", desk.output()))
    assert len(keys) >= 2
    for kept in (*service.data.rglob("*"), service.root / "service.log"):
        if kept.is_file():
            content = kept.read_bytes()
            for key in keys:
                raw = base64.b64decode(key)
                for form in (key.encode(), raw, raw.hex().encode(), key.encode().hex().encode()):
                    assert form not in content, kept


def test_an_encrypted_offer_in_clear_signalling_is_refused_and_says_why(
    service: Service, book: Book, number: str
) -> None:
    key = base64.b64encode(bytes(range(30))).decode()
    body = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio 40000 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n"
    )
    with RawCaller(service.address, dialled=LINE, caller=number) as caller:
        caller.send(caller.invite(sdp=body))
        assert 488 in caller.listen(2.0)
        assert b'Warning: 399 dutyline "Media keys are exchanged over TLS only"' in b"".join(caller.received)
    page = book.ended(number)
    assert page.outcome == "failed"


def test_a_phone_that_must_encrypt_and_cannot_is_not_offered_plain_audio(
    service: Service, book: Book, desk: Desk, number: str
) -> None:
    """It is registered over UDP, where its keys would be read by anybody: the caller is told that nobody answers."""
    desk.register("2001", free_port())
    with RawCaller(service.address, dialled=STRICT, caller=number) as caller:
        caller.send(caller.invite())
        assert 480 in caller.listen(2.0)
    page = book.ended(number)
    assert page.outcome == "unreachable"
    assert page.data_of("leg_failed")["status"] == 503


def test_a_phone_that_must_encrypt_does(
    service: Service, book: Book, baresip: StartBaresip, sipp: Sipp, words: bytes, number: str
) -> None:
    desk = phone(baresip, service, book, extension="2001", encryption="srtp-mand")
    sipp.start(
        "caller_talks_then_bye", remote=service.address, audio=words, values={"line": STRICT, "caller": number}
    ).wait().check()
    desk.wait_event("CALL_CLOSED")
    assert desk.secured
    assert alike(decode_alaw(words), desk.heard()) >= 0.99
    assert book.ended(number).outcome == "answered"


@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize(
    ("desk_codecs", "caller_codecs", "spoken"),
    [
        (("G722", "PCMA"), ("G722", "PCMA"), ("G722", "G722")),
        (("PCMU",), ("G722",), ("G722", "PCMU")),
        pytest.param(("G722",), ("PCMA",), ("PCMA", "G722"), marks=pytest.mark.slow),
        pytest.param(("PCMA",), ("G722", "PCMA"), ("PCMA", "PCMA"), marks=pytest.mark.slow),
    ],
)
def test_g722_is_used_where_both_sides_have_it(
    service: Service,
    book: Book,
    baresip: StartBaresip,
    utterance: bytes,
    number: str,
    tmp_path: Path,
    desk_codecs: tuple[str, ...],
    caller_codecs: tuple[str, ...],
    spoken: tuple[str, str],
) -> None:
    said, answered = decode_alaw(utterance), decode_alaw(utterance[::-1])
    desk_source = write_wav(tmp_path / "officer.wav", answered)
    caller_source = write_wav(tmp_path / "caller.wav", said)
    desk = phone(baresip, service, book, transport="udp", codecs=desk_codecs, source=desk_source)
    caller = dial(baresip, service, number, transport="udp", codecs=caller_codecs, source=caller_source)
    talk(caller, desk, len(utterance) / 8000)
    assert alike(said, desk.heard()) >= 0.95
    assert alike(answered, caller.heard()) >= 0.95
    page = book.ended(number)
    sound = book.sound(page)
    assert alike(said, sound[:, 0]) >= 0.95
    assert alike(answered, sound[:, 1]) >= 0.95
    assert quality(service, page.call_id, "codec") == spoken


def quality(service: Service, call_id: str, column: str) -> tuple[object, ...]:
    with closing(sqlite3.connect(service.data / "dutyline.db")) as database:
        rows = database.execute(f"SELECT {column} FROM call_legs WHERE call_id = ? ORDER BY speaker", (call_id,))
        return tuple(value for (value,) in rows)


@pytest.mark.parametrize("encryption", ["", pytest.param("srtp-mand", marks=pytest.mark.slow)])
def test_reports_of_a_foreign_phone_give_loss_jitter_and_round_trip(
    service: Service, book: Book, baresip: StartBaresip, number: str, encryption: str
) -> None:
    """The caller offers RTP and RTCP on one port (RFC 5761), the phone keeps them apart; baresip reports every 5 s."""
    extension, line = ("2001", STRICT) if encryption else ("1001", LINE)
    desk = phone(baresip, service, book, extension=extension, encryption=encryption)
    caller = dial(baresip, service, number, encryption=encryption, line=line, rtcp_mux=True, trace=True)
    talk(caller, desk, 8.0)
    answer = caller.output().rpartition("m=audio")[2]
    assert "a=rtcp-mux" in answer
    page = book.ended(number)
    for trip in quality(service, page.call_id, "round_trip_ms"):
        assert isinstance(trip, float)
        assert 0 <= trip < 100
    assert quality(service, page.call_id, "lost") == (0, 0)
    for jitter in quality(service, page.call_id, "jitter_ms"):
        assert isinstance(jitter, float)
        assert 0 <= jitter < 30


@pytest.mark.rule("6.1-e")
def test_evidence_of_a_refused_move_holds_no_key(
    service: Service, book: Book, desk: Desk, sipp: Sipp, number: str
) -> None:
    """The phone's re-INVITE names another host and a key: the message is kept, the key is not."""
    key = base64.b64encode(bytes(range(100, 130))).decode()
    moved = sdp(40_000, host="127.0.0.99", version=2) + f"\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}"
    at_the_desk = (
        Ladder("phone_moves_with_key", user="1001")
        .invited()
        .answer(180, "Ringing", invite=True)
        .answer(200, "OK", invite=True, body=sdp(40_000))
        .receive("ACK")
        .pause(300)
        .request("INVITE", 1, body=moved)
        .receive(100, optional=True)
        .receive(488)
        .request("ACK", 1)
        .receive("BYE")
        .answer(200, "OK")
        .start(sipp)
    )
    desk.register("1001", at_the_desk.port)
    caller = sipp.start(
        "caller_external_media",
        remote=service.address,
        values={"line": LINE, "caller": number, "media_port": 9, "talk_ms": 1200},
    )
    caller.wait().check()
    at_the_desk.wait().check()
    [kept] = book.ended(number).evidence
    assert b"c=IN IP4 127.0.0.99" in kept
    assert b"inline:" + b"*" * len(key) in kept
    assert key.encode() not in kept
