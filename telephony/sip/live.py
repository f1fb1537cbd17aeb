"""The live transactions, found by id, by what a message carries and by flow, and their timers in one heap."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from telephony.sip.errors import LocalProtocolError
from telephony.sip.flow import Flow
from telephony.sip.matching import AckKey, ClientKey, MergeKey, ServerKey
from telephony.sip.message import Request
from telephony.sip.transaction import Armed, Machine, State, Timer

REMEMBERED_INVITES = 10_000

InviteKey = tuple[str, str | None, int]
"""Call-ID, our From tag, CSeq number: what the ACK to a 2xx shares with its INVITE."""


@dataclass(slots=True, kw_only=True, eq=False)
class Client:
    """A request we sent. ``own`` ones are the layer's (CANCEL), whose user hears nothing of them. ``fallback`` is the
    UDP flow that a request switched to TCP was meant for."""

    id: str
    machine: Machine
    flow: Flow
    packet: bytes
    request: Request
    key: ClientKey
    invite_key: InviteKey | None
    own: bool
    fallback: Flow | None = None
    reason: str = ""  # of its CANCEL
    acks: dict[str | None, tuple[bytes, Flow] | None] = field(default_factory=dict)  # by To tag of the 2xx


@dataclass(slots=True, kw_only=True, eq=False)
class Server:
    """A request we received. ``packet`` is the last response; ``own`` ones are answered by the layer
    itself. ``held`` are the responses that wait for leave to be sent, None where there is leave."""

    id: str
    machine: Machine
    flow: Flow
    packet: bytes | None
    key: ServerKey
    merge_key: MergeKey | None
    own: bool
    to_tag: str | None
    taken: bool = False  # whether a provisional response was sent: somebody had taken it up
    ack_key: AckKey | None = None
    cancel_reasons: tuple[str, ...] = ()
    held: list[bytes] | None = None


Transaction = Client | Server


class LiveTransactions:
    """Every operation takes constant time, or the logarithm of the number of timers."""

    def __init__(self) -> None:
        self.clients: dict[ClientKey, Client] = {}
        self.servers: dict[ServerKey, Server] = {}
        self.invites: dict[InviteKey, Client] = {}
        self.merging: dict[MergeKey, Server] = {}
        self.awaiting_ack: dict[AckKey, Server] = {}
        self._over: dict[MergeKey, float] = {}
        self._by_id: dict[str, Transaction] = {}
        self._on_flow: dict[Flow, set[str]] = {}
        self._given = 0
        self._heap: list[tuple[float, int, str, Timer]] = []
        self._order = count()  # equal deadlines fire in the order they were armed

    def __len__(self) -> int:
        return len(self._by_id)

    def new_id(self, side: str) -> str:
        """An id never given before."""
        self._given += 1
        return f"{side}{self._given}"

    def get(self, identity: str, side: str) -> Transaction | None:
        """The transaction, or None where it has ended. Raises LocalProtocolError for an id never given."""
        number = identity[1:]
        if identity[:1] != side or not number.isdecimal() or int(number) > self._given:
            raise LocalProtocolError(f"no such transaction: {identity}")
        return self._by_id.get(identity)

    def on_flow(self, flow: Flow) -> list[Transaction]:
        """The transactions whose messages of ours go to ``flow``, oldest first."""
        return [self._by_id[identity] for identity in sorted(self._on_flow.get(flow, ()), key=_age)]

    def add(self, transaction: Transaction, now: float) -> None:
        """Keep a new transaction and start its timers."""
        self._by_id[transaction.id] = transaction
        self._on_flow.setdefault(transaction.flow, set()).add(transaction.id)
        if isinstance(transaction, Client):
            self.clients[transaction.key] = transaction
            if transaction.invite_key is not None:
                self.invites[transaction.invite_key] = transaction
        else:
            self.servers[transaction.key] = transaction
            if transaction.merge_key is not None:
                self.merging[transaction.merge_key] = transaction
        self.schedule(transaction, transaction.machine.start(now))

    def expect_ack(self, server: Server, key: AckKey) -> None:
        """The ACK to the 2xx of ``server`` will carry ``key``."""
        server.ack_key = key
        self.awaiting_ack[key] = server

    def remember(self, key: MergeKey, now: float, until: float) -> None:
        """The INVITE with ``key`` has its final answer and shall not begin anything again before ``until``."""
        while self._over:
            oldest = next(iter(self._over))
            if self._over[oldest] > now and len(self._over) < REMEMBERED_INVITES:
                break
            del self._over[oldest]
        self._over[key] = until

    def is_over(self, key: MergeKey, now: float) -> bool:
        """Whether an INVITE with ``key`` has had its final answer a short while ago."""
        return self._over.get(key, now) > now

    def schedule(self, transaction: Transaction, armed: Iterable[Armed]) -> None:
        """Take up timers that were armed; forget the transaction where it has ended."""
        for timer, deadline in armed:
            heapq.heappush(self._heap, (deadline, next(self._order), transaction.id, timer))
        if transaction.machine.state is State.TERMINATED:
            self.forget(transaction)

    def next_deadline(self) -> float | None:
        """The earliest deadline that still stands. Disarmed timers leave the heap when they come to its
        top."""
        while self._heap:
            deadline, _, identity, timer = self._heap[0]
            transaction = self._by_id.get(identity)
            if transaction is not None and transaction.machine.is_due(timer, deadline):
                return deadline
            heapq.heappop(self._heap)
        return None

    def pop_due(self, now: float) -> tuple[Transaction, Timer] | None:
        """The earliest timer that is due at ``now``, taken off the heap."""
        deadline = self.next_deadline()
        if deadline is None or deadline > now:
            return None
        _, _, identity, timer = heapq.heappop(self._heap)
        return self._by_id[identity], timer

    def forget(self, transaction: Transaction) -> None:
        """It has ended, or is about to be started anew under its id."""
        if self._by_id.pop(transaction.id, None) is None:
            return
        mates = self._on_flow[transaction.flow]
        mates.discard(transaction.id)
        if not mates:
            del self._on_flow[transaction.flow]
        if isinstance(transaction, Client):
            self.clients.pop(transaction.key, None)
            if transaction.invite_key is not None:
                self.invites.pop(transaction.invite_key, None)
            return
        self.servers.pop(transaction.key, None)
        if transaction.merge_key is not None:
            self.merging.pop(transaction.merge_key, None)
        if transaction.ack_key is not None:
            self.awaiting_ack.pop(transaction.ack_key, None)


def _age(identity: str) -> int:
    return int(identity[1:])
