"""The calls a switchboard knows, and by what each of them is found: transactions, dialogs, deadlines, places.

Every operation takes constant time or the logarithm of the number of calls, so that a busy hour costs each call no
more than a quiet one. An ended call is remembered for a while: an answer that crossed our CANCEL still wants its ACK
and its BYE.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

from telephony.call import Call, Phase
from telephony.clientleg import ClientLeg
from telephony.inbound import InboundCall
from telephony.leg import Leg
from telephony.line import LineProfile
from telephony.sip.dialog import Dialog, DialogKey

KEEP_ENDED_S = 40.0
"""How long an ended call is remembered at least; longer while an INVITE of ours has no final response."""

_OCCUPYING = frozenset({Phase.RINGING, Phase.DIALLING, Phase.TALKING})


@dataclass(slots=True, kw_only=True, eq=False)
class _Kept:
    """A call and every key under which it is kept."""

    call: Call
    servers: set[str] = field(default_factory=set)
    clients: set[str] = field(default_factory=set)
    inquiries: set[str] = field(default_factory=set)
    errands: set[str] = field(default_factory=set)
    dialogs: dict[DialogKey, Dialog] = field(default_factory=dict)
    armed: float | None = None
    ending: bool = False


class CallIndex:
    """All calls, live and just ended. Times are monotonic s."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._servers: dict[str, tuple[Call, Leg | None]] = {}
        self._clients: dict[str, tuple[Call, ClientLeg]] = {}
        self._inquiries: dict[str, tuple[Call, Leg]] = {}
        self._errands: dict[str, tuple[Call, Leg]] = {}
        self._dialogs: dict[DialogKey, tuple[Call, Leg]] = {}
        self._occupying: dict[str, set[str]] = {}
        self._waiting: dict[str, deque[InboundCall]] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._endings: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._kept)

    # Taking in and keeping up

    def add(self, call: Call) -> None:
        """Keep a new call."""
        self._kept[call.call_id] = _Kept(call=call)

    def expect(self, call: Call, transaction_id: str, leg: Leg | None = None) -> None:
        """CANCEL, ACK and failure of the received INVITE ``transaction_id`` concern ``call``; None is its first one."""
        self._servers[transaction_id] = (call, leg)
        self._kept[call.call_id].servers.add(transaction_id)

    def update(self, call: Call, now: float) -> bool:
        """Something happened to ``call``: take up its new keys. True where the line has got a free place by it."""
        kept = self._kept.get(call.call_id)
        if kept is None:
            return False
        self._index_legs(kept)
        due = call.due
        if due is not None and due != kept.armed:
            kept.armed = due
            heapq.heappush(self._deadlines, (due, call.call_id))
        if not call.live and not kept.ending:
            kept.ending = True
            heapq.heappush(self._endings, (now + KEEP_ENDED_S, call.call_id))
        return self._occupy(call)

    def drop(self, call_id: str) -> Call | None:
        """Forget a call at once; it, if it was known."""
        kept = self._kept.pop(call_id, None)
        if kept is None:
            return None
        for transaction_id in kept.servers:
            self._servers.pop(transaction_id, None)
        for transaction_id in kept.clients:
            self._clients.pop(transaction_id, None)
        for transaction_id in kept.inquiries:
            self._inquiries.pop(transaction_id, None)
        for transaction_id in kept.errands:
            self._errands.pop(transaction_id, None)
        for key in kept.dialogs:
            self._dialogs.pop(key, None)
        return kept.call

    # Finding

    def get(self, call_id: str) -> Call | None:
        """The call."""
        kept = self._kept.get(call_id)
        return kept.call if kept is not None else None

    def by_server(self, transaction_id: str) -> tuple[Call, Leg | None] | None:
        """Whose received INVITE it is, and of which leg once there is one."""
        found = self._servers.get(transaction_id)
        return (found[0], found[1] or found[0].server_leg) if found is not None else None

    def by_client(self, transaction_id: str) -> tuple[Call, ClientLeg] | None:
        """Whose INVITE of ours it is."""
        return self._clients.get(transaction_id)

    def by_inquiry(self, transaction_id: str) -> tuple[Call, Leg] | None:
        """Whose question within a dialog it is."""
        found = self._inquiries.get(transaction_id)
        return found if found is not None and found[1].inquiry_id == transaction_id else None

    def by_errand(self, transaction_id: str) -> tuple[Call, Leg] | None:
        """Whose BYE or PRACK it is."""
        return self._errands.get(transaction_id)

    def by_dialog(self, key: DialogKey) -> tuple[Call, Leg] | None:
        """Whose dialog it is."""
        return self._dialogs.get(key)

    def live(self) -> list[Call]:
        """The calls that have not ended."""
        return [kept.call for kept in self._kept.values() if kept.call.live]

    # Places on a line

    def has_place(self, line: LineProfile) -> bool:
        """Whether the line takes one more call now."""
        return len(self._occupying.get(line.number, ())) < line.max_calls

    def in_use(self, line: LineProfile) -> bool:
        """Whether anybody rings or talks on the line."""
        return bool(self._occupying.get(line.number))

    def talks_to_caller(self, line: LineProfile, extension: str) -> bool:
        """Whether a caller is connected to that phone of the line, held or not."""
        talking = (self.get(call_id) for call_id in self._occupying.get(line.number, ()))
        return any(
            isinstance(call, InboundCall)
            and call.phase is Phase.TALKING
            and isinstance(call.desk, ClientLeg)
            and call.desk.name == extension
            for call in talking
        )

    def is_waited_for(self, line: LineProfile) -> bool:
        """Whether callers queue for the line."""
        return self._first_waiting(line) is not None

    def wait(self, call: InboundCall) -> None:
        """Put a caller at the end of its line's queue."""
        self._waiting.setdefault(call.line.number, deque()).append(call)

    def next_waiting(self, line: LineProfile) -> InboundCall | None:
        """The caller whose turn has come, taken off the queue; None where nobody waits or no place is free."""
        first = self._first_waiting(line) if self.has_place(line) else None
        if first is not None:
            self._waiting[line.number].popleft()
        return first

    # Time

    def next_deadline(self) -> float | None:
        """When something is due."""
        heads = [heap[0][0] for heap in (self._deadlines, self._endings) if heap]
        return min(heads, default=None)

    def pop_timed_out(self, now: float) -> Call | None:
        """A live call whose deadline has come."""
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, call_id = heapq.heappop(self._deadlines)
            kept = self._kept.get(call_id)
            if kept is not None and kept.armed == deadline:
                kept.armed = None
                if kept.call.due == deadline:
                    return kept.call
        return None

    def forget_ended(self, now: float) -> None:
        """Forget the calls that ended long enough ago."""
        while self._endings and self._endings[0][0] <= now:
            _, call_id = heapq.heappop(self._endings)
            call = self.get(call_id)
            if call is not None and any(leg.pending for leg in call.client_legs()):
                heapq.heappush(self._endings, (now + KEEP_ENDED_S, call_id))
            else:
                self.drop(call_id)

    def _index_legs(self, kept: _Kept) -> None:
        call = kept.call
        clients = call.client_legs()
        for leg in clients:
            if leg.transaction_id not in kept.clients:
                kept.clients.add(leg.transaction_id)
                self._clients[leg.transaction_id] = (call, leg)
        for side in (call.network, call.desk):
            if side is not None and side.inquiry is not None and side.inquiry_id not in kept.inquiries:
                kept.inquiries.add(side.inquiry_id)
                self._inquiries[side.inquiry_id] = (call, side)
        legs = (call.network, call.desk, *clients)
        for runner in legs:
            if runner is not None and runner.errands:
                for transaction_id in runner.errands.keys() - kept.errands:
                    kept.errands.add(transaction_id)
                    self._errands[transaction_id] = (call, runner)
        known = kept.dialogs.values()
        for each in legs:
            if each is not None and each.dialog is not None and not any(each.dialog is dialog for dialog in known):
                key = each.dialog.key
                kept.dialogs[key] = each.dialog
                self._dialogs[key] = (call, each)

    def _occupy(self, call: Call) -> bool:
        """Count the call's place; True where it has just given one back."""
        occupying = self._occupying.setdefault(call.line.number, set())
        if call.phase in _OCCUPYING and call.takes_place:
            occupying.add(call.call_id)
            return False
        before = len(occupying)
        occupying.discard(call.call_id)
        return len(occupying) < before

    def _first_waiting(self, line: LineProfile) -> InboundCall | None:
        queue = self._waiting.get(line.number, deque())
        while queue and queue[0].phase is not Phase.QUEUED:
            queue.popleft()
        return queue[0] if queue else None
