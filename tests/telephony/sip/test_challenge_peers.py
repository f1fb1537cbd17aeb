"""Which of several digest challenges a real phone answers, in which order they may stand, and 401 beside 407 for calls.

baresip 1.0 stands for the phones that know MD5 only and SIPp for those that read nothing but the first header.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable

import pytest

from telephony.sip.authentication import Account, Challenged
from telephony.sip.digest import _HASHES, ALGORITHMS, Nonces, authorize, ha1, parse_authorization, parse_challenge
from telephony.sip.errors import LocalProtocolError
from telephony.sip.events import RequestReceived
from telephony.sip.flow import Flow
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Request, make_response, parse
from telephony.sip.registrar import Registrar
from telephony.sockets import Sockets
from tests.peers.baresip import Baresip, BaresipAccount
from tests.peers.fixtures import baresip
from tests.telephony.sip.peers import request
from tests.telephony.sip.test_registrar import FLOW, NOW, REALM, Phone, account, registrar

__all__ = ["baresip"]

USER, PASSWORD = "1001", "desk-secret"


class Office:
    """A registrar on real sockets that refuses calls (603) once it believes the caller."""

    def __init__(self, algorithms: tuple[str, ...], *, as_proxy: bool) -> None:
        known = {USER: Account(user=USER, ha1={name: ha1(USER, REALM, PASSWORD, name) for name in ALGORITHMS})}
        self.registrar = Registrar(known, REALM, Nonces(b"key"), algorithms=algorithms)
        self.layer = TransactionLayer(rng=lambda: secrets.token_hex(8))
        self.sockets = Sockets(host="127.0.0.1", receive=self._receive, lost=lambda _: None)
        self.believed: list[tuple[str, str]] = []
        self._as_proxy = as_proxy

    def _receive(self, data: bytes, flow: Flow) -> None:
        self.layer.receive(data, flow, time.monotonic())
        while (event := self.layer.next_event()) is not None:
            if isinstance(event, RequestReceived):
                self.layer.respond(event.transaction_id, self._answer(event.request, event.flow), time.monotonic())
        for packet, towards in self.layer.packets_to_send():
            self.sockets.send(packet, towards)

    def _answer(self, message: Request, flow: Flow):
        if message.method == "REGISTER":
            response = self.registrar.receive(message, flow, time.time()).response
            if response.status == 200:
                self._believe(message, "Authorization")
            return response
        verdict = self.registrar.authenticator.authenticate(message, time.time(), as_proxy=self._as_proxy)
        if isinstance(verdict, Challenged):
            return make_response(message, verdict.status, to_tag="office", extra=verdict.headers)
        self._believe(message, "Proxy-Authorization" if self._as_proxy else "Authorization")
        return make_response(message, 603, to_tag="office")

    def _believe(self, message: Request, header: str) -> None:
        self.believed.append((message.method, parse_authorization(message.headers.get(header) or "").algorithm))


@pytest.fixture
async def office() -> AsyncIterator[Callable]:
    opened: list[Office] = []

    async def start(*algorithms: str, as_proxy: bool = False) -> Office:
        made = Office(algorithms, as_proxy=as_proxy)
        await made.sockets.open()
        opened.append(made)
        return made

    yield start
    for made in opened:
        await made.sockets.close()


@pytest.mark.peer
@pytest.mark.parametrize("as_proxy", [False, True], ids=["401", "407"])
@pytest.mark.parametrize(
    ("algorithms", "attempts"),
    [(("MD5",), 1), (("MD5", "SHA-256"), 3), (("SHA-256", "MD5"), 3)],
    ids=["MD5", "MD5 first", "SHA-256 first"],
)
async def test_baresip_gets_in(office, baresip, algorithms, attempts, as_proxy):
    """baresip 1.0 gives up at any algorithm but MD5, in whichever order they stand, so it is offered MD5 alone when it
    comes back."""
    line = await office(*algorithms, as_proxy=as_proxy)
    _, address = line.sockets.bound[0]

    def phone_does() -> None:
        phone: Baresip = baresip(BaresipAccount(user=USER, registrar=address, password=PASSWORD, expires_s=300))
        for failure in range(1, attempts):
            phone.wait_event("REGISTER_FAIL", count=failure)
            phone.unregister()
            phone.command("uanew", phone.account.line())
        phone.wait_event("REGISTER_OK")
        assert sum(event.type == "REGISTER_FAIL" for event in phone.events) == attempts - 1
        phone.dial(f"sip:02123456@{address[0]}:{address[1]}")
        assert "603" in phone.wait_event("CALL_CLOSED").parameter

    await asyncio.to_thread(phone_does)
    assert line.believed == [("REGISTER", "MD5"), ("INVITE", "MD5")]


def test_only_who_comes_back_without_credentials_is_offered_md5_alone():
    office = registrar()

    def offered(phone: Phone) -> list[str]:
        values = phone.send((), None, NOW, {}).response.headers.get_all("WWW-Authenticate")
        return [parse_challenge(value).algorithm for value in values]

    both = ["SHA-256", "MD5"]
    old = Phone(office)
    assert [offered(old) for _ in range(4)] == [both, both, ["MD5"], ["MD5"]]
    assert offered(Phone(office, aor="8002")) == both
    assert old.register("<sip:8001@192.0.2.20>").response.status == 200
    assert offered(old) == ["MD5"]  # its next refresh and its calls shall not fail again
    modern = Phone(office, user="8002", aor="8002", algorithm="SHA-256")
    for _ in range(5):
        assert modern.register("<sip:8002@192.0.2.20>", now=NOW).response.status == 200
        assert offered(modern) == both
        modern.register("<sip:8002@192.0.2.20>", now=NOW)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_opens_the_registrar(algorithm):
    known = registrar(account("8001", algorithms=ALGORITHMS), algorithms=tuple(reversed(ALGORITHMS)))
    phone = Phone(known, algorithm=algorithm)
    assert phone.register("<sip:8001@192.0.2.20>").response.status == 200
    values = phone.log[0].response.headers.get_all("WWW-Authenticate")
    assert [parse_challenge(value).algorithm for value in values] == ["SHA-512-256", "SHA-256", "MD5"]


def test_sha_512_256_is_the_hash_of_fips_180_4():
    """Not SHA-512 cut short, as RFC 7616's own example was computed (erratum 4897)."""
    assert _HASHES["SHA-512-256"](b"abc") == "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"


