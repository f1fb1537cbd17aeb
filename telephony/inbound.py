"""An arriving call: it rings every registered desk phone at once, the first answer wins, and nobody is sent elsewhere.

Where no officer answers, the caller hears an announcement as early media and the call stands in the book as missed
(requirement 6.1-a, 6.1-e).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from duty.domain.calls import CallEventKind, Direction, Outcome
from duty.domain.transcripts import Speaker
from telephony import guard
from telephony.actions import Announce, MediaAddresses, Record
from telephony.arrival import Arrival, hops_left
from telephony.call import NO_PRACK, Abandoned, Call, Phase
from telephony.clientleg import ClientLeg
from telephony.leg import Wire
from telephony.line import LineProfile, PhoneTarget
from telephony.serverleg import ServerLeg
from telephony.sip.causes import ELSEWHERE, NORMAL
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.headers import NameAddr
from telephony.sip.message import Response
from telephony.sip.uri import SipUri

Admission = Literal["ring", "queue", "busy"]

ANNOUNCEMENT_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an unanswered call ends: towards the caller, in the book, and what the caller hears before."""

    status: int
    outcome: Outcome
    prompt: str | None


NO_ANSWER = Ending(status=480, outcome=Outcome.MISSED, prompt="no_answer")
UNREACHABLE = Ending(status=480, outcome=Outcome.UNREACHABLE, prompt="no_answer")
BUSY = Ending(status=486, outcome=Outcome.BUSY, prompt=None)
REJECTED = Ending(status=603, outcome=Outcome.REJECTED, prompt=None)
REDIRECTED = Ending(status=480, outcome=Outcome.REJECTED, prompt="no_answer")

_BUSY = frozenset({486, 600})
_GONE = frozenset({404, 408, 410, 430, 480, 500, 502, 503, 504})


