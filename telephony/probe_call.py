"""The probe's call as it arrives on the duty line: no phone rings, this process answers and speaks the one-time token.

It takes no place on the line: a caller who comes meanwhile is rung through as if it were not there.
"""

from __future__ import annotations

from dataclasses import dataclass

from duty.domain.calls import CallEventKind, Direction, Outcome, Purpose
from duty.domain.numbers import NumberPlan, normalise, same_subscriber
from duty.domain.transcripts import Speaker
from telephony import guard
from telephony.actions import MediaAddresses, ProbeEnded, SpeakToken
from telephony.arrival import Arrival
from telephony.call import Abandoned, Call, Phase
from telephony.clientleg import ClientLeg
from telephony.leg import Leg, Wire
from telephony.line import LineProfile
from telephony.probe_evidence import Manner, OurSide
from telephony.serverleg import ServerLeg
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.message import Request, Response

SPEAKING_LIMIT_S = 30.0
"""After our answer: a probe that has not hung up by then will not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedProbe:
    """A probe that will call ``line_number`` until ``until`` (monotonic s). ``caller`` is the number it shows, in any
    way of writing under ``plan``; for a probe that dials us ``directly`` it is a one-time name nobody can guess.
    ``ring_s`` is how long it rings in that manner."""

    check_id: int
    line_number: str
    caller: str
    directly: bool
    token: str
    manner: Manner
    until: float
    ring_s: float
    plan: NumberPlan

    def matches(self, line_number: str, caller: str, now: float) -> bool:
        """Whether a call of ``caller`` to the line is the probe's."""
        if line_number != self.line_number or now > self.until:
            return False
        if self.directly:
            return caller == self.caller
        return same_subscriber(normalise(caller, self.plan), normalise(self.caller, self.plan))


class ProbeCall(Call):
    """The probe has reached us."""

    direction = Direction.INBOUND
    purpose = Purpose.LINE_CHECK
    takes_place = False

    def __init__(
        self,
        *,
        call_id: str,
        line: LineProfile,
        wire: Wire,
        arrival: Arrival,
        expected: ExpectedProbe,
    ) -> None:
        super().__init__(call_id=call_id, line=line, wire=wire, transaction_id=arrival.transaction_id)
        self.invite, self._arrival, self.expected = arrival.request, arrival, expected
        self._acknowledged = False

    @property
    def caller_leg(self) -> ServerLeg:
        """The probe's side, once opened."""
        assert isinstance(self.network, ServerLeg)  # noqa: S101 - set by opened() before any other event
        return self.network

    def client_legs(self) -> list[ClientLeg]:
        """None: no phone is rung."""
        return []

    def opened(self, addresses: MediaAddresses, now: float) -> None:
        """Take the call in the manner that was agreed upon."""
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
        try:
            self.caller_leg.read_offer()
        except RemoteProtocolError as error:
            self._refuse(error.status, Outcome.FAILED, f"offer_refused: {error.reason}")
            return
        if self.expected.manner is Manner.BUSY:
            self._refuse(486, Outcome.BUSY, "probe_busy")
            return
        self.hear(self.caller_leg)
        self.enter(Phase.RINGING)
        self.record(CallEventKind.RINGING)
        self.caller_leg.progress(self._wire, 180)
        self.deadline = now + self.expected.ring_s
        if self.expected.manner is Manner.ANSWER:
            self.time_out(now)

    def time_out(self, now: float) -> None:
        """It has rung long enough: answer. Or the probe never hung up: we do."""
        if self.phase is Phase.RINGING:
            self.caller_leg.answer(self._wire)
            self.enter(Phase.TALKING)
            self.answered = True
            self.deadline = now + SPEAKING_LIMIT_S
            self.record(CallEventKind.ANSWERED, extension="")
            if not self.caller_leg.waits_for_answer:
                self._speak()
        elif self.phase is Phase.TALKING:
            self.caller_leg.bye(self._wire)
            self.finish(Outcome.ANSWERED, reason="probe_silent")

    def acknowledged(self, leg: Leg, request: Request) -> None:
        """The probe has our answer; where the offer was ours, it says only now where it listens."""
        late = self.caller_leg.waits_for_answer and not self._acknowledged
        super().acknowledged(leg, request)
        self._acknowledged = True
        if late and self.phase is Phase.TALKING:
            self._speak()

    def _speak(self) -> None:
        self.actions.append(SpeakToken(call_id=self.call_id, digits=self.expected.token))

    def cancelled(self, now: float) -> None:  # noqa: ARG002
        """The network takes the call away: somebody else has it, or the probe gave up."""
        if self.phase is Phase.OPENING:
            self.abandoned = Abandoned(status=487, outcome=Outcome.CANCELLED, reason="caller_cancelled")
        elif not self.caller_leg.concluded:
            self._refuse(487, Outcome.CANCELLED, "caller_cancelled")

    def _refuse(self, status: int, outcome: Outcome, reason: str) -> None:
        self.caller_leg.refuse(self._wire, status)
        self.finish(outcome, reason=reason)

    def finish(self, outcome: Outcome, *, reason: str) -> None:
        """The call is over: tell what we saw of it."""
        if self.live:
            super().finish(outcome, reason=reason)
            answered = self.answered and self._acknowledged
            ours = OurSide(arrived=True, answered=answered, call_id=self.call_id, reason=reason)
            self.actions.append(ProbeEnded(check_id=self.expected.check_id, ours=ours))

    def leg_responded(self, leg: ClientLeg, response: Response, flow: Flow, now: float) -> None:
        """Nobody was called."""

    def leg_failed(self, leg: ClientLeg, now: float) -> None:
        """Nobody was called."""
