"""One call on the duty line, as a pure machine: a back-to-back user agent whose two sides never speak directly.

This module holds what every call shares: its phases, what happens while two people talk, and how it ends. How a call
comes to be answered is in ``inbound`` (the caller dials us) and ``outbound`` (the desk phone or the console dials).
A call is told of events by the switchboard; what it wants done outside SIP it leaves in ``actions``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from duty.domain.calls import CallEventKind, Direction, Outcome, Purpose
from duty.domain.happenings import Json
from duty.domain.transcripts import Speaker
from telephony import guard, keeping
from telephony.actions import (
    Action,
    Bridge,
    Hold,
    MediaAddresses,
    Record,
    ReleaseMedia,
    ReportForward,
    Resume,
    SetRemote,
    StopPlaying,
    TellKey,
)
from telephony.clientleg import ClientLeg
from telephony.keys import How, KeyWatch, read_info
from telephony.leg import ALLOW, EXTENSIONS, SDP_TYPE, Leg, Wire, warning
from telephony.line import LineProfile
from telephony.serverleg import ServerLeg
from telephony.sip import causes
from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
from telephony.sip.flow import Flow, Transport
from telephony.sip.inspection import inspect
from telephony.sip.message import Request, Response, make_response
from telephony.sip.multipart import session_description
from telephony.sip.sdp import AudioTarget, asks_fax
from telephony.sip.session_description import SessionDescription, parse_sdp
from telephony.sip.session_timer import refused_interval


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

_INSPECTED = frozenset({"INVITE", "UPDATE", "PRACK", "INFO", "OPTIONS"})
"""Requests that may be refused for what they require; a BYE is served whatever it says."""

Handler = Callable[["Call", Leg, str, Request], None]

PEER_VANISHED = "peer_vanished"
_HOLDING = frozenset({"recvonly", "inactive"})
"""Our direction towards a side that has put the call on hold: it does not want to hear us."""
NO_PRACK = "no_prack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """The call was given up before it was in the book: how it ends as soon as it is."""

    status: int
    outcome: Outcome
    reason: str


class Call:
    """What every call shares. ``deadline`` is the monotonic instant in s at which ``time_out`` is due, or None;
    ``transaction_id`` that of the INVITE that began the call, "" where none did."""

    direction: Direction
    purpose = Purpose.DUTY
    extensions = EXTENSIONS
    """Option tags that a Require within its dialogs may name."""
    watches_keys = True
    """Whether what the desk phone presses would reach another side."""
    takes_place = True
    """Whether it counts among the calls that the line takes at once."""

    def __init__(self, *, call_id: str, line: LineProfile, wire: Wire, transaction_id: str = "") -> None:
        self.call_id = call_id
        self.transaction_id = transaction_id
        self.line = line
        self.phase = Phase.OPENING
        self.deadline: float | None = None
        self.actions: list[Action] = []
        self.network: Leg | None = None
        self.desk: Leg | None = None
        self.answered = False
        self.abandoned: Abandoned | None = None
        self.cause = causes.UNKNOWN
        self._cancel_reason = ""
        self.is_excepted: Callable[[guard.Attempt], bool] = lambda _attempt: False
        self._faxes: list[Leg] = []
        self._let_through: set[guard.Attempt] = set()
        self._away: set[Speaker] = set()
        self._key_watch = KeyWatch(line.forwarding_codes)
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
    def server_leg(self) -> ServerLeg | None:
        """The side that dialled us; None before the call is opened and where nobody did."""
        return next((leg for leg in (self.network, self.desk) if isinstance(leg, ServerLeg)), None)

    @property
    def opening(self) -> bool:
        """True until the call is in the book and its media are open."""
        return self.phase is Phase.OPENING

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
        """Leave a refused forward for the book and the alarm, with the message that asked for it."""
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

    def mark(self, attempt: guard.Attempt) -> None:
        """Leave a forward that others made for the book: the call is taken all the same."""
        self.record(CallEventKind.FORWARD_MARKED, way=attempt.way.value, target=attempt.target)

    def forbidden(self, attempt: guard.Attempt | None) -> guard.Attempt | None:
        """The attempt, unless an approved exception lets it pass, which the book says once a call."""
        if attempt is None or not self.is_excepted(attempt):
            return attempt
        if attempt not in self._let_through:
            self._let_through.add(attempt)
            self.record(CallEventKind.FORWARD_ALLOWED, way=attempt.way.value, target=attempt.target)
        return None

    def key_told(self, speaker: Speaker, key: str, how: How, raw: bytes = b"") -> bool:
        """A key was pressed within the call, ``raw`` being the message that says so. Whether the other side may learn
        of it: the guard looks at what the desk phone presses."""
        if speaker is not Speaker.OFFICER or self.desk is None or not self.watches_keys:
            return True
        passes, attempt = self._key_watch.press(key, how, self._wire.now)
        if attempt is not None:
            source = self.desk.flow.remote[0]
            told = f"{how.value}: {attempt.target} (SIP Call-ID {self.desk.dialog.call_id if self.desk.dialog else ''})"
            self.report(attempt, source=source, raw=raw or told.encode())
        return passes

    def transports(self) -> dict[Speaker, Transport]:
        """By what each side's signalling comes."""
        return {leg.speaker: leg.flow.transport for leg in (self.network, self.desk) if leg is not None}

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
        for leg in (self.network, self.desk):
            if leg is not None:
                self._keep_company(leg)

    def finish(self, outcome: Outcome, *, reason: str) -> None:
        """The call is over: stop what still rings, write the end, let the media go. Nothing happens twice."""
        if not self.live:
            return
        self.enter(Phase.ENDED)
        self.deadline = None
        for leg in self.client_legs():
            leg.cancel(self._wire, reason=self._cancel_reason)
        self.record(CallEventKind.ENDED, outcome, reason=reason, **self.cause.data())
        self.actions.append(ReleaseMedia(call_id=self.call_id, signalling=self.transports()))

    def note_cancel(self, reasons: tuple[str, ...]) -> None:
        """The Reason fields of a CANCEL: for the book, and for the phones, which show no missed call where somebody
        else has taken it."""
        self.cause = causes.read_reasons(reasons) or causes.UNKNOWN
        self._cancel_reason = reasons[0] if reasons else ""

    def hang_up(self, *, reason: str) -> None:
        """End the call from our side, whatever its phase: the service stops."""
        if self.phase is Phase.OPENING:
            self.abandoned = self.abandoned or Abandoned(status=503, outcome=Outcome.INTERRUPTED, reason=reason)
            return
        for leg in (self.network, self.desk):
            if leg is not None:
                leg.drop(self._wire, status=503)
        self.finish(Outcome.ANSWERED if self.answered else Outcome.INTERRUPTED, reason=reason)

    def _gave_up_meanwhile(self, leg: ServerLeg, *, reason: str) -> None:
        """A CANCEL while our 200 still waits for a PRACK: both sides were there, and one has gone."""
        if leg.concluded and not leg.ended and self.live and leg.withdraw(self._wire):
            other = self.other(leg)
            if other is not None:
                other.drop(self._wire, status=480)
            self.finish(Outcome.ANSWERED, reason=reason)

    def abandon(self) -> bool:
        """Now that the call is opened: end it where it was given up before; whether it was."""
        given_up = self.abandoned
        if given_up is None:
            return False
        for leg in (self.network, self.desk):
            if leg is not None:
                leg.drop(self._wire, status=given_up.status)
        self.finish(given_up.outcome, reason=given_up.reason)
        return True

    def acknowledged(self, leg: Leg, request: Request) -> None:
        """The ACK to a 200 of ours, or the PRACK to a reliable response. It carries the peer's answer where the offer
        was ours."""
        if leg.ended or not leg.awaits_answer:
            return
        leg.awaits_answer = False
        before = leg.target
        if before is not None and not request.body:
            return
        try:
            leg.accept(request)
        except RemoteProtocolError as error:
            if before is None:
                self._break_off(leg, reason=f"bad_answer: {error.reason}", status=488)
            return
        if self._refused_media(leg, before, request):
            if before is None:
                self._break_off(leg, reason="forward_media_move", status=488)
            return
        self._heard_anew(leg, before)

    def acknowledgement_missing(self, leg: Leg) -> None:
        """Nobody acknowledged our 200: the peer is gone (RFC 3261 13.3.1.4)."""
        if leg in (self.network, self.desk):
            self._break_off(leg, reason="no_ack")

    # Whether the other ends are there

    @property
    def due(self) -> float | None:
        """The next instant (monotonic s) at which ``wake`` has something to do."""
        legs = self._kept_legs()
        moments = [self.deadline, *(leg.session.due for leg in legs if leg.session is not None)]
        moments += [leg.due for leg in legs if isinstance(leg, ServerLeg)]
        return min((moment for moment in moments if moment is not None), default=None)

    def wake(self, now: float) -> None:
        """Do what is due: the deadline, then what waits for a PRACK, then the sessions."""
        if self.deadline is not None and self.deadline <= now:
            self.deadline = None
            self.time_out(now)
        for leg in self._kept_legs():
            if isinstance(leg, ServerLeg) and not leg.repeat(self._wire):
                self.unheard(leg)
        for leg in self._kept_legs():
            if not keeping.keep(leg, self._wire):
                self._break_off(leg, reason=PEER_VANISHED)

    def unheard(self, leg: ServerLeg) -> None:
        """Nobody acknowledged a reliable provisional response (RFC 3262 section 3): the peer is gone."""
        self._break_off(leg, reason=NO_PRACK, status=504)

    def inquiry_answered(self, leg: Leg, response: Response) -> None:
        """A response to what we asked within a dialog to see whether the peer is there."""
        offered = leg.inquiry is not None and leg.inquiry.method == "INVITE"
        if not keeping.answered(leg, self._wire, response):
            self._break_off(leg, reason=PEER_VANISHED)
        elif self.live and not leg.ended and offered and 200 <= response.status < 300 and response.body:
            self._described_again(leg, response)

    def inquiry_failed(self, leg: Leg) -> None:
        """Nothing came back."""
        leg.inquiry = None
        if self.live and leg in (self.network, self.desk) and not leg.ended:
            self._break_off(leg, reason=PEER_VANISHED)

    def _described_again(self, leg: Leg, response: Response) -> None:
        before = leg.target
        try:
            leg.accept(response)
        except RemoteProtocolError:
            return
        if not self._refused_media(leg, before, response):
            self._heard_anew(leg, before)

    def _kept_legs(self) -> list[Leg]:
        return [leg for leg in (self.network, self.desk) if leg is not None and not leg.ended] if self.live else []

    def _break_off(self, leg: Leg, *, reason: str, status: int = 480) -> None:
        cause = causes.VANISHED if reason == PEER_VANISHED else causes.NORMAL
        leg.drop(self._wire, status=status, reason=cause)
        other = self.other(leg)
        if other is not None:
            other.drop(self._wire, status=480)
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
        if leg.ended and request.method != "BYE":
            self._answer(transaction_id, request, 481)
            return
        attempt = guard.examine_request(request)
        if attempt is not None:
            self.report(attempt, source=flow.remote[0], raw=request.serialize())
            self._answer(transaction_id, request, attempt.status or 603)
            return
        if request.method in _INSPECTED and (
            refusal := inspect(request, methods=_INSPECTED, extensions=self.extensions)
        ):
            self._answer(transaction_id, request, refusal.status, extra=refusal.headers)
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
        if isinstance(leg, ServerLeg):
            leg.refuse(self._wire, 487)  # BYE in place of CANCEL: the INVITE still wants its answer (RFC 3261 15.1.2)
        if leg not in (self.network, self.desk):
            return  # a phone that rang along, or answered too late: the call is not its to end
        leg.ended = True
        self.cause = causes.read_reasons(request.headers.get_all("Reason")) or causes.UNKNOWN
        other = self.other(leg)
        if other is not None:
            other.drop(self._wire, status=480)
        who = "caller_hung_up" if leg is self.network else "officer_hung_up"
        self.finish(Outcome.ANSWERED if self.answered else Outcome.CANCELLED, reason=who)

    def _offered_again(self, leg: Leg, transaction_id: str, request: Request) -> None:
        """A re-INVITE, UPDATE or PRACK: a new place for the same side's audio, or hold. The other side need not
        know."""
        offers, invites = bool(request.body), request.method == "INVITE"
        if (invites and leg.is_asked) or (offers and leg.owes_answer):  # RFC 3261 14.2, RFC 3311 5.2
            self._answer(transaction_id, request, 500, extra=(("Retry-After", str(int(keeping.chance(leg) * 11))),))
            return
        if (invites and leg.asks) or (offers and not invites and leg.is_owed_answer):  # two offers cross: ours counts
            self._answer(transaction_id, request, 491)
            return
        if too_small := refused_interval(request):
            self._answer(transaction_id, request, 422, extra=too_small)
            return
        if not request.body:
            leg.awaits_answer = leg.awaits_answer or invites
            body = leg.offer_body() if invites else b""
            self._agree(leg, transaction_id, request, body)
            return
        before = leg.target
        try:
            offer = parse_sdp(session_description(request))
            self.note_fax(leg, offer)
            body = leg.answer_body(offer)
        except RemoteProtocolError as error:
            told = warning(error.status, error.reason)
            self._answer(transaction_id, request, error.status, error.reason, extra=told)
            return
        if self._refused_media(leg, before, request):
            self._answer(transaction_id, request, 488)
            return
        leg.awaits_answer = leg.awaits_answer and not invites
        self._heard_anew(leg, before)
        self._agree(leg, transaction_id, request, body)

    def note_fax(self, leg: Leg, offer: SessionDescription | None) -> None:
        """A wish for T.38 tells a fax, and is not granted: over the audio both machines go on, and the recording has
        what they sent (requirement 5-a)."""
        if offer is not None and asks_fax(offer) and leg not in self._faxes:
            self._faxes.append(leg)
            self.record(CallEventKind.FAX_DETECTED, by=leg.speaker.value, how="t38")

    def _agree(self, leg: Leg, transaction_id: str, request: Request, body: bytes) -> None:
        """200, by which the session is refreshed."""
        timer = leg.session.answer(request, self._wire.now) if leg.session is not None else ()
        self._answer(transaction_id, request, 200, extra=(("Contact", leg.contact), *timer), body=body)

    def _refused_media(self, leg: Leg, before: AudioTarget | None, request: Request | Response) -> bool:
        """Whether the guard refuses the place for its audio that ``leg`` has just named; then the old one stands."""
        moved = self.moved(leg)
        if moved is None:
            return False
        leg.target = before
        self.report(moved, source=leg.flow.remote[0], raw=request.serialize())
        return True

    def moved(self, leg: Leg) -> guard.Attempt | None:
        """The guard's word on where a desk phone now wants its audio; the network's side may move."""
        if leg.speaker is not Speaker.OFFICER or leg.target is None:
            return None
        return self.forbidden(guard.examine_media(leg.target.host, leg.hosts))

    def _heard_anew(self, leg: Leg, before: AudioTarget | None) -> None:
        if leg not in (self.network, self.desk):
            return  # a phone that rings along: it is heard when it answers
        self.hear(leg)
        self._note_hold(leg, before.direction if before else "sendrecv")

    def _note_hold(self, leg: Leg, before: str) -> None:
        now = leg.target.direction if leg.target else before
        if (now in _HOLDING) != (before in _HOLDING):
            kind = CallEventKind.HELD if now in _HOLDING else CallEventKind.RESUMED
            self.record(kind, by=leg.speaker.value)
        self._keep_company(leg)

    def _keep_company(self, leg: Leg) -> None:
        """Whoever is left alone by ``leg``, which holds, hears music or silence, and no longer what goes on there. What
        the network sends while it holds us is its own music or announcement, which the officer is to hear."""
        target = leg.target
        if target is None or self.phase is not Phase.TALKING:
            return
        sends = leg.speaker is Speaker.CALLER and target.direction == "recvonly" and not target.nowhere
        away = target.direction in _HOLDING and not sends
        if away and leg.speaker not in self._away:
            self._away.add(leg.speaker)
            self.actions.append(Hold(call_id=self.call_id, speaker=leg.speaker, music=self.line.hold == "music"))
        elif not away and leg.speaker in self._away:
            self._away.discard(leg.speaker)
            self.actions.append(Resume(call_id=self.call_id, speaker=leg.speaker))

    def _acknowledged_early(self, leg: Leg, transaction_id: str, request: Request) -> None:
        """PRACK (RFC 3262): the answer to an offer of ours, perhaps an offer, or neither."""
        if not isinstance(leg, ServerLeg) or not leg.sending.acknowledge(request):
            self._answer(transaction_id, request, 481)
            return
        if leg.awaits_answer:
            self._answer(transaction_id, request, 200)
            self.acknowledged(leg, request)
            self.heard_early(leg)
        elif request.body:
            self._offered_again(leg, transaction_id, request)
        else:
            self._answer(transaction_id, request, 200)
        if self.live:
            leg.go_on(self._wire)

    def heard_early(self, leg: ServerLeg) -> None:
        """The peer, which had made no offer, has now said where it listens, before it is answered."""

    def _informed(self, leg: Leg, transaction_id: str, request: Request) -> None:
        """INFO: a key, or something that is nobody's business here."""
        found = read_info(request)
        if found is None or leg not in (self.network, self.desk):
            self._accept(leg, transaction_id, request)
            return
        passes = self.key_told(leg.speaker, found.key, How.INFO, request.serialize())
        self.actions.append(
            TellKey(
                call_id=self.call_id,
                speaker=leg.speaker,
                key=found.key,
                duration_ms=found.duration_ms,
                passes=passes,
            )
        )
        self._answer(transaction_id, request, 200 if passes else 403)

    def _accept(self, _leg: Leg, transaction_id: str, request: Request) -> None:
        self._answer(transaction_id, request, 200, extra=(("Allow", ALLOW),))


_HANDLERS: dict[str, Handler] = {
    "BYE": Call._bye,
    "INVITE": Call._offered_again,
    "UPDATE": Call._offered_again,
    "PRACK": Call._acknowledged_early,
    "INFO": Call._informed,
    "OPTIONS": Call._accept,
}
