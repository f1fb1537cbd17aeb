"""A line with two PBXs, SIPp both, of which one dies: the call goes on by the other, and is one call in the book."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType

import pytest

from config.settings import load
from duty.store.database import Store
from tests.line.book import Book
from tests.line.service import Line, Service, Trunk
from tests.peers.name_server import NameServer
from tests.peers.ports import Address, free_port
from tests.peers.sipp import Sipp, SippRun

pytestmark = [pytest.mark.peer, pytest.mark.rule("4-a")]

PAIR, DYING, DOMAIN, REGISTERED, WATCHED = (f"03712259004{digit}" for digit in range(1, 6))
HOSTS = ("127.0.0.2", "127.0.0.3")
SECRET = "pbx-secret"


class Answering:
    """Somebody who answers every OPTIONS with 200, until it is closed and its port with it."""

    def __init__(self, host: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._socket.settimeout(0.05)
        self.asked = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> Address:
        host, port = self._socket.getsockname()
        return host, port

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                data, source = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            self.asked += data.startswith(b"OPTIONS ")
            kept = re.findall(rb"(?im)^(?:via|from|to|call-id|cseq):[^\r]*\r\n", data)
            self._socket.sendto(b"SIP/2.0 200 OK\r\n" + b"".join(kept) + b"Content-Length: 0\r\n\r\n", source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The service, and where its PBXs are; those that OPTIONS are sent to are ``watched``."""

    service: Service
    pair: tuple[Address, Address]
    dying: tuple[Address, Address]
    domain: tuple[Address, Address]
    registered: tuple[Address, Address]
    watched: tuple[Answering, Answering]
    names: NameServer


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    root = tmp_path_factory.mktemp("failover")
    pair, dying, domain, registered = (
        ((HOSTS[0], free_port(HOSTS[0])), (HOSTS[1], free_port(HOSTS[1]))) for _ in range(4)
    )
    registrars = Sipp(root)
    with (
        Answering(HOSTS[0]) as one,
        Answering(HOSTS[1]) as other,
        NameServer(
            f"_sip._udp.duty.example. 300 IN SRV 10 0 {domain[0][1]} one.duty.example.",
            f"_sip._udp.duty.example. 300 IN SRV 20 0 {domain[1][1]} two.duty.example.",
            f"one.duty.example. 300 IN A {HOSTS[0]}",
            f"two.duty.example. 300 IN A {HOSTS[1]}",
        ) as names,
    ):
        account = {"username": "duty", "password": SECRET}
        lines = (
            Line(number=PAIR, phones=("4101",), trunk=Trunk(registrar=pair)),
            Line(number=DYING, phones=("4501",), trunk=Trunk(registrar=dying)),
            Line(number=DOMAIN, phones=("4201",), trunk=Trunk(registrar=("sip:duty.example",))),
            Line(number=REGISTERED, phones=("4301",), trunk=Trunk(registrar=registered, **account)),
            Line(
                number=WATCHED,
                phones=("4401",),
                trunk=Trunk(registrar=(one.address, other.address), keep_alive_s=1.0),
            ),
        )
        service = Service(root / "service", lines)
        file = service.root / "settings.toml"
        host, port = names.address
        text = file.read_text("utf-8").replace("[sip]\n", f'[sip]\nnameservers = ["{host}:{port}"]\n')
        file.write_text(text, encoding="utf-8")
        service.settings = load(file)
        for place in registered:
            registrars.start(
                "line_registrar",
                values={"auth_user": "duty", "password": SECRET},
                host=place[0],
                port=place[1],
            )
        with service:
            yield Room(
                service=service,
                pair=pair,
                dying=dying,
                domain=domain,
                registered=registered,
                watched=(one, other),
                names=names,
            )
    registrars.close()


@pytest.fixture
def service(room: Room) -> Service:
    return room.service


@pytest.fixture(scope="module")
def book(room: Room) -> Iterator[Book]:
    with closing(Store(room.service.settings.store_url)) as store:
        yield Book(store, room.service.settings.data.recordings)


def dial(sipp: Sipp, service: Service, extension: str, number: str, audio: bytes) -> SippRun:
    return sipp.start(
        "phone_dials_out",
        remote=service.address,
        audio=audio,
        values={
            "user": extension,
            "auth_user": extension,
            "password": service.password(extension),
            "challenge": 401,
            "number": number,
        },
        auth_uri=f"{number}@{service.address[0]}:{service.address[1]}",
        timeout_s=20,
    )


