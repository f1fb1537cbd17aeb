"""The transaction layer (RFC 3261 sections 17 and 18): datagrams, a clock and the user's wishes in, events
and datagrams out.

It does no I/O. The caller hands over what arrives (``receive``), asks when it wants to be woken
(``get_timer``), wakes it (``handle_timer``), and after every call sends ``packets_to_send`` and reads
``next_event`` until it is None. Times are seconds of one monotonic clock of the caller's. Nothing is
scanned: messages find their transaction by key, timers lie in a heap, and each transaction is forgotten
when its last timer has fired.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.events import (
    AckMissing,
    AckReceived,
    CancelReceived,
    Event,
    FailureCause,
    MalformedReceived,
    RequestReceived,
    ResponseReceived,
    TransactionFailed,
)
from telephony.sip.flow import Address, Flow
from telephony.sip.keepalive import is_keepalive
from telephony.sip.live import Client, LiveTransactions, Server, Transaction
from telephony.sip.matching import (
    MAGIC_COOKIE,
    ServerKey,
    ack_key,
    cancel_request,
    client_key,
    failure_ack,
    has_cookie,
    merge_key,
    reply_flow,
    server_key,
    with_arrival,
    with_own_via,
)
from telephony.sip.message import Request, Response, error_response_for, make_response, parse
from telephony.sip.transaction import Action, Input, Kind, Machine, State, Timers

LARGEST_DATAGRAM = 1300
"""Bytes of a request that UDP may carry where the path's MTU is not known (RFC 3261 18.1.1)."""
WITHOUT_TCP_S = 600.0
"""How long a peer that refused TCP is sent long requests by UDP at once."""
REMEMBERED_WITHOUT_TCP = 1024


@dataclass(slots=True, kw_only=True)
class Counters:
    """What was absorbed without an event, since the start; for monitoring."""

    malformed: int = 0
    keepalives: int = 0
    requests_again: int = 0
    stray_responses: int = 0
    stray_acks: int = 0
    late_responses: int = 0
    merged_or_looped: int = 0
    overload: int = 0


