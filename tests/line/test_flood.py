"""A flood from one address while the line is in use: the call that is up hears nothing of it, the next one is answered,
and the attacker gets silence and the desk one alarm."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.line.book import Book
from tests.line.conftest import DESK
from tests.line.desk import Desk
from tests.line.service import Line, Service
from tests.peers.audio import account
from tests.peers.ports import Address
from tests.peers.sipp import Sipp

pytestmark = [pytest.mark.peer, pytest.mark.rule("4-a")]

ATTACKER = "127.0.0.66"
SECONDS, PER_S = 3.0, 3000
MEMORY_MB = 12.0


def request(method: str, to: Address, source: Address, *, user: str, number: str = "1") -> bytes:
    """A request as a scanner writes it, each with its own branch and call."""
    unique = os.urandom(6).hex()
    host = f"{to[0]}:{to[1]}"
    return (
        f"{method} sip:{number}@{host} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {source[0]}:{source[1]};branch=z9hG4bK{unique};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:{user}@{host}>;tag={unique}\r\nTo: <sip:{user}@{host}>\r\n"
        f"Call-ID: {unique}\r\nCSeq: 1 {method}\r\nContact: <sip:{user}@{source[0]}:{source[1]}>\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


class Flood(threading.Thread):
    """Sends REGISTER, INVITE and garbage to ``line`` from the attacker's address and counts what comes back."""

    def __init__(self, line: Address) -> None:
        super().__init__()
        self._line = line
        self.sent = 0
        self.answered: list[float] = []
        self.began = 0.0
        self.took = 0.0

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            own.bind((ATTACKER, 0))
            own.setblocking(False)
            packets = itertools.cycle(self._packets(own.getsockname()))
            self.began = time.monotonic()
            while (elapsed := time.monotonic() - self.began) < SECONDS:
                while self.sent < elapsed * PER_S:
                    own.sendto(next(packets), self._line)
                    self.sent += 1
                self._hear(own)
                time.sleep(0.002)
            self.took = time.monotonic() - self.began
            time.sleep(1.0)
            self._hear(own)

    def _packets(self, source: Address) -> list[bytes]:
        users = [str(1000 + number) for number in range(100)]
        return [
            packet
            for user in users
            for packet in (
                request("REGISTER", self._line, source, user=user),
                request("INVITE", self._line, source, user=user, number=user),
                os.urandom(300),
            )
        ]

    def _hear(self, own: socket.socket) -> None:
        while True:
            try:
                own.recv(65535)
            except BlockingIOError:
                return
            self.answered.append(time.monotonic() - self.began)


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_a_flood_harms_no_call(
    start_service: Callable[..., Service],
    open_book: Callable[[Service], Book],
    sipp: Sipp,
    utterance: bytes,
    words: bytes,
    another_number: Callable[[], str],
) -> None:
    service = start_service(Line(number=DESK, phones=("1001",)))
    book, desk = open_book(service), Desk(service, sipp)
    phone = desk.phone("phone_answers_and_echoes", "1001", calls=3, echo=True)
    zeroth, one, two = another_number(), another_number(), another_number()

    def call(number: str, audio: bytes, talk_ms: int) -> None:
        values: dict[str, str | int] = {"line": DESK, "caller": number, "talk_ms": talk_ms}
        run = sipp.start("caller_talks_then_bye", remote=service.address, audio=audio, values=values)
        callers.append(run)

    callers: list[object] = []
    call(zeroth, words, 1200)  # what the first call loads is not the flood's doing
    book.ended(zeroth)
    before = resident_mb(service.pid())
    call(one, utterance, 5500)
    book.wait(one, lambda page: page.state == "answered")
    flood = Flood(service.address)
    flood.start()
    time.sleep(1.0)
    call(two, words, 1500)
    flood.join()
    for caller in callers:
        assert caller.wait().check().received[-1] == "200"  # type: ignore[attr-defined]
    phone.wait().check()
    grown = resident_mb(service.pid()) - before

    print(f"sent {flood.sent} in {flood.took:.1f} s, {len(flood.answered)} answers, {grown:+.1f} MB")
    assert flood.sent / flood.took > 1000
    assert len(flood.answered) <= 60
    assert max(flood.answered, default=0.0) < 1.5, "the attacker still hears from us"
    first, second = book.ended(one), book.ended(two)
    assert (first.outcome, second.outcome) == ("answered", "answered")
    said = account(utterance, book.voices(first)[0])
    echoed = account(utterance, book.voices(first)[1])
    assert said.perfect, said
    assert echoed.perfect, echoed
    service.wait(lambda: bool(book.alarms("sip_attack")), "nobody is told of the attack")
    ((alarm),) = book.alarms("sip_attack")
    assert (alarm.subject, alarm.severity, alarm.data["failures"]) == (ATTACKER, "warning", 20)
    assert grown < MEMORY_MB
    assert service.answers()
    assert "Traceback" not in service.log()


def test_an_attacker_may_not_even_connect(start_service: Callable[..., Service]) -> None:
    service = start_service(Line(number=DESK, phones=("1001",)))
    with socket.create_connection(service.address, 5.0, (ATTACKER, 0)) as stream:
        stream.settimeout(1.0)
        heard = b""
        for number in range(40):
            stream.sendall(
                request("REGISTER", service.address, (ATTACKER, 9), user=str(number)).replace(b"UDP", b"TCP")
            )
        try:
            while more := stream.recv(65535):
                heard += more
        except TimeoutError:
            pass
        assert 15 <= heard.count(b"SIP/2.0 401") <= 20
    with socket.create_connection(service.address, 5.0, (ATTACKER, 0)) as again:
        again.settimeout(5.0)
        with contextlib.suppress(ConnectionResetError):
            assert again.recv(1) == b""
    assert service.answers()


def test_answers_take_as_long_for_an_extension_there_is_as_for_none(start_service: Callable[..., Service]) -> None:
    """Each sample comes from an address of its own, so that none is shut out."""
    service = start_service(Line(number=DESK, phones=("1001",)))
    took: dict[tuple[str, str], list[float]] = {}
    answers: dict[str, set[bytes]] = {}
    for turn in range(60):
        for place, (method, user) in enumerate(itertools.product(("REGISTER", "INVITE"), ("1001", "7777"))):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
                own.bind((f"127.0.{1 + turn}.{10 + place}", 0))
                own.settimeout(5.0)
                datagram = request(method, service.address, own.getsockname(), user=user, number="7777")
                began = time.perf_counter()
                own.sendto(datagram, service.address)
                answer = own.recv(65535)
                took.setdefault((method, user), []).append(time.perf_counter() - began)
                answers.setdefault(method, set()).add(answer.split(b"\r\n")[0])
    for method in ("REGISTER", "INVITE"):
        assert answers[method] == {b"SIP/2.0 401 Unauthorized"}
        known, unknown = (statistics.median(took[method, user]) for user in ("1001", "7777"))
        print(f"{method}: {known * 1e3:.2f} ms known, {unknown * 1e3:.2f} ms unknown")
        assert 0.5 < known / unknown < 2.0