def answering(sipp: Sipp, place: Address, audio: bytes) -> SippRun:
    return sipp.start("phone_answers_and_talks", audio=audio, host=place[0], port=place[1])


def is_invite(message: object) -> bool:
    return getattr(message, "method", "") == "INVITE"


def went_over(book: Book, number: str, far: SippRun, reason: str) -> None:
    """The call was answered at the second PBX, is one call, and its recording is whole."""
    assert far.wait().check().received == ["INVITE", "ACK", "BYE"]
    page = book.ended(number)
    assert len(book.calls(number)) == 1
    assert page.kinds.count("answered") == 1
    assert page.data_of("rerouted")["reason"] == reason
    ours, theirs = book.voices(page)
    assert ours
    assert theirs


def test_a_pbx_that_was_killed_costs_no_time(
    room: Room, service: Service, book: Book, sipp: Sipp, utterance: bytes, number: str
) -> None:
    dead = answering(sipp, room.pair[0], utterance[::-1])
    far = answering(sipp, room.pair[1], utterance[::-1])
    dead.kill()
    began = time.monotonic()
    phone = dial(sipp, service, "4101", number, utterance)
    far.wait_for_message(is_invite)
    assert time.monotonic() - began < 3.0, "the network said that nobody was there"
    phone.wait().check()
    went_over(book, number, far, "no_response")


def test_a_pbx_that_dies_while_it_is_asked(
    room: Room, service: Service, book: Book, sipp: Sipp, utterance: bytes, number: str
) -> None:
    dying = answering(sipp, room.dying[0], utterance[::-1])
    far = answering(sipp, room.dying[1], utterance[::-1])
    dying.freeze()
    phone = dial(sipp, service, "4501", number, utterance)
    phone.wait_for_message(lambda message: message.status == 100)
    time.sleep(0.2)
    dying.kill()
    phone.wait().check()
    went_over(book, number, far, "no_response")


def test_a_pbx_that_says_nothing_is_left_after_four_seconds(
    room: Room, service: Service, book: Book, sipp: Sipp, utterance: bytes, number: str
) -> None:
    service.wait(lambda: ("two.duty.example", "A") in room.names.asked, "the domain is not resolved")
    silent = answering(sipp, room.domain[0], utterance[::-1])
    far = answering(sipp, room.domain[1], utterance[::-1])
    silent.freeze()
    began = time.monotonic()
    phone = dial(sipp, service, "4201", number, utterance)
    invite = far.wait_for_message(is_invite)
    assert 3.5 < time.monotonic() - began < 8.0
    assert invite.start_line == f"INVITE sip:{number}@duty.example SIP/2.0", "the domain is asked for, not the server"
    phone.wait().check()
    went_over(book, number, far, "silent")
    assert ("_sip._udp.duty.example", "SRV") in room.names.asked


def test_the_line_is_registered_at_both(room: Room, service: Service, book: Book) -> None:
    first, second = (f"{REGISTERED}@{host}:{port}" for host, port in room.registered)
    service.wait(lambda: book.component(first) == ("registered", ""), "the first is not registered")
    service.wait(lambda: book.component(second) == ("registered", ""), "the second is not registered")


def test_options_show_which_is_there(room: Room, service: Service, book: Book) -> None:
    one, other = room.watched
    first, second = (f"{WATCHED}@{peer.address[0]}:{peer.address[1]}" for peer in room.watched)

    def told() -> set[tuple[str, str]]:
        return {
            (row.subject, row.severity)
            for row in book.alarms("trunk_unreachable")
            if row.cleared_at is None and row.subject.startswith(WATCHED)
        }

    service.wait(lambda: book.component(first) == book.component(second) == ("reachable", ""), "not reachable")
    assert told() == set()
    one.close()
    service.wait(lambda: book.component(first)[0] == "unreachable", "its end is not noticed")
    assert book.component(first)[1] == "transport", "the network said so"
    assert told() == {(first, "warning")}
    other.close()
    service.wait(lambda: (WATCHED, "critical") in told(), "nobody is told that none is left")
    assert one.asked >= 1
