"""The transaction layer and dialogs against SIPp over real sockets, with and without loss at SIPp's end."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from telephony.sip.dialog import Dialog
from telephony.sip.events import AckReceived, Event, RequestReceived, ResponseReceived, TransactionFailed
from telephony.sip.flow import Flow
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Headers, Request, make_response
from tests.peers.ports import free_port
from tests.peers.programs import require

pytestmark = pytest.mark.peer
SDP = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n"


class Endpoint(asyncio.DatagramProtocol):
    """The smallest shell around the layer: a socket and one timer."""

    def __init__(self, port: int, user: Callable[[Endpoint, Event], None]) -> None:
        self.layer = TransactionLayer(rng=lambda: secrets.token_hex(8))
        self.local = ("127.0.0.1", port)
        self.seen: Counter[str] = Counter()
        self._user = user
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.layer.receive(data, Flow(transport="UDP", remote=addr, local=self.local), self.now())
        self.work()

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def work(self) -> None:
        while (event := self.layer.next_event()) is not None:
            self.seen[type(event).__name__] += 1
            self._user(self, event)
        for data, flow in self.layer.packets_to_send():
            self._transport.sendto(data, flow.remote)
        if self._timer is not None:
            self._timer.cancel()
        due = self.layer.get_timer()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_at(due, self._wake)

    def _wake(self) -> None:
        self.layer.handle_timer(self.now())
        self.work()


@asynccontextmanager
async def endpoint(user: Callable[[Endpoint, Event], None]) -> AsyncIterator[Endpoint]:
    port = free_port()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Endpoint(port, user), local_addr=("127.0.0.1", port)
    )
    try:
        yield protocol
    finally:
        if protocol._timer is not None:
            protocol._timer.cancel()
        transport.close()


async def sipp(directory: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        require("sipp"),
        *arguments,
        "-i",
        "127.0.0.1",
        "-nostdin",
        cwd=directory,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


def answer_calls(self: Endpoint, event: Event) -> None:
    if not isinstance(event, RequestReceived):
        return
    contact = [("Contact", f"<sip:duty@127.0.0.1:{self.local[1]}>")]
    self.seen[event.request.method] += 1
    if event.request.method != "INVITE":
        self.layer.respond(event.transaction_id, make_response(event.request, 200), self.now())
        return
    for status in (100, 180):
        early = make_response(event.request, status, to_tag=event.transaction_id, extra=contact)
        self.layer.respond(event.transaction_id, early, self.now())
    answer = make_response(
        event.request, 200, to_tag=event.transaction_id, extra=contact, body=SDP, content_type="application/sdp"
    )
    self.layer.respond(event.transaction_id, answer, self.now())


@pytest.mark.parametrize(("calls", "rate", "lost"), [(200, 100, 0), (40, 20, 15)])
async def test_sipp_calls_us(tmp_path: Path, calls: int, rate: int, lost: int) -> None:
    async with endpoint(answer_calls) as duty:
        options = ["-m", str(calls), "-r", str(rate), "-d", "100", "-p", str(free_port())]
        losing = ["-lost", str(lost)] if lost else []
        process = await sipp(tmp_path, "-sn", "uac", *options, *losing, f"127.0.0.1:{duty.local[1]}")
        assert await asyncio.wait_for(process.wait(), 60) == 0
        assert duty.seen["INVITE"] == calls
        assert duty.seen["MalformedReceived"] == 0
        if lost:  # SIPp takes our repeated 200 to INVITE for the one to a BYE it lost, and never sends that BYE again
            assert calls - 6 <= duty.seen["BYE"] <= calls
            assert duty.layer.counters.requests_again > 0
        else:
            assert duty.seen["BYE"] == duty.seen["AckReceived"] == calls
            assert duty.layer.counters.requests_again == 0


@pytest.mark.parametrize("lost", [0, 15])
async def test_we_call_sipp(tmp_path: Path, lost: int) -> None:
    calls, port = 40, free_port()
    done: list[int] = []

    def user(self: Endpoint, event: Event) -> None:
        assert not isinstance(event, TransactionFailed | AckReceived)
        if not isinstance(event, ResponseReceived) or event.response.status < 200:
            return
        assert event.response.status == 200
        if event.response.cseq.method == "BYE":
            done.append(1)
            return
        dialog = Dialog.as_uac(invites[event.transaction_id], event.response)
        self.layer.send_ack(dialog.ack(event.response.cseq.number), event.flow, self.now())
        # SIPp gives a call up at a BYE before the ACK; where it may lose the ACK, it gets the time to have it again.
        asyncio.get_running_loop().call_later(2.0 if lost else 0.0, hang_up, self, dialog, event.flow)

    def hang_up(self: Endpoint, dialog: Dialog, flow: Flow) -> None:
        self.layer.send_request(dialog.request("BYE"), flow, self.now())
        self.work()

    invites: dict[str, Request] = {}
    async with endpoint(user) as duty:
        losing = ["-lost", str(lost)] if lost else []
        process = await sipp(tmp_path, "-sn", "uas", "-p", str(port), *losing)
        try:
            await asyncio.sleep(0.5)
            flow = Flow(transport="UDP", remote=("127.0.0.1", port), local=duty.local)
            for number in range(calls):
                invite = first_invite(f"call-{number}", port, duty.local[1])
                invites[duty.layer.send_request(invite, flow, duty.now())] = invite
            duty.work()
            for _ in range(150):
                if len(done) == calls:
                    break
                await asyncio.sleep(0.1)
        finally:
            process.terminate()
            await process.wait()
    assert calls - (4 if lost else 0) <= len(done) <= calls


def first_invite(call_id: str, port: int, own_port: int) -> Request:
    items = [
        ("Max-Forwards", "70"),
        ("From", "<sip:duty@127.0.0.1>;tag=d"),
        ("To", f"<sip:service@127.0.0.1:{port}>"),
        ("Call-ID", call_id),
        ("CSeq", "1 INVITE"),
        ("Contact", f"<sip:duty@127.0.0.1:{own_port}>"),
        ("Content-Type", "application/sdp"),
    ]
    return Request(method="INVITE", uri=f"sip:service@127.0.0.1:{port}", headers=Headers(items), body=SDP)
