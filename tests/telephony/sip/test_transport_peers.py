"""baresip registers and calls by every transport, so that our TLS and TCP are not only our own idea of them."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

import pytest

from telephony.sip.authentication import Account
from telephony.sip.digest import Nonces, ha1
from telephony.sip.events import RequestReceived
from telephony.sip.flow import Flow
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Headers, Request, make_response
from telephony.sip.registrar import Registrar
from telephony.sip.target import contact_uri, target_of
from telephony.sip.uri import SipUri
from telephony.sockets import Listen, Sockets
from tests.peers.baresip import Baresip, BaresipAccount
from tests.peers.fixtures import baresip
from tests.telephony.sip.test_registrar import REALM
from tests.telephony.sip.test_tls import Office

__all__ = ["baresip"]

pytestmark = pytest.mark.peer

USER, PASSWORD = "1001", "desk-secret"


class Line:
    """A registrar that calls nobody and refuses calls, by one transport."""

    def __init__(self, transport: str, folder: Path) -> None:
        account = Account(user=USER, ha1={"MD5": ha1(USER, REALM, PASSWORD)})
        self.registrar = Registrar({USER: account}, REALM, Nonces(b"key"), algorithms=("MD5",))
        self.layer = TransactionLayer(rng=lambda: secrets.token_hex(8))
        self.sockets = Sockets(
            listen=[Listen(transport, "127.0.0.1", 0)],
            tls=Office(folder).settings("127.0.0.1"),
            receive=self._receive,
            lost=self._lost,
        )
        self.seen: list[tuple[str, Flow]] = []

    def ask(self) -> None:
        """An OPTIONS to the registered phone, by the flow its registration came by."""
        [binding] = self.registrar.bindings(USER, time.time())
        items = [
            ("From", "<sip:duty@line>;tag=1"),
            ("To", f"<{binding.uri}>"),
            ("Call-ID", "ask"),
            ("CSeq", "1 OPTIONS"),
        ]
        options = Request(method="OPTIONS", uri=binding.uri, headers=Headers([*items, ("Max-Forwards", "70")]))
        self.layer.send_request(options, binding.flow, time.monotonic())
        self._flush()

    def _receive(self, data: bytes, flow: Flow) -> None:
        self.layer.receive(data, flow, time.monotonic())
        self._flush()

    def _lost(self, flow: Flow) -> None:
        self.layer.transport_failed(flow, time.monotonic())
        self.registrar.flow_lost(flow)

    def _flush(self) -> None:
        while (event := self.layer.next_event()) is not None:
            if isinstance(event, RequestReceived):
                self.seen.append((event.request.method, event.flow))
                self.layer.respond(event.transaction_id, self._answer(event.request, event.flow), time.monotonic())
            else:
                self.seen.append((type(event).__name__, getattr(event, "flow", None)))
        for packet, flow in self.layer.packets_to_send():
            self.sockets.send(packet, flow)

    def _answer(self, request: Request, flow: Flow):
        if request.method == "REGISTER":
            return self.registrar.receive(request, flow, time.time()).response
        contact = f"<{contact_uri('duty', flow)}>"
        return make_response(request, 603, to_tag="line", extra=[("Contact", contact)])


@pytest.mark.parametrize("transport", ["UDP", "TCP", "TLS"])
async def test_baresip_registers_is_reached_and_calls(baresip, tmp_path, transport):
    line = Line(transport, tmp_path)
    await line.sockets.open()
    [(_, address)] = line.sockets.bound
    account = BaresipAccount(
        user=USER, registrar=address, password=PASSWORD, expires_s=300, transport=transport.lower()
    )

    phone: Baresip = await asyncio.to_thread(baresip, account)
    await asyncio.to_thread(phone.wait_event, "REGISTER_OK")
    [binding] = line.registrar.bindings(USER, time.time())
    assert binding.flow.transport == transport
    assert isinstance(binding.address.uri, SipUri)
    assert target_of(binding.address.uri).transport == transport

    line.ask()
    async with asyncio.timeout(5):
        while "ResponseReceived" not in [kind for kind, _ in line.seen]:  # noqa: ASYNC110 - a list of the test
            await asyncio.sleep(0.01)

    phone.dial(f"sip:02123456@{address[0]}:{address[1]};transport={transport.lower()}")
    closed = await asyncio.to_thread(phone.wait_event, "CALL_CLOSED")
    assert "603" in closed.parameter
    flows = {flow for kind, flow in line.seen if kind in ("REGISTER", "INVITE", "ResponseReceived")}
    assert {flow.transport for flow in flows} == {transport}
    if transport != "UDP":
        assert len(flows) == 1  # everything went by the one connection that the phone opened
    await asyncio.to_thread(phone.stop)
    await line.sockets.close()
