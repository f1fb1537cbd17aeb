"""Two transaction layers, a link between them that may lose, repeat and reorder, and a clock that we move."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

from telephony.sip.events import Event
from telephony.sip.flow import Flow
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Headers, Message, Request, Response, parse

CALLER = ("192.0.2.1", 5060)
CALLEE = ("192.0.2.2", 5062)
TO_CALLEE = Flow(transport="UDP", remote=CALLEE, local=CALLER)
TO_CALLER = Flow(transport="UDP", remote=CALLER, local=CALLEE)
TCP_TO_CALLEE = Flow(transport="TCP", remote=CALLEE, local=CALLER)
TCP_TO_CALLER = Flow(transport="TCP", remote=CALLER, local=CALLEE)

ONCE = (0.01,)
"""The delays (s) at which copies of a datagram arrive; the empty tuple loses it."""


def tokens(prefix: str) -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"{prefix}{next(numbers)}"


def request(method: str, *, cseq: int = 1, call_id: str = "call-1", to_tag: str | None = None, **extra: str) -> Request:
    """A request without Via, as a user hands it to the layer."""
    to = "<sip:duty@192.0.2.2:5062>"
    headers = [
        ("Max-Forwards", "70"),
        ("From", "<sip:13800138000@192.0.2.1>;tag=caller"),
        ("To", to if to_tag is None else f"{to};tag={to_tag}"),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
        ("Contact", "<sip:13800138000@192.0.2.1:5060>"),
        *((name.replace("_", "-"), value) for name, value in extra.items()),
    ]
    return Request(method=method, uri="sip:duty@192.0.2.2:5062", headers=Headers(headers))


def ack_for(response: Response) -> Request:
    headers = [
        ("Max-Forwards", "70"),
        ("From", str(response.from_)),
        ("To", str(response.to)),
        ("Call-ID", response.call_id),
        ("CSeq", f"{response.cseq.number} ACK"),
    ]
    return Request(method="ACK", uri="sip:duty@192.0.2.2:5062", headers=Headers(headers))


def events_of(layer: TransactionLayer) -> list[Event]:
    events: list[Event] = []
    while (event := layer.next_event()) is not None:
        events.append(event)
    return events


def sent_by(layer: TransactionLayer) -> list[Message]:
    return [parse(data) for data, _ in layer.packets_to_send()]


class Link:
    """Carries datagrams between two layers and runs their timers, in order of time.

    ``fate`` is asked for every datagram (its sender, its message) at which delays its copies arrive.
    ``caller_user`` and ``callee_user`` handle each event at the moment it happens.
    """

    def __init__(
        self,
        *,
        fate: Callable[[str, Message], tuple[float, ...]] = lambda _name, _message: ONCE,
        transport: str = "UDP",
        caller_user: Callable[[Event, float], None] | None = None,
        callee_user: Callable[[Event, float], None] | None = None,
    ) -> None:
        self.caller = TransactionLayer(rng=tokens("a"))
        self.callee = TransactionLayer(rng=tokens("b"))
        self.to_callee = TO_CALLEE if transport == "UDP" else TCP_TO_CALLEE
        self.to_caller = TO_CALLER if transport == "UDP" else TCP_TO_CALLER
        self.now = 100.0
        self.sent: list[tuple[float, str, Message]] = []
        self.caller_events: list[Event] = []
        self.callee_events: list[Event] = []
        self.fate = fate
        self.users = {"caller": caller_user, "callee": callee_user}
        self._air: list[tuple[float, int, str, bytes]] = []
        self._order = count()

    def settle(self) -> None:
        """Send what waits to be sent and hand out events, until nothing moves at this moment."""
        for name, layer, log in self._ends():
            for event in events_of(layer):
                log.append(event)
                user = self.users[name]
                if user is not None:
                    user(event, self.now)
            for data, _ in layer.packets_to_send():
                message = parse(data)
                self.sent.append((self.now, name, message))
                other = "callee" if name == "caller" else "caller"
                for delay in self.fate(name, message):
                    heapq.heappush(self._air, (self.now + delay, next(self._order), other, data))

    def run(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        end = self.now + seconds
        self.settle()
        while (moment := self._next_moment()) is not None and moment <= end:
            self.now = max(self.now, moment)
            while self._air and self._air[0][0] <= self.now:
                _, _, name, data = heapq.heappop(self._air)
                if name == "caller":
                    self.caller.receive(data, self.to_callee, self.now)
                else:
                    self.callee.receive(data, self.to_caller, self.now)
            self.caller.handle_timer(self.now)
            self.callee.handle_timer(self.now)
            self.settle()
        self.now = end

    def times(self, name: str, start: str) -> list[float]:
        """When ``name`` sent messages whose first line starts with ``start``, in s after the first of them."""
        first = start.encode()
        moments = [at for at, who, message in self.sent if who == name and message.serialize().startswith(first)]
        return [round(at - moments[0], 3) for at in moments]

    def _ends(self) -> list[tuple[str, TransactionLayer, list[Event]]]:
        return [("caller", self.caller, self.caller_events), ("callee", self.callee, self.callee_events)]

    def _next_moment(self) -> float | None:
        moments = [self._air[0][0]] if self._air else []
        moments += [at for at in (self.caller.get_timer(), self.callee.get_timer()) if at is not None]
        return min(moments, default=None)
