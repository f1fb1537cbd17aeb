"""The four transaction state machines (RFC 3261 section 17 as corrected by RFC 6026), as tables.

Each table says, for a state and what happened in it, which state follows and what is to be done. Timers
belong to states (``TIMERS_OF``): entering a state arms its timers, leaving it disarms those that the next
state does not have. The machine knows no message, no address and no clock; ``telephony.sip.layer`` feeds it
and carries out its actions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from telephony.sip.errors import LocalProtocolError


class Kind(StrEnum):
    """Which of the four machines of RFC 3261 figures 5 to 8."""

    CLIENT_INVITE = "client-invite"
    CLIENT = "client"
    SERVER_INVITE = "server-invite"
    SERVER = "server"

    @property
    def is_client(self) -> bool:
        """Whether we sent the request."""
        return self in (Kind.CLIENT_INVITE, Kind.CLIENT)


class State(StrEnum):
    """RFC names, and three splits of ours that keep every condition in the table instead of in a flag."""

    CALLING = "calling"
    CANCEL_QUEUED = "cancel-queued"  # Calling, and a CANCEL waits for the first provisional (RFC 3261 9.1)
    TRYING = "trying"
    PROCEEDING = "proceeding"
    CANCELLING = "cancelling"  # Proceeding, and the CANCEL is sent
    ACCEPTED = "accepted"
    ACKNOWLEDGED = "acknowledged"  # the server's Accepted once the ACK to its 2xx is in
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


class Timer(StrEnum):
    """RFC 3261 table 4 and RFC 6026 by letter; the last three have no letter there."""

    A = "A"
    B = "B"
    D = "D"
    E = "E"
    F = "F"
    G = "G"
    H = "H"
    I = "I"  # noqa: E741 - the RFC's letter
    J = "J"
    K = "K"
    L = "L"
    M = "M"
    RETRANSMIT_2XX = "2xx"  # RFC 3261 13.3.1.4
    CANCELLED = "cancelled"  # RFC 3261 9.1: 64*T1 after the CANCEL the INVITE counts as cancelled
    UNANSWERED = "unanswered"  # RFC 4320: after the client's timer F nobody waits for our answer


class Input(StrEnum):
    """What may happen to a transaction besides a timer."""

    RECEIVED_1XX = "received 1xx"
    RECEIVED_2XX = "received 2xx"
    RECEIVED_FAILURE = "received 3xx-6xx"
    CANCEL = "cancel"
    RECEIVED_REQUEST = "received request again"
    RECEIVED_ACK = "received ACK"
    RECEIVED_CANCEL = "received CANCEL"
    SEND_1XX = "send 1xx"
    SEND_2XX = "send 2xx"
    SEND_FAILURE = "send 3xx-6xx"
    TRANSPORT_ERROR = "transport error"


class Action(StrEnum):
    """What the layer has to do."""

    SEND = "send"  # the request, or the last response
    SEND_ACK = "send ACK"  # to a 3xx-6xx, RFC 3261 17.1.1.3
    SEND_CANCEL = "send CANCEL"
    TELL_RESPONSE = "tell response"
    TELL_2XX = "tell 2xx"  # once for each To tag; the rest is acknowledged again
    TELL_ACK = "tell ACK"
    TELL_CANCEL = "tell CANCEL"
    REPORT_TIMEOUT = "report timeout"
    REPORT_TRANSPORT = "report transport"
    REPORT_ACK_MISSING = "report missing ACK"


class Transition(NamedTuple):
    """One cell of a table."""

    state: State
    actions: tuple[Action, ...]


Table = Mapping[tuple[State, Input | Timer], Transition]
_Rows = Mapping[Input | Timer, tuple[State, Iterable[Action]]]


def _table(rows: Mapping[State, _Rows]) -> Table:
    return {
        (state, cause): Transition(after, tuple(actions))
        for state, cells in rows.items()
        for cause, (after, actions) in cells.items()
    }


# A failed transport ends a transaction with a report only while the user still waits for something from it.
_CALLING: _Rows = {
    Timer.B: (State.TERMINATED, [Action.REPORT_TIMEOUT]),
    Input.RECEIVED_2XX: (State.ACCEPTED, [Action.TELL_2XX]),
    Input.RECEIVED_FAILURE: (State.COMPLETED, [Action.SEND_ACK, Action.TELL_RESPONSE]),
    Input.TRANSPORT_ERROR: (State.TERMINATED, [Action.REPORT_TRANSPORT]),
}
CLIENT_INVITE = _table(
    {
        State.CALLING: {
            **_CALLING,
            Timer.A: (State.CALLING, [Action.SEND]),
            Input.RECEIVED_1XX: (State.PROCEEDING, [Action.TELL_RESPONSE]),
            Input.CANCEL: (State.CANCEL_QUEUED, []),
        },
        State.CANCEL_QUEUED: {
            **_CALLING,
            Timer.A: (State.CANCEL_QUEUED, [Action.SEND]),
            Input.RECEIVED_1XX: (State.CANCELLING, [Action.SEND_CANCEL, Action.TELL_RESPONSE]),
            Input.CANCEL: (State.CANCEL_QUEUED, []),
        },
        State.PROCEEDING: {
            Input.RECEIVED_1XX: (State.PROCEEDING, [Action.TELL_RESPONSE]),
            Input.RECEIVED_2XX: (State.ACCEPTED, [Action.TELL_2XX]),
            Input.RECEIVED_FAILURE: (State.COMPLETED, [Action.SEND_ACK, Action.TELL_RESPONSE]),
            Input.TRANSPORT_ERROR: (State.TERMINATED, [Action.REPORT_TRANSPORT]),
            Input.CANCEL: (State.CANCELLING, [Action.SEND_CANCEL]),
        },
        State.CANCELLING: {
            Timer.CANCELLED: (State.TERMINATED, [Action.REPORT_TIMEOUT]),
            Input.RECEIVED_1XX: (State.CANCELLING, [Action.TELL_RESPONSE]),
            Input.RECEIVED_2XX: (State.ACCEPTED, [Action.TELL_2XX]),
            Input.RECEIVED_FAILURE: (State.COMPLETED, [Action.SEND_ACK, Action.TELL_RESPONSE]),
            Input.TRANSPORT_ERROR: (State.TERMINATED, [Action.REPORT_TRANSPORT]),
            Input.CANCEL: (State.CANCELLING, []),
        },
        State.ACCEPTED: {
            Timer.M: (State.TERMINATED, []),
            Input.RECEIVED_1XX: (State.ACCEPTED, []),
            Input.RECEIVED_2XX: (State.ACCEPTED, [Action.TELL_2XX]),
            Input.RECEIVED_FAILURE: (State.ACCEPTED, []),
            Input.TRANSPORT_ERROR: (State.ACCEPTED, []),
            Input.CANCEL: (State.ACCEPTED, []),  # crossed the 2xx; the user ends the call with BYE
        },
        State.COMPLETED: {
            Timer.D: (State.TERMINATED, []),
            Input.RECEIVED_1XX: (State.COMPLETED, []),
            Input.RECEIVED_2XX: (State.COMPLETED, []),
            Input.RECEIVED_FAILURE: (State.COMPLETED, [Action.SEND_ACK]),
            Input.TRANSPORT_ERROR: (State.TERMINATED, []),
            Input.CANCEL: (State.COMPLETED, []),
        },
    }
)

_UNANSWERED_REQUEST: _Rows = {
    Timer.F: (State.TERMINATED, [Action.REPORT_TIMEOUT]),
    Input.RECEIVED_1XX: (State.PROCEEDING, [Action.TELL_RESPONSE]),
    Input.RECEIVED_2XX: (State.COMPLETED, [Action.TELL_RESPONSE]),
    Input.RECEIVED_FAILURE: (State.COMPLETED, [Action.TELL_RESPONSE]),
    Input.TRANSPORT_ERROR: (State.TERMINATED, [Action.REPORT_TRANSPORT]),
}
CLIENT = _table(
    {
        State.TRYING: {**_UNANSWERED_REQUEST, Timer.E: (State.TRYING, [Action.SEND])},
        State.PROCEEDING: {**_UNANSWERED_REQUEST, Timer.E: (State.PROCEEDING, [Action.SEND])},
        State.COMPLETED: {
            Timer.K: (State.TERMINATED, []),
            Input.RECEIVED_1XX: (State.COMPLETED, []),
            Input.RECEIVED_2XX: (State.COMPLETED, []),
            Input.RECEIVED_FAILURE: (State.COMPLETED, []),
            Input.TRANSPORT_ERROR: (State.TERMINATED, []),
        },
    }
)

# The machine never sends 100 by itself: to us a 100 says that the call is in the book, which only the
# user knows.
SERVER_INVITE = _table(
    {
        State.PROCEEDING: {
            Input.RECEIVED_REQUEST: (State.PROCEEDING, [Action.SEND]),
            Input.RECEIVED_ACK: (State.PROCEEDING, []),
            Input.RECEIVED_CANCEL: (State.PROCEEDING, [Action.TELL_CANCEL]),
            Input.SEND_1XX: (State.PROCEEDING, [Action.SEND]),
            Input.SEND_2XX: (State.ACCEPTED, [Action.SEND]),
            Input.SEND_FAILURE: (State.COMPLETED, [Action.SEND]),
            Input.TRANSPORT_ERROR: (State.TERMINATED, [Action.REPORT_TRANSPORT]),
        },
        State.ACCEPTED: {
            Timer.RETRANSMIT_2XX: (State.ACCEPTED, [Action.SEND]),
            Timer.L: (State.TERMINATED, [Action.REPORT_ACK_MISSING]),
            Input.RECEIVED_REQUEST: (State.ACCEPTED, []),
            Input.RECEIVED_ACK: (State.ACKNOWLEDGED, [Action.TELL_ACK]),
            Input.RECEIVED_CANCEL: (State.ACCEPTED, []),
            Input.TRANSPORT_ERROR: (State.ACCEPTED, []),  # the ACK may come by another connection
        },
        State.ACKNOWLEDGED: {
            Timer.L: (State.TERMINATED, []),
            Input.RECEIVED_REQUEST: (State.ACKNOWLEDGED, []),
            Input.RECEIVED_ACK: (State.ACKNOWLEDGED, []),
            Input.RECEIVED_CANCEL: (State.ACKNOWLEDGED, []),
            Input.TRANSPORT_ERROR: (State.ACKNOWLEDGED, []),
        },
        State.COMPLETED: {
            Timer.G: (State.COMPLETED, [Action.SEND]),
            Timer.H: (State.TERMINATED, [Action.REPORT_TIMEOUT]),
            Input.RECEIVED_REQUEST: (State.COMPLETED, [Action.SEND]),
            Input.RECEIVED_ACK: (State.CONFIRMED, []),
            Input.RECEIVED_CANCEL: (State.COMPLETED, []),
            Input.TRANSPORT_ERROR: (State.TERMINATED, []),
        },
        State.CONFIRMED: {
            Timer.I: (State.TERMINATED, []),
            Input.RECEIVED_REQUEST: (State.CONFIRMED, []),
            Input.RECEIVED_ACK: (State.CONFIRMED, []),
            Input.RECEIVED_CANCEL: (State.CONFIRMED, []),
            Input.TRANSPORT_ERROR: (State.TERMINATED, []),
        },
    }
)

_UNANSWERED_BY_US: _Rows = {
    Timer.UNANSWERED: (State.TERMINATED, [Action.REPORT_TIMEOUT]),
    Input.SEND_1XX: (State.PROCEEDING, [Action.SEND]),
    Input.SEND_2XX: (State.COMPLETED, [Action.SEND]),
    Input.SEND_FAILURE: (State.COMPLETED, [Action.SEND]),
    Input.TRANSPORT_ERROR: (State.TERMINATED, [Action.REPORT_TRANSPORT]),
}
SERVER = _table(
    {
        State.TRYING: {**_UNANSWERED_BY_US, Input.RECEIVED_REQUEST: (State.TRYING, [])},
        State.PROCEEDING: {**_UNANSWERED_BY_US, Input.RECEIVED_REQUEST: (State.PROCEEDING, [Action.SEND])},
        State.COMPLETED: {
            Timer.J: (State.TERMINATED, []),
            Input.RECEIVED_REQUEST: (State.COMPLETED, [Action.SEND]),
            Input.TRANSPORT_ERROR: (State.TERMINATED, []),
        },
    }
)

TABLES: Mapping[Kind, Table] = {
    Kind.CLIENT_INVITE: CLIENT_INVITE,
    Kind.CLIENT: CLIENT,
    Kind.SERVER_INVITE: SERVER_INVITE,
    Kind.SERVER: SERVER,
}

TIMERS_OF: Mapping[tuple[Kind, State], tuple[Timer, ...]] = {
    (Kind.CLIENT_INVITE, State.CALLING): (Timer.A, Timer.B),
    (Kind.CLIENT_INVITE, State.CANCEL_QUEUED): (Timer.A, Timer.B),
    (Kind.CLIENT_INVITE, State.CANCELLING): (Timer.CANCELLED,),
    (Kind.CLIENT_INVITE, State.ACCEPTED): (Timer.M,),
    (Kind.CLIENT_INVITE, State.COMPLETED): (Timer.D,),
    (Kind.CLIENT, State.TRYING): (Timer.E, Timer.F),
    (Kind.CLIENT, State.PROCEEDING): (Timer.E, Timer.F),
    (Kind.CLIENT, State.COMPLETED): (Timer.K,),
    (Kind.SERVER_INVITE, State.ACCEPTED): (Timer.RETRANSMIT_2XX, Timer.L),
    (Kind.SERVER_INVITE, State.ACKNOWLEDGED): (Timer.L,),
    (Kind.SERVER_INVITE, State.COMPLETED): (Timer.G, Timer.H),
    (Kind.SERVER_INVITE, State.CONFIRMED): (Timer.I,),
    (Kind.SERVER, State.TRYING): (Timer.UNANSWERED,),
    (Kind.SERVER, State.PROCEEDING): (Timer.UNANSWERED,),
    (Kind.SERVER, State.COMPLETED): (Timer.J,),
}

INITIAL: Mapping[Kind, State] = {
    Kind.CLIENT_INVITE: State.CALLING,
    Kind.CLIENT: State.TRYING,
    Kind.SERVER_INVITE: State.PROCEEDING,
    Kind.SERVER: State.TRYING,
}

# Retransmissions of requests and failures are pointless on a stream; those of a 2xx are end to end and
# are not.
_ONLY_UNRELIABLE = frozenset({Timer.A, Timer.E, Timer.G})
_LINGERING = frozenset({Timer.D, Timer.I, Timer.J, Timer.K})  # zero on a stream: nothing can come again
_REPEATING = frozenset({Timer.A, Timer.E, Timer.G, Timer.RETRANSMIT_2XX})


@dataclass(frozen=True, slots=True, kw_only=True)
class Timers:
    """The base values of RFC 3261 table 4 in seconds: round trip, longest repetition, life of a message on
    the net."""

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0

    def first(self, timer: Timer, *, reliable: bool) -> float | None:
        """Seconds from arming to firing, or None where ``timer`` is not used on this transport."""
        if reliable and timer in _ONLY_UNRELIABLE:
            return None
        if reliable and timer in _LINGERING:
            return 0.0
        if timer in _REPEATING:
            return self.t1
        return self.t4 if timer in (Timer.I, Timer.K) else 64 * self.t1

    def next(self, timer: Timer, state: State, interval: float) -> float:
        """Seconds to the next firing of a repeating timer whose last interval was ``interval`` seconds."""
        if timer is Timer.A:  # alone has no ceiling: timer B ends it after seven
            return 2 * interval
        if timer is Timer.E and state is State.PROCEEDING:
            return self.t2
        return min(2 * interval, self.t2)


class Armed(NamedTuple):
    """A timer and the moment (s, caller's clock) at which it is to be fed back with ``Machine.fire``."""

    timer: Timer
    deadline: float


class Machine:
    """One transaction's state and deadlines."""

    __slots__ = ("_deadlines", "_intervals", "_reliable", "_table", "_timers", "kind", "state")

    def __init__(self, kind: Kind, *, timers: Timers, reliable: bool) -> None:
        self.kind = kind
        self.state = INITIAL[kind]
        self._table = TABLES[kind]
        self._timers = timers
        self._reliable = reliable
        self._deadlines: dict[Timer, float] = {}
        self._intervals: dict[Timer, float] = {}

    @property
    def unanswered(self) -> bool:
        """Whether a client transaction has heard nothing yet."""
        return self.kind.is_client and self.state in (State.CALLING, State.CANCEL_QUEUED, State.TRYING)

    def start(self, now: float) -> list[Armed]:
        """Arm the timers of the initial state."""
        return self._arm_missing(now)

    def step(self, cause: Input, now: float) -> tuple[tuple[Action, ...], list[Armed]]:
        """Go where the table says; what to do and what was armed.

        Raises LocalProtocolError where the table has no such pair: our own caller did what the RFC does not
        allow.
        """
        transition = self._table.get((self.state, cause))
        if transition is None:
            raise LocalProtocolError(f"{self.kind} transaction in state {self.state} cannot take: {cause}")
        return transition.actions, self._enter(transition.state, now)

    def is_due(self, timer: Timer, deadline: float) -> bool:
        """Whether ``timer`` still stands armed for exactly ``deadline`` (it may have been disarmed or armed
        again)."""
        return self._deadlines.get(timer) == deadline

    def fire(self, timer: Timer, now: float) -> tuple[tuple[Action, ...], list[Armed]]:
        """The armed ``timer`` ran out. Raises LocalProtocolError where the state has no such timer."""
        transition = self._table.get((self.state, timer))
        if transition is None:
            raise LocalProtocolError(f"{self.kind} transaction in state {self.state} has no timer {timer}")
        del self._deadlines[timer]
        armed = [] if transition.state is not self.state else [self._repeat(timer, now)]
        return transition.actions, armed + self._enter(transition.state, now)

    def _repeat(self, timer: Timer, now: float) -> Armed:
        interval = self._timers.next(timer, self.state, self._intervals[timer])
        return self._arm(timer, interval, now)

    def _enter(self, state: State, now: float) -> list[Armed]:
        if state is self.state:
            return []
        self.state = state
        wanted = TIMERS_OF.get((self.kind, state), ())
        for timer in [timer for timer in self._deadlines if timer not in wanted]:
            del self._deadlines[timer]
        return self._arm_missing(now)

    def _arm_missing(self, now: float) -> list[Armed]:
        wanted = TIMERS_OF.get((self.kind, self.state), ())
        missing = [timer for timer in wanted if timer not in self._deadlines]
        delays = [(timer, self._timers.first(timer, reliable=self._reliable)) for timer in missing]
        return [self._arm(timer, delay, now) for timer, delay in delays if delay is not None]

    def _arm(self, timer: Timer, interval: float, now: float) -> Armed:
        self._intervals[timer] = interval
        self._deadlines[timer] = now + interval
        return Armed(timer, now + interval)
