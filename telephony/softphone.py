"""A telephone made of our own SIP core: it registers, calls, answers, speaks, listens and presses keys.

It plays both parties of the guided first call and is the probe that proves a line works; it stands on a UDP socket of
its own and knows nothing of the duty room. Times are s of the event loop's clock.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

from duty.domain.transcripts import Speaker
from telephony.clientleg import ClientLeg
from telephony.leg import ALLOW, Credentials
from telephony.serverleg import ServerLeg
from telephony.sip.dialog import dialog_key
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.events import (
    AckMissing,
    AckReceived,
    CancelReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    TransactionFailed,
)
from telephony.sip.flow import Address, Flow
from telephony.sip.headers import NameAddr
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Headers, Request, Response, make_response
from telephony.sip.registration import Registration, RegistrationState
from telephony.sip.uri import SipUri
from telephony.softphone_call import CallEnd, CallEndedError, NotNowError, Progress, SoftphoneCall, SoftphoneError
from telephony.softphone_media import AudioStream, Heard

__all__ = [
    "CallEnd",
    "CallEndedError",
    "Heard",
    "NotNowError",
    "NotRegisteredError",
    "PhoneEvent",
    "PhoneEventKind",
    "Progress",
    "Softphone",
    "SoftphoneCall",
    "SoftphoneError",
]

GOODBYE_LIMIT_S = 2.0
REMEMBER_ENDED_S = 40.0
_EXPIRES_S = 120


class NotRegisteredError(SoftphoneError):
    """The registrar refused us or did not answer; the text is its reason."""


class PhoneEventKind(StrEnum):
    """What a phone reports."""

    REGISTERED = "registered"
    REGISTRATION_FAILED = "registration_failed"
    UNREGISTERED = "unregistered"
    CALLING = "calling"
    ARRIVED = "arrived"
    RINGING = "ringing"
    TALKING = "talking"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneEvent:
    """One thing that happened ``at`` (s of the loop's clock); ``reason`` where there is one."""

    kind: PhoneEventKind
    at: float
    call: SoftphoneCall | None = None
    reason: str = ""


class Softphone:
    """One user agent. Use it as an async context manager, or ``open`` and ``close`` it.

    ``user`` is its number; ``port`` 0 takes any. ``password`` answers digest challenges of the registrar and of calls.
    ``on_event`` hears each PhoneEvent at once; ``events`` keeps them all.
    """

    def __init__(
        self,
        *,
        user: str,
        host: str = "127.0.0.1",
        port: int = 0,
        display: str | None = None,
        username: str = "",
        password: str = "",
        on_event: Callable[[PhoneEvent], None] | None = None,
    ) -> None:
        self.user, self.display = user, display
        self.address: Address = (host, port)
        self.events: list[PhoneEvent] = []
        self._username, self._password = username or user, password
        self._on_event = on_event
        self._loop: asyncio.AbstractEventLoop
        self._socket: asyncio.DatagramTransport | None = None
        self._layer = TransactionLayer(rng=_token)
        self._timer: asyncio.TimerHandle | None = None
        self._calls: list[SoftphoneCall] = []
        self._arrivals: asyncio.Queue[SoftphoneCall] = asyncio.Queue()
        self._registration: Registration | None = None
        self._registrar: Flow | None = None
        self._register_id = ""
        self._answers: dict[str, asyncio.Future[Response | None]] = {}
        self._settled = asyncio.Event()

    async def open(self) -> None:
        """Bind the socket. Raises OSError when the address cannot be had."""
        self._loop = asyncio.get_running_loop()
        self._socket, _ = await self._loop.create_datagram_endpoint(
            lambda: _Datagrams(self._received), local_addr=self.address
        )
        bound = self._socket.get_extra_info("sockname")
        self.address = (bound[0], bound[1])

    async def close(self) -> None:
        """Hang up, leave the registrar, wait a moment for their answers; twice is once."""
        if self._socket is None:
            return
        for call in self._calls:
            call.hang_up()
        if self._registration is not None:
            self._registration.stop(self._loop.time())
            self._drive_registration()
        waiting = [answer for answer in self._answers.values() if not answer.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=GOODBYE_LIMIT_S)
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()
        self._socket = None
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # What its user does

    async def ping(self, remote: Address) -> int:
        """Ask ``remote`` with OPTIONS whether anybody is there: the status it answers, 0 for no answer."""
        uri = f"sip:{_shown(remote)}"
        request = Request(
            method="OPTIONS",
            uri=uri,
            headers=Headers(
                [
                    ("Max-Forwards", "70"),
                    ("From", f"{self._identity(remote)};tag={_token()}"),
                    ("To", f"<{uri}>"),
                    ("Call-ID", _token()),
                    ("CSeq", "1 OPTIONS"),
                ]
            ),
        )
        response = await self._answers[self.send_request(request, self._flow(remote))]
        return response.status if response is not None else 0

    async def register(self, registrar: Address, *, expires_s: int = _EXPIRES_S) -> None:
        """Register at ``registrar`` and stay so until ``close``. Raises NotRegisteredError with the reason."""
        if self._registration is not None:
            raise NotNowError("the phone is registered, or trying to")
        self._registrar = self._flow(registrar)
        self._registration = Registration(
            aor=f"sip:{self.user}@{_shown(registrar)}",
            registrar=f"sip:{_shown(registrar)}",
            username=self._username,
            password=self._password,
            contact=self._contact(),
            token=_token,
            chance=lambda: secrets.randbelow(1000) / 1000,
            expires=expires_s,
        )
        self._settled.clear()
        self._registration.start(self._loop.time())
        self._drive_registration()
        await self._settled.wait()
        if self._registration.state is not RegistrationState.REGISTERED:
            reason, self._registration = self._registration.reason, None
            raise NotRegisteredError(reason)

    async def unregister(self) -> None:
        """Remove our own binding and wait for the answer, which may fail without consequence."""
        if self._registration is None:
            return
        self._registration.stop(self._loop.time())
        self._drive_registration()
        waiting = [answer for answer in self._answers.values() if not answer.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=GOODBYE_LIMIT_S)
        self._registration = None

    def call(self, number: str, remote: Address) -> SoftphoneCall:
        """Call ``number`` through ``remote``; returns at once, see ``SoftphoneCall.reached``.

        Raises NoFreePortError, and RemoteProtocolError for a number that no URI can hold.
        """
        audio = AudioStream(self.address[0])
        to = NameAddr(uri=SipUri(user=number, host=_bracketed(remote[0]), port=remote[1]))
        leg = ClientLeg(
            name=number,
            speaker=Speaker.CALLER,
            uri=str(to.uri),
            from_=self._identity(remote),
            to=to,
            flow=self._flow(remote),
            contact=self._contact(),
            local=audio.address,
            tag=_token(),
            credentials=Credentials(username=self._username, password=self._password) if self._password else None,
        )
        call = SoftphoneCall(leg=leg, peer=to, wire=self, audio=audio, told=self._progressed)
        self._keep(call)
        leg.start(self)
        self._tell(PhoneEventKind.CALLING, call=call)
        return call

    async def incoming(self) -> SoftphoneCall:
        """The next call that arrives, or that arrived and was not yet fetched."""
        return await self._arrivals.get()

    # The wire, as the legs see it

    session_s = 0
    """Its calls are short: it keeps no session timers and says so."""
    reliable = False
    """Nor does it number what rings."""

    @property
    def now(self) -> float:
        """The present instant, monotonic s."""
        return self._loop.time()

    def send_request(self, request: Request, flow: Flow) -> str:
        """Send a request; the id of its transaction."""
        transaction_id = self._layer.send_request(request, flow, self._loop.time())
        self._answers[transaction_id] = self._loop.create_future()
        self._send()
        return transaction_id

    def respond(self, transaction_id: str, response: Response) -> None:
        """Answer a received request."""
        self._layer.respond(transaction_id, response, self._loop.time())
        self._send()

    def send_ack(self, ack: Request, flow: Flow) -> None:
        """Acknowledge a 2xx."""
        self._layer.send_ack(ack, flow, self._loop.time())
        self._send()

    def cancel(self, client_transaction_id: str, *, reason: str = "") -> None:
        """Cancel an INVITE of ours."""
        self._layer.cancel(client_transaction_id, self._loop.time(), reason=reason)
        self._send()

    def token(self) -> str:
        """An unguessable token."""
        return _token()

    # In and out

    def _received(self, data: bytes, remote: Address) -> None:
        self._layer.receive(data, self._flow(remote), self._loop.time())
        self._pump()

    def _due(self) -> None:
        self._timer = None
        now = self._loop.time()
        self._layer.handle_timer(now)
        if self._registration is not None:
            self._registration.handle_timer(now)
            self._drive_registration()
        self._pump()

    def _pump(self) -> None:
        while (event := self._layer.next_event()) is not None:
            try:
                self._dispatch(event)
            except RemoteProtocolError as error:
                self._faulty(event, error)
        self._send()

    def _send(self) -> None:
        for data, flow in self._layer.packets_to_send():
            if self._socket is not None:
                self._socket.sendto(data, flow.remote)
        moments = [self._layer.get_timer(), self._registration.get_timer() if self._registration else None]
        due = min((moment for moment in moments if moment is not None), default=None)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due is None or self._socket is None else self._loop.call_at(due, self._due)

    # Events

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._requested(event)
        elif isinstance(event, ResponseReceived):
            self._responded(event)
        elif isinstance(event, TransactionFailed):
            self._failed(event)
        elif isinstance(event, CancelReceived | AckReceived | AckMissing):
            call = self._of_transaction(event.transaction_id)
            if call is None:
                return
            if isinstance(event, CancelReceived):
                call.cancelled()
            elif isinstance(event, AckReceived):
                call.acknowledged(event.request)
            else:
                call.lost("no ACK")

    def _requested(self, event: RequestReceived) -> None:
        request = event.request
        if request.to.tag is not None:
            call = self._of_dialog(request)
            if call is None:
                raise RemoteProtocolError(481, "Call/Transaction Does Not Exist")
            call.receive_request(event.transaction_id, request, event.flow)
        elif request.method == "INVITE":
            self._invited(event)
        elif request.method == "OPTIONS":
            extra = [("Allow", ALLOW), ("Accept", "application/sdp")]
            self.respond(event.transaction_id, make_response(request, 200, to_tag=_token(), extra=extra))
        else:
            raise RemoteProtocolError(405, "Method Not Allowed")

    def _invited(self, event: RequestReceived) -> None:
        audio = AudioStream(self.address[0])
        leg = ServerLeg(
            speaker=Speaker.OFFICER,
            transaction_id=event.transaction_id,
            request=event.request,
            flow=event.flow,
            contact=self._contact(),
            local=audio.address,
            tag=_token(),
        )
        try:
            leg.read_offer()
        except RemoteProtocolError:
            audio.close()
            raise
        call = SoftphoneCall(leg=leg, peer=event.request.from_, wire=self, audio=audio, told=self._progressed)
        self._keep(call)
        leg.trying(self)
        self._tell(PhoneEventKind.ARRIVED, call=call)
        self._arrivals.put_nowait(call)

    def _responded(self, event: ResponseReceived) -> None:
        answer = self._answers.get(event.transaction_id)
        if answer is not None and event.response.status >= 200 and not answer.done():
            answer.set_result(event.response)
        call = self._of_transaction(event.transaction_id)
        if call is not None:
            call.receive_response(event.response, event.flow)
        elif event.transaction_id == self._register_id and self._registration is not None:
            self._registration.receive_response(event.response, self._loop.time())
            self._drive_registration()
        self._forget()

    def _failed(self, event: TransactionFailed) -> None:
        answer = self._answers.get(event.transaction_id)
        if answer is None:
            return
        if not answer.done():
            answer.set_result(None)
        call = self._of_transaction(event.transaction_id)
        if call is not None:
            call.lost(event.cause)
        elif event.transaction_id == self._register_id and self._registration is not None:
            self._registration.transaction_failed(event.cause, self._loop.time())
            self._drive_registration()
        self._forget()

    def _faulty(self, event: Event, error: RemoteProtocolError) -> None:
        """The peer broke the protocol: refuse its request, or give up the call that its response belongs to."""
        if isinstance(event, RequestReceived):
            response = make_response(event.request, error.status, error.reason, to_tag=_token())
            self.respond(event.transaction_id, response)
        elif isinstance(event, ResponseReceived | AckReceived):
            call = self._of_transaction(event.transaction_id)
            if call is not None:
                call.lost(error.reason)

    def _drive_registration(self) -> None:
        registration, flow = self._registration, self._registrar
        if registration is None or flow is None:
            return
        for request in registration.requests_to_send():
            self._register_id = self.send_request(request, flow)
        while registration.next_event() is not None:
            if registration.state is RegistrationState.REGISTERED:
                self._tell(PhoneEventKind.REGISTERED)
            elif registration.state is RegistrationState.FAILED:
                self._tell(PhoneEventKind.REGISTRATION_FAILED, reason=registration.reason)
            elif registration.state is RegistrationState.UNREGISTERED:
                self._tell(PhoneEventKind.UNREGISTERED)
        if registration.state is not RegistrationState.REGISTERING:
            self._settled.set()
        self._send()

    # Small things

    def _of_transaction(self, transaction_id: str) -> SoftphoneCall | None:
        return next((call for call in self._calls if call.leg.transaction_id == transaction_id), None)

    def _of_dialog(self, request: Request) -> SoftphoneCall | None:
        key = dialog_key(request)
        return next((call for call in self._calls if call.leg.dialog is not None and call.leg.dialog.key == key), None)

    def _keep(self, call: SoftphoneCall) -> None:
        """Ended calls are remembered a while: an answer that crossed our CANCEL still wants its ACK and BYE."""
        oldest = self._loop.time() - REMEMBER_ENDED_S
        self._calls = [one for one in self._calls if one.end is None or one.ended_at > oldest]
        self._calls.append(call)

    def _forget(self) -> None:
        self._answers = {key: answer for key, answer in self._answers.items() if not answer.done()}

    def _progressed(self, call: SoftphoneCall, progress: Progress) -> None:
        reason = f"{call.end.status} {call.end.reason}" if call.end is not None else ""
        self._tell(PhoneEventKind(progress.value), call=call, reason=reason)

    def _tell(self, kind: PhoneEventKind, *, call: SoftphoneCall | None = None, reason: str = "") -> None:
        event = PhoneEvent(kind=kind, at=self._loop.time(), call=call, reason=reason)
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)

    def _flow(self, remote: Address) -> Flow:
        return Flow(transport="UDP", remote=remote, local=self.address)

    def _identity(self, remote: Address) -> NameAddr:
        return NameAddr(display=self.display, uri=SipUri(user=self.user, host=_bracketed(remote[0]), port=remote[1]))

    def _contact(self) -> str:
        return str(NameAddr(uri=SipUri(user=self.user, host=_bracketed(self.address[0]), port=self.address[1])))


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams on; that nobody listens at the far end is left to the transactions' own timers."""

    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One datagram."""
        self._received(data, (addr[0], addr[1]))


def _token() -> str:
    return secrets.token_hex(16)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _shown(address: Address) -> str:
    return f"{_bracketed(address[0])}:{address[1]}"