class TransactionLayer:
    """All transactions of one endpoint.

    ``rng`` gives an unguessable token (letters and digits, at least 64 bits of chance) at each call:
    branches and To tags are made of it. Beyond ``max_transactions`` live ones, new requests are answered
    503 without being kept. A request for UDP of more than ``largest_datagram`` bytes goes by TCP, and by UDP after
    all where TCP is refused (RFC 3261 18.1.1); None never switches.
    """

    def __init__(
        self,
        *,
        timers: Timers | None = None,
        rng: Callable[[], str],
        max_transactions: int = 50_000,
        largest_datagram: int | None = LARGEST_DATAGRAM,
    ) -> None:
        self.counters = Counters()
        self._timers = timers or Timers()
        self._rng = rng
        self._max_transactions = max_transactions
        self._largest_datagram = largest_datagram
        self._without_tcp: dict[Address, float] = {}
        self._live = LiveTransactions()
        self._packets: list[tuple[bytes, Flow]] = []
        self._events: deque[Event] = deque()

    def __len__(self) -> int:
        """How many transactions are alive."""
        return len(self._live)

    # What arrives

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """One datagram, or one whole message of a stream. Never raises for what a peer sends."""
        if is_keepalive(data):
            self.counters.keepalives += 1
            return
        try:
            message = parse(data)
            if isinstance(message, Response):
                self._receive_response(message, flow, now)
            else:
                self._receive_request(message, flow, now)
        except RemoteProtocolError as error:
            self._refuse_malformed(data, flow, error)

    def transport_failed(self, flow: Flow, now: float) -> None:
        """Nothing can be sent to ``flow`` (connection lost, ICMP error): end what depends on it."""
        for transaction in self._live.on_flow(flow):
            if isinstance(transaction, Client) and transaction.fallback is not None and transaction.machine.unanswered:
                self._fall_back(transaction, transaction.fallback, now)
            else:
                self._step(transaction, Input.TRANSPORT_ERROR, now)

    def handle_timer(self, now: float) -> None:
        """Fire every timer due at ``now``."""
        while (due := self._live.pop_due(now)) is not None:
            transaction, timer = due
            actions, armed = transaction.machine.fire(timer, now)
            self._perform(transaction, actions, now)
            self._live.schedule(transaction, armed)

    # What the user wants

    def send_request(self, request: Request, flow: Flow, now: float) -> str:
        """Send a request (no ACK, no CANCEL) to ``flow`` with a Via of ours on top; its id."""
        if request.method in ("ACK", "CANCEL"):
            raise LocalProtocolError(f"{request.method} is no request of its own: see send_ack and cancel")
        bare, branch = request, MAGIC_COOKIE + self._rng()
        request = with_own_via(bare, flow, branch)
        stream = self._stream_for(request, flow, now)
        if stream is None:
            return self._start_client(request, flow, now, own=False)
        return self._start_client(with_own_via(bare, stream, branch), stream, now, own=False, fallback=flow)

    def send_ack(self, ack: Request, flow: Flow, now: float) -> None:  # noqa: ARG002 - as its siblings
        """Send the ACK to a 2xx, and again by itself whenever that 2xx comes again."""
        packet = with_own_via(ack, flow, MAGIC_COOKIE + self._rng()).serialize()
        invite = self._live.invites.get((ack.call_id, ack.from_.tag, ack.cseq.number))
        if invite is not None:
            invite.acks[ack.to.tag] = (packet, flow)
        self._packets.append((packet, flow))

    def respond(self, transaction_id: str, response: Response, now: float) -> None:
        """Answer a request. A 2xx to an INVITE is repeated until its ACK comes.

        An answer to a transaction that has ended meanwhile is dropped and counted. Raises
        LocalProtocolError for an id that is no received request's, for a second final response, and for a
        2xx to INVITE without To tag.
        """
        transaction = self._live.get(transaction_id, "s")
        if transaction is None:
            self.counters.late_responses += 1
        elif isinstance(transaction, Server):
            self._respond(transaction, response, now)

    def hold(self, transaction_id: str) -> None:
        """Send no response to a received request until ``release``; what is answered meanwhile waits in its order."""
        transaction = self._live.get(transaction_id, "s")
        if isinstance(transaction, Server) and transaction.held is None:
            transaction.held = []

    def release(self, transaction_id: str) -> None:
        """Send what ``hold`` kept back, and what is to come at once."""
        transaction = self._live.get(transaction_id, "s")
        if isinstance(transaction, Server) and transaction.held is not None:
            self._packets += [(packet, transaction.flow) for packet in transaction.held]
            transaction.held = None

    def cancel(self, client_transaction_id: str, now: float, *, reason: str = "") -> None:
        """Cancel an INVITE of ours; the CANCEL waits for the first provisional (RFC 3261 9.1) and carries ``reason``.

        The INVITE's own response still comes as an event: 487, or a 2xx that crossed. Nothing happens where
        the final response is there already. Raises LocalProtocolError for anything but an INVITE that we
        sent.
        """
        transaction = self._live.get(client_transaction_id, "c")
        if transaction is not None:
            if isinstance(transaction, Client):
                transaction.reason = reason
            self._step(transaction, Input.CANCEL, now)

    # What is to be done outside

    def get_timer(self) -> float | None:
        """When ``handle_timer`` wants to be called, in the caller's clock; None for never."""
        return self._live.next_deadline()

    def packets_to_send(self) -> list[tuple[bytes, Flow]]:
        """The messages to send, oldest first; each is given once."""
        packets, self._packets = self._packets, []
        return packets

    def next_event(self) -> Event | None:
        """The oldest event not yet read."""
        return self._events.popleft() if self._events else None

    # Client side

    def _stream_for(self, request: Request, flow: Flow, now: float) -> Flow | None:
        """The TCP flow that has to carry a request too long for UDP; None where UDP will do, or must."""
        if self._largest_datagram is None or flow.transport != "UDP":
            return None
        if self._without_tcp.get(flow.remote, now) > now or len(request.serialize()) <= self._largest_datagram:
            return None
        return replace(flow, transport="TCP")

    def _fall_back(self, client: Client, flow: Flow, now: float) -> None:
        """TCP is not to be had there: the same request, in the same transaction, by UDP."""
        if len(self._without_tcp) >= REMEMBERED_WITHOUT_TCP:
            self._without_tcp.clear()
        self._without_tcp[flow.remote] = now + WITHOUT_TCP_S
        cancelled = client.machine.state is State.CANCEL_QUEUED
        bare = client.request.replace(headers=client.request.headers.without("Via"))
        self._live.forget(client)
        request = with_own_via(bare, flow, client.request.via.branch or "")
        self._start_client(request, flow, now, own=client.own, identity=client.id)
        if cancelled:
            self.cancel(client.id, now, reason=client.reason)

    def _start_client(
        self,
        request: Request,
        flow: Flow,
        now: float,
        *,
        own: bool,
        fallback: Flow | None = None,
        identity: str | None = None,
    ) -> str:
        is_invite = request.method == "INVITE"
        kind = Kind.CLIENT_INVITE if is_invite else Kind.CLIENT
        client = Client(
            id=identity or self._live.new_id("c"),
            machine=Machine(kind, timers=self._timers, reliable=flow.reliable),
            flow=flow,
            packet=request.serialize(),
            request=request,
            key=client_key(request.via, request.method),
            invite_key=(request.call_id, request.from_.tag, request.cseq.number) if is_invite else None,
            own=own,
            fallback=fallback,
        )
        self._live.add(client, now)
        self._packets.append((client.packet, flow))
        return client.id

    def _receive_response(self, response: Response, flow: Flow, now: float) -> None:
        client = self._live.clients.get(client_key(response.via, response.cseq.method))
        if client is None or len(response.vias) != 1:  # more than our Via: meant for someone else (8.1.3.3)
            self.counters.stray_responses += 1
            return
        actions, armed = client.machine.step(_class_received(response.status), now)
        for action in actions:
            if action is Action.SEND_ACK:
                self._packets.append((failure_ack(client.request, response).serialize(), client.flow))
            elif action is Action.TELL_2XX:
                self._tell_2xx(client, response, flow)
            elif action is Action.TELL_RESPONSE:
                self._tell(client, ResponseReceived(transaction_id=client.id, response=response, flow=flow))
            else:
                self._perform(client, (action,), now)
        self._live.schedule(client, armed)

    def _tell_2xx(self, client: Client, response: Response, flow: Flow) -> None:
        tag = response.to.tag
        if tag not in client.acks:
            client.acks[tag] = None
            self._tell(client, ResponseReceived(transaction_id=client.id, response=response, flow=flow))
        elif (sent := client.acks[tag]) is not None:
            self._packets.append(sent)

    # Server side

    def _receive_request(self, request: Request, flow: Flow, now: float) -> None:
        if request.method == "ACK":
            self._receive_ack(request, flow, now)
            return
        key = server_key(request, request.method)
        known = self._live.servers.get(key)
        if known is not None:
            self.counters.requests_again += 1
            self._step(known, Input.RECEIVED_REQUEST, now)
            return
        request = with_arrival(request, flow)
        if request.method == "CANCEL":
            self._receive_cancel(request, key, flow, now)
        elif len(self._live) >= self._max_transactions:
            self._refuse_overload(request, flow)
        elif self._is_merged(request, now) or self._is_looped(request):
            self.counters.merged_or_looped += 1
            self._answer_ourselves(request, key, flow, 482, now)
        else:
            server = self._start_server(request, key, flow, now, own=False)
            self._tell(server, RequestReceived(transaction_id=server.id, request=request, flow=flow))

    def _receive_ack(self, request: Request, flow: Flow, now: float) -> None:
        server = self._live.servers.get(server_key(request, "INVITE"))
        if server is None or (request.to.tag != server.to_tag and not has_cookie(request.via)):
            server = self._live.awaiting_ack.get(ack_key(request))
        if server is None:
            self.counters.stray_acks += 1
            return
        actions, armed = server.machine.step(Input.RECEIVED_ACK, now)
        if Action.TELL_ACK in actions:
            self._tell(server, AckReceived(transaction_id=server.id, request=request, flow=flow))
        self._live.schedule(server, armed)

    def _receive_cancel(self, request: Request, key: ServerKey, flow: Flow, now: float) -> None:
        invite = self._live.servers.get(server_key(request, "INVITE"))
        if invite is None:
            self._answer_ourselves(request, key, flow, 481, now)
            return
        self._answer_ourselves(request, key, flow, 200, now, to_tag=invite.to_tag)
        invite.cancel_reasons = request.headers.get_all("Reason")
        self._step(invite, Input.RECEIVED_CANCEL, now)

    def _start_server(self, request: Request, key: ServerKey, flow: Flow, now: float, *, own: bool) -> Server:
        kind = Kind.SERVER_INVITE if request.method == "INVITE" else Kind.SERVER
        server = Server(
            id=self._live.new_id("s"),
            machine=Machine(kind, timers=self._timers, reliable=flow.reliable),
            flow=reply_flow(request, flow),
            packet=None,
            key=key,
            merge_key=None if own else merge_key(request),
            own=own,
            to_tag=request.to.tag,
        )
        self._live.add(server, now)
        return server

    def _respond(self, server: Server, response: Response, now: float) -> None:
        accepts = server.machine.kind is Kind.SERVER_INVITE and 200 <= response.status < 300
        if accepts and response.to.tag is None:
            raise LocalProtocolError("a 2xx to INVITE makes a dialog and needs a To tag")
        actions, armed = server.machine.step(_class_sent(response.status), now)
        server.packet = response.serialize()
        server.to_tag = response.to.tag
        self._note_call(server, response.status, now)
        if accepts:
            self._live.expect_ack(server, ack_key(response))
        self._perform(server, actions, now)
        self._live.schedule(server, armed)

    def _answer_ourselves(
        self,
        request: Request,
        key: ServerKey,
        flow: Flow,
        status: int,
        now: float,
        *,
        to_tag: str | None = None,
    ) -> None:
        server = self._start_server(request, key, flow, now, own=True)
        self._respond(server, make_response(request, status, to_tag=to_tag or self._rng()), now)

    def _note_call(self, server: Server, status: int, now: float) -> None:
        """An INVITE that was taken up begins no second call, even where it comes once more, by another path or on a
        stream, after its transaction has ended."""
        if status < 200:
            server.taken = True
        elif server.taken and server.merge_key is not None and server.machine.kind is Kind.SERVER_INVITE:
            self._live.remember(server.merge_key, now, now + 64 * self._timers.t1)

    def _is_merged(self, request: Request, now: float) -> bool:
        key = merge_key(request)
        return key is not None and (key in self._live.merging or self._live.is_over(key, now))

    def _is_looped(self, request: Request) -> bool:
        """Whether it is a request of ours that somebody sent back to us."""
        return any(client_key(via, request.method) in self._live.clients for via in request.vias)

    def _refuse_overload(self, request: Request, flow: Flow) -> None:
        self.counters.overload += 1
        response = make_response(request, 503, to_tag=self._rng(), extra=[("Retry-After", "5")])
        self._packets.append((response.serialize(), reply_flow(request, flow)))

    def _refuse_malformed(self, data: bytes, flow: Flow, error: RemoteProtocolError) -> None:
        self.counters.malformed += 1
        self._events.append(MalformedReceived(flow=flow, error=error))
        response = error_response_for(data, error)
        if response is not None:
            self._packets.append((response.serialize(), flow))

    # Both sides

    def _step(self, transaction: Transaction, cause: Input, now: float) -> None:
        actions, armed = transaction.machine.step(cause, now)
        self._perform(transaction, actions, now)
        self._live.schedule(transaction, armed)

    def _perform(self, transaction: Transaction, actions: Iterable[Action], now: float) -> None:
        """The actions that need nothing but the transaction itself."""
        for action in actions:
            match action:
                case Action.SEND:
                    self._send(transaction)
                case Action.SEND_CANCEL if isinstance(transaction, Client):
                    cancel = cancel_request(transaction.request, transaction.reason)
                    self._start_client(cancel, transaction.flow, now, own=True)
                case Action.TELL_CANCEL if isinstance(transaction, Server):
                    reasons = transaction.cancel_reasons
                    self._tell(transaction, CancelReceived(transaction_id=transaction.id, reasons=reasons))
                case Action.REPORT_ACK_MISSING:
                    self._tell(transaction, AckMissing(transaction_id=transaction.id))
                case Action.REPORT_TIMEOUT:
                    self._report(transaction, FailureCause.TIMEOUT)
                case Action.REPORT_TRANSPORT:
                    self._report(transaction, FailureCause.TRANSPORT)
                case _:
                    raise LocalProtocolError(f"{transaction.machine.kind} cannot {action} here")

    def _send(self, transaction: Transaction) -> None:
        packet, held = transaction.packet, transaction.held if isinstance(transaction, Server) else None
        if packet is None:
            return
        if held is None:
            self._packets.append((packet, transaction.flow))
        elif packet not in held[-1:]:  # a retransmission waits once
            held.append(packet)

    def _report(self, transaction: Transaction, cause: FailureCause) -> None:
        self._tell(transaction, TransactionFailed(transaction_id=transaction.id, cause=cause))

    def _tell(self, transaction: Transaction, event: Event) -> None:
        if not transaction.own:
            self._events.append(event)


def _class_received(status: int) -> Input:
    if status < 200:
        return Input.RECEIVED_1XX
    return Input.RECEIVED_2XX if status < 300 else Input.RECEIVED_FAILURE


def _class_sent(status: int) -> Input:
    if status < 200:
        return Input.SEND_1XX
    return Input.SEND_2XX if status < 300 else Input.SEND_FAILURE