class InboundCall(Call):
    """A caller dials the line."""

    direction = Direction.INBOUND

    def __init__(
        self,
        *,
        call_id: str,
        line: LineProfile,
        wire: Wire,
        arrival: Arrival,
        caller: NameAddr,
    ) -> None:
        super().__init__(call_id=call_id, line=line, wire=wire, transaction_id=arrival.transaction_id)
        self.invite, self._arrival, self._caller = arrival.request, arrival, caller
        self._phones: Sequence[PhoneTarget] = ()
        self._desks: list[ClientLeg] = []
        self._statuses: list[int] = []
        self._ending = NO_ANSWER
        self._announcement: Record | None = None
        self._rang = False

    @property
    def caller_leg(self) -> ServerLeg:
        """The caller's side, once opened."""
        assert isinstance(self.network, ServerLeg)  # noqa: S101 - set by opened() before any other event
        return self.network

    def client_legs(self) -> list[ClientLeg]:
        """The desk phones being rung or talking."""
        return self._desks

    def opened(self, addresses: MediaAddresses, now: float) -> None:  # noqa: ARG002
        """Answer 100 and understand the offer; ``admit`` follows."""
        self._addresses = addresses
        self.network = ServerLeg(
            speaker=Speaker.CALLER,
            transaction_id=self.transaction_id,
            request=self.invite,
            flow=self._arrival.flow,
            contact=self._arrival.contact,
            local=addresses.caller,
            tag=self._wire.token(),
            policy=self.line.trunk_media,
        )
        if self.abandon():
            return
        self.caller_leg.trying(self._wire)
        for mark in guard.examine_arrival(self.invite):
            self.mark(mark)
        if self._takes_over():
            return
        try:
            self.caller_leg.read_offer()
        except RemoteProtocolError as error:
            self.note_fax(self.caller_leg, self.caller_leg.offer)
            self.caller_leg.refuse(self._wire, error.status, error.reason)
            self.finish(Outcome.FAILED, reason=f"offer_refused: {error.reason}")
            return
        self.hear(self.caller_leg)

    def _takes_over(self) -> bool:
        """Whether the INVITE wants to replace another call, which is refused (RFC 3891)."""
        attempt = guard.examine_request(self.invite)
        if attempt is None:
            return False
        self.report(attempt, source=self._arrival.host, raw=self.invite.serialize())
        self.caller_leg.refuse(self._wire, attempt.status or 403)
        self.finish(Outcome.REFUSED, reason=f"forward_{attempt.way}")
        return True

    def admit(self, admission: Admission, phones: Sequence[PhoneTarget], now: float) -> None:
        """The line has room, or makes the caller wait, or is full."""
        self._phones = phones
        self.deadline = now + self.line.ring_seconds
        if admission == "busy":
            self._conclude(BUSY, reason="line_full", now=now)
        elif admission == "queue":
            self.enter(Phase.QUEUED)
            self.record(CallEventKind.QUEUED)
            self.caller_leg.progress(self._wire, 182)
        else:
            self._ring(now)

    def line_free(self, phones: Sequence[PhoneTarget], now: float) -> None:
        """A waiting caller's turn has come."""
        self._phones = phones
        self.deadline = now + self.line.ring_seconds
        self._ring(now)

    def _ring(self, now: float) -> None:
        if not self._phones:
            self._conclude(UNREACHABLE, reason="no_phone_registered", now=now)
            return
        self.enter(Phase.RINGING)
        codecs = self.caller_leg.codecs
        for phone in self._phones:
            leg = ClientLeg(
                name=phone.extension,
                speaker=Speaker.OFFICER,
                uri=phone.uri,
                from_=self._caller,
                to=NameAddr(uri=SipUri(user=self.line.number, host=phone.flow.local[0])),
                flow=phone.flow,
                contact=self._arrival.contact,
                local=self.addresses.officer,
                tag=self._wire.token(),
                hosts=phone.hosts,
                hops=max(1, hops_left(self.invite)),
                policy=self.line.phones_media,
            )
            self._desks.append(leg)
            self.record(CallEventKind.LEG_STARTED, extension=phone.extension)
        for leg in self._desks:
            if not leg.start(self._wire, codecs):
                self._not_offered(leg, now)

    def _not_offered(self, leg: ClientLeg, now: float) -> None:
        """A phone that may be offered nothing, as its audio must be encrypted and its keys would go in clear."""
        leg.status, leg.ended = 503, True
        self._declined(leg, 503, now)

    def leg_responded(self, leg: ClientLeg, response: Response, flow: Flow, now: float) -> None:
        """A desk phone rings, answers, or declines."""
        leg.receive(response, flow)
        forward = guard.examine_response(response, from_phone=True)
        if forward is not None and not (forward.way is guard.Way.FORWARDED_181 and leg.cancelled):
            self.report(forward, source=flow.remote[0], raw=response.serialize())
        if response.status == 181:
            leg.cancel(self._wire)
        elif response.status < 200:
            self._progressed(leg, response.status)
        elif response.status < 300:
            self._answered(leg, response, now)
        else:
            self._declined(leg, response.status, now)

    def _progressed(self, leg: ClientLeg, status: int) -> None:
        if status > 100 and not self._rang and self.phase is Phase.RINGING:
            self._rang = True
            self.record(CallEventKind.RINGING, extension=leg.name)
            self.caller_leg.progress(self._wire, 180)

    def _answered(self, leg: ClientLeg, response: Response, now: float) -> None:
        leg.acknowledge(self._wire)
        if self.phase is not Phase.RINGING:
            leg.bye(self._wire, reason=ELSEWHERE if self.answered else NORMAL)
            return
        try:
            leg.take_answer(response)
        except RemoteProtocolError:
            self._unusable(leg, 488, now)
            return
        moved = self.moved(leg)
        if moved is not None:
            self.report(moved, source=leg.flow.remote[0], raw=response.serialize())
            self._unusable(leg, 488, now)
            return
        self.desk = leg
        for other in self._desks:
            if other is not leg:
                other.cancel(self._wire, reason=ELSEWHERE)
        self.hear(leg)
        if self.caller_leg.follow(leg):
            self.hear(self.caller_leg)
        self.caller_leg.answer(self._wire)
        self.talk(extension=leg.name)

    def _unusable(self, leg: ClientLeg, status: int, now: float) -> None:
        leg.bye(self._wire)
        self._declined(leg, status, now)

    def leg_failed(self, leg: ClientLeg, now: float) -> None:
        """A desk phone did not answer at all."""
        leg.status, leg.ended = 408, True
        self._declined(leg, 408, now)

    def _declined(self, leg: ClientLeg, status: int, now: float) -> None:
        if self.phase is not Phase.RINGING:
            return
        self.record(CallEventKind.LEG_FAILED, None, extension=leg.name, status=status, **leg.cause(status).data())
        self._statuses.append(status)
        if len(self._statuses) == len(self._desks):
            self._conclude(_ending(self._statuses), reason=f"phone_{self._statuses[-1]}", now=now)

    def _conclude(self, ending: Ending, *, reason: str, now: float) -> None:
        """Nobody will answer: announcement first where one is due, else the final status at once."""
        self._ending = ending
        for leg in self._desks:
            leg.cancel(self._wire)
        if ending.prompt is None or self.line.no_answer == "hangup" or not self.caller_leg.hears_early(self._wire):
            self._end_unanswered(reason)
            return
        self.enter(Phase.ANNOUNCING)
        self.deadline = now + ANNOUNCEMENT_LIMIT_S
        self.caller_leg.progress(self._wire, 183, early_media=True)
        self._announcement = Record(
            call_id=self.call_id,
            kind=CallEventKind.ANNOUNCEMENT,
            data={"prompt": self.line.announcement or ending.prompt, "reason": reason},
        )
        if not self.caller_leg.waits_for_answer:
            self._announce(self._announcement)

    def _announce(self, announcement: Record) -> None:
        self.actions += [announcement, Announce(call_id=self.call_id, prompt=str(announcement.data["prompt"]))]

    def heard_early(self, leg: ServerLeg) -> None:
        """A caller without an offer of its own has said where it listens: now it can be told."""
        if self.phase is Phase.ANNOUNCING and self._announcement is not None and leg.target is not None:
            self._announce(self._announcement)

    def unheard(self, leg: ServerLeg) -> None:
        """The caller is gone; a call that nobody had answered stays what it was."""
        if self.phase is Phase.ANNOUNCING:
            leg.refuse(self._wire, 504)
            self.finish(self._ending.outcome, reason=NO_PRACK)
        else:
            super().unheard(leg)

    def announcement_ended(self) -> None:
        """The caller has heard it all."""
        if self.phase is Phase.ANNOUNCING:
            self._end_unanswered("announcement_played")

    def _end_unanswered(self, reason: str) -> None:
        self.caller_leg.refuse(self._wire, self._ending.status)
        self.finish(self._ending.outcome, reason=reason)

    def cancelled(self, now: float) -> None:  # noqa: ARG002
        """The caller gives up. During the announcement the call stays missed: nobody had answered."""
        if self.phase is Phase.OPENING:
            self.abandoned = Abandoned(status=487, outcome=Outcome.CANCELLED, reason="caller_cancelled")
            return
        if self.caller_leg.concluded:
            self._gave_up_meanwhile(self.caller_leg, reason="caller_hung_up")
            return
        self.caller_leg.refuse(self._wire, 487)
        outcome = self._ending.outcome if self.phase is Phase.ANNOUNCING else Outcome.CANCELLED
        self.finish(outcome, reason="caller_cancelled")

    def time_out(self, now: float) -> None:
        """Nobody answered in time; or the announcement never ended."""
        if self.phase is Phase.QUEUED:
            self._conclude(BUSY, reason="queue_timeout", now=now)
        elif self.phase is Phase.RINGING:
            self._conclude(NO_ANSWER, reason="no_answer", now=now)
        elif self.phase is Phase.ANNOUNCING:
            self.announcement_ended()


def _ending(statuses: Sequence[int]) -> Ending:
    """What the phones' final answers together mean; a person's word weighs more than a machine's."""
    if any(300 <= status < 400 for status in statuses):
        return REDIRECTED
    if any(status in _BUSY for status in statuses):
        return BUSY
    if all(status in _GONE for status in statuses):
        return UNREACHABLE
    return REJECTED