def test_an_unknown_or_missing_algorithm_cannot_be_configured():
    for algorithms in ((), ("MD5", "SHA-1")):
        with pytest.raises(LocalProtocolError):
            registrar(algorithms=algorithms)


def test_proxy_credentials_count_for_a_proxy_s_question_alone():
    authenticator = registrar().authenticator
    asked = authenticator.authenticate(_invite(), NOW, as_proxy=True)
    assert isinstance(asked, Challenged)
    assert (asked.status, {name for name, _ in asked.headers}) == (407, {"Proxy-Authenticate"})
    challenge = parse_challenge(asked.headers[-1][1])
    proof = authorize(challenge, "INVITE", "sip:duty@192.0.2.2:5062", "8001", "secret", "cnonce", 1)
    assert isinstance(authenticator.authenticate(_invite(Proxy_Authorization=proof), NOW), Challenged)
    believed = authenticator.authenticate(_invite(Proxy_Authorization=proof), NOW, as_proxy=True)
    assert isinstance(believed, Account)
    again = authenticator.authenticate(_invite(Proxy_Authorization=proof), NOW, as_proxy=True)
    assert isinstance(again, Challenged)
    assert all("stale=true" in value for _, value in again.headers)


def _invite(**extra: str) -> Request:
    made = request("INVITE", **extra)
    arrived = parse(made.replace(headers=made.headers.prepended("Via", f"SIP/2.0/UDP {FLOW.remote[0]}")).serialize())
    assert isinstance(arrived, Request)
    return arrived
