"""Set-ups of forwarding, foreign registrations and conferences on a real line: refused, told, and the call goes on."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import pytest

from tests.line.book import Book, CallPage
from tests.line.conftest import DESK
from tests.line.desk import Desk
from tests.line.service import Line, Service
from tests.peers.audio import account
from tests.peers.sipp import Sipp, SippRun

pytestmark = [pytest.mark.peer, pytest.mark.rule("6.1-e")]

SETUP = "<SetForwarding><activateForward>true</activateForward><forwardTo>13900139000</forwardTo></SetForwarding>"


def ask(service: Service, method: str, headers: str, body: str) -> bytes:
    """What the line answers to a request that a phone of this machine sends outside any call."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        sender.settimeout(5.0)
        port, unique = sender.getsockname()[1], os.urandom(6).hex()
        sender.sendto(
            (
                f"{method} sip:1001@127.0.0.1:{service.port} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{unique};rport\r\nMax-Forwards: 70\r\n"
                f"From: <sip:1001@127.0.0.1>;tag={unique}\r\nTo: <sip:1001@127.0.0.1>\r\n"
                f"Call-ID: {unique}@127.0.0.1\r\nCSeq: 1 {method}\r\nContact: <sip:1001@127.0.0.1:{port}>\r\n"
                f"{headers}Content-Length: {len(body)}\r\n\r\n{body}"
            ).encode(),
            service.address,
        )
        return sender.recv(65535)


def talking(service: Service, desk: Desk, book: Book, sipp: Sipp, speech: bytes, number: str) -> SippRun:
    """A caller and the desk phone 1001 in a call that lasts as long as ``speech``."""
    desk.phone("phone_answers_and_talks", "1001", audio=speech)
    caller = sipp.start(
        "caller_talks_then_bye", remote=service.address, audio=speech[::-1], values={"line": DESK, "caller": number}
    )
    book.wait(number, lambda page: page.state == "answered")
    return caller


def unharmed(book: Book, caller: SippRun, speech: bytes, number: str) -> CallPage:
    """The call went on to its own end, and both were heard all the time."""
    caller.wait().check()
    page = book.ended(number)
    assert (page.outcome, page.end_reason) == ("answered", "caller_hung_up")
    recorded = book.voices(page)
    assert account(speech[::-1], recorded[0]).perfect, "the caller was not heard all the time"
    assert account(speech, recorded[1]).perfect, "the officer was not heard all the time"
    return page


def reported(book: Book, way: str) -> list[dict[str, object]]:
    return [dict(alarm.data) for alarm in book.alarms("forward_blocked") if alarm.data["way"] == way]


def wait_reported(book: Book, way: str, number: int) -> list[dict[str, object]]:
    deadline = time.monotonic() + 10.0
    while len(found := reported(book, way)) < number:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("method", ["SUBSCRIBE", "NOTIFY", "PUBLISH", "MESSAGE"])
def test_a_phone_that_sets_up_forwarding(
    service: Service, desk: Desk, book: Book, sipp: Sipp, utterance: bytes, number: str, method: str
) -> None:
    before = len(reported(book, "forwarding_setup"))
    caller = talking(service, desk, book, sipp, utterance, number)
    headers = "Event: as-feature-event\r\nContent-Type: application/x-as-feature-event+xml\r\n"
    assert ask(service, method, headers, SETUP).startswith(b"SIP/2.0 403 ")
    assert ask(service, method, "Event: presence\r\n", "").startswith(b"SIP/2.0 405 ")
    found = wait_reported(book, "forwarding_setup", before + 1)
    assert len(found) == before + 1
    assert found[-1]["target"] == "13900139000"
    unharmed(book, caller, utterance, number)


def test_a_phone_that_dials_a_third_party_beside_its_caller(
    service: Service,
    desk: Desk,
    book: Book,
    sipp: Sipp,
    utterance: bytes,
    number: str,
    another_number: Callable[[], str],
) -> None:
    caller = talking(service, desk, book, sipp, utterance, number)
    third = another_number()
    values: dict[str, str | int] = {
        "user": "1001",
        "auth_user": "1001",
        "password": service.password("1001"),
        "number": third,
        "challenge": 401,
        "final": 403,
    }
    uri = f"{third}@{service.address[0]}:{service.address[1]}"
    dialling = sipp.start("phone_dials_out_refused", remote=service.address, values=values, auth_uri=uri, timeout_s=15)
    assert dialling.wait().check().received == ["401", "100", "403"]
    refused = book.ended(third)
    assert (refused.outcome, refused.end_reason) == ("refused", "forward_conference")
    assert refused.data_of("forward_blocked") == {"way": "conference", "target": third, "source": "127.0.0.1"}
    assert refused.alarms == ("forward_blocked",)
    assert refused.evidence[0].startswith(f"INVITE sip:{third}@".encode())
    unharmed(book, caller, utterance, number)


def test_a_registration_from_outside_the_phones_networks(
    start_service: Callable[..., Service], open_book: Callable[[Service], Book], sipp: Sipp
) -> None:
    home = start_service(Line(number=DESK, phones=("1001",), networks=("127.0.0.9/32",)))
    book = open_book(home)
    for contact_port in (5090, 5092):
        values: dict[str, str | int] = {
            "user": "1001",
            "auth_user": "1001",
            "password": home.password("1001"),
            "contact_port": contact_port,
        }
        run = sipp.start("phone_register_refused", remote=home.address, values=values, timeout_s=10)
        assert run.wait().check().received == ["401", "403"]
    (found,) = wait_reported(book, "foreign_registration", 1)
    assert found["source"] == "127.0.0.1"
    assert ":5090" in str(found["target"])
    assert book.component("1001")[0] == "unregistered"
