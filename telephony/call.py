"""One call on the duty line, as a pure machine: a back-to-back user agent whose two sides never speak directly.

This module holds what every call shares: its phases, what happens while two people talk, and how it ends. How a call
comes to be answered is in ``inbound`` (the caller dials us) and ``outbound`` (the desk phone or the console dials).
A call is told of events by the switchboard; what it wants done outside SIP it leaves in ``actions``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from duty.domain.calls import CallEventKind, Direction, Outcome
from duty.domain.happenings import Json
from duty.domain.transcripts import Speaker
from telephony import guard
from telephony.actions import (
    Action,
    Bridge,
    MediaAddresses,
    Record,
    ReleaseMedia,
    ReportForward,
    SetRemote,
    StopPlaying,
)
from telephony.leg import ALLOW, SDP_TYPE, ClientLeg, Leg, Wire
from telephony.line import LineProfile
from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.message import Request, Response, make_response
from telephony.sip.session_description import parse_sdp


class Phase(StrEnum):
    """Where a call is, seen from the line."""

    OPENING = "opening"
    QUEUED = "queued"
    RINGING = "ringing"
    DIALLING = "dialling"
    ANNOUNCING = "announcing"
    TALKING = "talking"
    ENDED = "ended"


_NEXT: dict[Phase, frozenset[Phase]] = {
    Phase.OPENING: frozenset({Phase.QUEUED, Phase.RINGING, Phase.DIALLING, Phase.ANNOUNCING, Phase.ENDED}),
    Phase.QUEUED: frozenset({Phase.RINGING, Phase.ANNOUNCING, Phase.ENDED}),
    Phase.RINGING: frozenset({Phase.DIALLING, Phase.ANNOUNCING, Phase.TALKING, Phase.ENDED}),
    Phase.DIALLING: frozenset({Phase.TALKING, Phase.ENDED}),
    Phase.ANNOUNCING: frozenset({Phase.ENDED}),
    Phase.TALKING: frozenset({Phase.ENDED}),
    Phase.ENDED: frozenset(),
}

Handler = Callable[["Call", Leg, str, Request], None]


class Call:
    """What every call shares. ``deadline`` is the monotonic instant in s at which ``time_out`` is due, or None."""

    direction: Direction

    def __init__(self, *, call_id: str, line: LineProfile, wire: Wire) -> None:
        self.call_id = call_id
        self.line = line
        self.phase = Phase.OPENING
        self.deadline: float | None = None
        self.actions: list[Action] = []
        self.network: Leg | None = None
        self.desk: Leg | None = None
        self.answered = False
        self._wire = wire
        self._addresses: MediaAddresses | None = None

    # What the kinds of call differ in

    def opened(self, addresses: MediaAddresses, now: float) -> None:
        """The call is in the book and its media are open."""
        raise NotImplementedError

    def leg_responded(self, leg: ClientLeg, response: Response, flow: Flow, now: float) -> None:
        """A response to an INVITE of ours."""
        raise NotImplementedError

    def leg_failed(self, leg: ClientLeg, now: float) -> None:
        """An INVITE of ours got no final response: time-out or dead transport."""
        raise NotImplementedError

    def cancelled(self, now: float) -> None:
        """The INVITE that began the call was cancelled."""
        raise NotImplementedError

    def time_out(self, now: float) -> None:
        """The deadline has come."""
        raise NotImplementedError

    def client_legs(self) -> list[ClientLeg]:
        """Every leg that we began."""
        raise NotImplementedError

    # What they share

    @property
    def addresses(self) -> MediaAddresses:
        """Our media addresses. Raises LocalProtocolError before the call is opened."""
        if self._addresses is None:
            raise LocalProtocolError("the call is not opened yet")
        return self._addresses

    @property
    def live(self) -> bool:
        """True until the call has ended."""
        return self.phase is not Phase.ENDED

    def enter(self, phase: Phase) -> None:
        """Go on to ``phase``. Raises LocalProtocolError for a step the table lacks."""
        if phase not in _NEXT[self.phase]:
            raise LocalProtocolError(f"no way from {self.phase} to {phase}")
        self.phase = phase

    def record(self, kind: CallEventKind, outcome: Outcome | None = None, **data: Json) -> None:
        """Leave a happening for the book."""
        self.actions.append(Record(call_id=self.call_id, kind=kind, outcome=outcome, data=data))

    def report(self, attempt: guard.Attempt, *, source: str, raw: bytes) -> None:
        """Leave a forward for the book and the alarm: marked where the call is taken all the same, else blocked."""
        if attempt.way is guard.Way.DIVERTED:
            self.record(CallEventKind.FORWARD_MARKED, way=attempt.way.value, target=attempt.target)
            return
        self.actions.append(
            ReportForward(
                call_id=self.call_id,
                line_number=self.line.number,
                way=attempt.way,
                target=attempt.target,
                source=source,
                raw=raw,
            )
        )

    def hear(self, leg: Leg) -> None:
        """Send ``leg`` its audio from now on."""
        if leg.target is not None:
            self.actions.append(SetRemote(call_id=self.call_id, speaker=leg.speaker, target=leg.target))

    def talk(self, *, extension: str) -> None:
        """Both sides are there."""
        self.enter(Phase.TALKING)
        self.answered, self.deadline = True, None
        self.actions.append(StopPlaying(call_id=self.call_id))
        self.actions.append(Bridge(call_id=self.call_id))
        self.record(CallEventKind.ANSWERED, extension=extension)

    def finish(self, outcome: Outcome, *, reason: str) -> None:
        """The call is over: stop what still rings, write the end, let the media go. Nothing happens twice."""
        if not self.live:
            return
        self.enter(Phase.ENDED)
        self.deadline = None
        for leg in self.client_legs():
            leg.cancel(self._wire)
        self.record(CallEventKind.ENDED, outcome, reason=reason)
        self.actions.append(ReleaseMedia(call_id=self.call_id))

    def hang_up(self, *, reason: str) -> None:
        """End the call from our side, whatever its phase: the service stops, or a side is gone."""
        for leg in (self.network, self.desk):
            if leg is not None:
                self.drop(leg, status=503)
        self.finish(Outcome.ANSWERED if self.answered else Outcome.INTERRUPTED, reason=reason)

    def drop(self, leg: Leg, *, status: int) -> None:
        """End one leg in the way its state allows."""
        if isinstance(leg, ClientLeg):
            if not leg.settled:
                leg.cancel(self._wire)
                return
        elif not leg.concluded:  # type: ignore[attr-defined]
            leg.refuse(self._wire, status)  # type: ignore[attr-defined]
            return
        leg.bye(self._wire)

    def acknowledged(self, leg: Leg, request: Request) -> None:
        """The ACK to our 200. It carries the peer's answer where the offer was ours."""
        if leg.target is None and request.body:
            try:
                leg.accept_body(request.body)
            except RemoteProtocolError as error:
                self._break_off(leg, reason=f"bad_answer: {error.reason}")
                return
            self.hear(leg)

    def acknowledgement_missing(self, leg: Leg) -> None:
        """Nobody acknowledged our 200: the peer is gone (RFC 3261 13.3.1.4)."""
        self._break_off(leg, reason="no_ack")

    def _break_off(self, leg: Leg, *, reason: str) -> None:
        leg.bye(self._wire)
        other = self.other(leg)
        if other is not None:
            self.drop(other, status=480)
        self.finish(Outcome.ANSWERED if self.answered else Outcome.FAILED, reason=reason)

    def other(self, leg: Leg) -> Leg | None:
        """The side opposite to ``leg``."""
        return self.desk if leg is self.network else self.network

    # Requests within a dialog

    def request(self, leg: Leg, transaction_id: str, request: Request, flow: Flow) -> None:
        """A request within a leg's dialog: a guard's matter first, then by its method."""
        try:
            leg.take(request, flow)
        except RemoteProtocolError as error:
            self._answer(transaction_id, request, error.status, error.reason)
            return
        attempt = guard.examine_request(request)
        if attempt is not None:
            self.report(attempt, source=flow.remote[0], raw=request.serialize())
            self._answer(transaction_id, request, attempt.status or 603)
            return
        handler = _HANDLERS.get(request.method)
        if handler is None:
            self._answer(transaction_id, request, 405, extra=(("Allow", ALLOW),))
        else:
            handler(self, leg, transaction_id, request)

    def _answer(
        self,
        transaction_id: str,
        request: Request,
        status: int,
        reason: str | None = None,
        *,
        extra: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
    ) -> None:
        response = make_response(
            request, status, reason, extra=extra, body=body, content_type=SDP_TYPE if body else None
        )
        self._wire.respond(transaction_id, response)

    def _bye(self, leg: Leg, transaction_id: str, request: Request) -> None:
        self._answer(transaction_id, request, 200)
        leg.ended = True
        other = self.other(leg)
        if other is not None:
            self.drop(other, status=480)
        who = "caller_hung_up" if leg is self.network else "officer_hung_up"
        self.finish(Outcome.ANSWERED if self.answered else Outcome.CANCELLED, reason=who)

    def _offered_again(self, leg: Leg, transaction_id: str, request: Request) -> None:
        """A re-INVITE or UPDATE: a new place for the same side's audio, or hold. The other side need not know."""
        if not request.body:
            body = leg.offer_body() if request.method == "INVITE" else b""
            self._answer(transaction_id, request, 200, extra=(("Contact", leg.contact),), body=body)
            return
        before = leg.target
        try:
            body = leg.answer_body(parse_sdp(request.body))
        except RemoteProtocolError as error:
            self._answer(transaction_id, request, error.status, error.reason)
            return
        moved = self._moved(leg)
        if moved is not None:
            leg.target = before
            self.report(moved, source=leg.flow.remote[0], raw=request.serialize())
            self._answer(transaction_id, request, moved.status or 488)
            return
        self.hear(leg)
        self._note_hold(leg, before.direction if before else "sendrecv")
        self._answer(transaction_id, request, 200, extra=(("Contact", leg.contact),), body=body)

    def _moved(self, leg: Leg) -> guard.Attempt | None:
        """The guard's word on where a desk phone now wants its audio; the network's side may move."""
        if leg.speaker is not Speaker.OFFICER or leg.target is None:
            return None
        hosts = leg.hosts if isinstance(leg, ClientLeg) else (leg.flow.remote[0],)
        return guard.examine_media(leg.target.host, hosts)

    def _note_hold(self, leg: Leg, before: str) -> None:
        held = {"sendrecv": False, "sendonly": False, "recvonly": True, "inactive": True}
        now = leg.target.direction if leg.target else before
        if held[now] != held[before]:
            kind = CallEventKind.HELD if held[now] else CallEventKind.RESUMED
            self.record(kind, by=leg.speaker.value)

    def _accept(self, _leg: Leg, transaction_id: str, request: Request) -> None:
        self._answer(transaction_id, request, 200, extra=(("Allow", ALLOW),))


_HANDLERS: dict[str, Handler] = {
    "BYE": Call._bye,
    "INVITE": Call._offered_again,
    "UPDATE": Call._offered_again,
    "INFO": Call._accept,
    "OPTIONS": Call._accept,
}
