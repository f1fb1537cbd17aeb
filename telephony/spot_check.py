"""查岗: the desk phones ring, whoever answers is asked for a PIN, and the time of the answer is kept (6.6-b).

A fault of the line is never the officer's: that a phone is not registered, does not react or is on the telephone is
told apart from nobody answering while it verifiably rang. A caller who arrives meanwhile ends the check at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from duty.domain.calls import CallEventKind, Direction, Outcome, Purpose
from duty.domain.happenings import Json
from duty.domain.linechecks import MAX_PIN_DIGITS, Finding, Verdict
from duty.domain.transcripts import Speaker
from telephony import guard
from telephony.actions import Announce, CheckPin, MediaAddresses, SpotCheckEnded, StopPlaying
from telephony.call import Call, Phase
from telephony.clientleg import ClientLeg
from telephony.leg import Wire
from telephony.line import LineProfile, PhoneTarget
from telephony.prompts import PIN_AGAIN, PIN_ASKED, PIN_RIGHT, PIN_WRONG
from telephony.sip.causes import ELSEWHERE
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.headers import NameAddr
from telephony.sip.message import Response
from telephony.sip.uri import SipUri

DISPLAY = "查岗"
TRIES = 2
PIN_LIMIT_S = 20.0
"""For each try, from the end of the prompt."""
PROMPT_LIMIT_S = 30.0
_BUSY = frozenset({486, 600})
_GONE = frozenset({404, 408, 410, 430, 480, 500, 502, 503, 504})


class _Step(StrEnum):
    """What happens once the phone is answered."""

    ASKING = "asking"
    LISTENING = "listening"
    VERIFYING = "verifying"
    PARTING = "parting"


class SpotCheckCall(Call):
    """We call the desk. The PIN leaves this object once, in ``CheckPin``, and is kept nowhere."""

    direction = Direction.OUTBOUND
    purpose = Purpose.SPOT_CHECK

    watches_keys = False

    def __init__(
        self,
        *,
        call_id: str,
        line: LineProfile,
        wire: Wire,
        check_id: int,
        contact: str,
        phones: Sequence[PhoneTarget],
        ring_s: float,
    ) -> None:
        super().__init__(call_id=call_id, line=line, wire=wire)
        self.check_id = check_id
        self._contact, self._phones, self._ring_s = contact, phones, ring_s
        self._desks: list[ClientLeg] = []
        self._statuses: list[str] = []
        self._step = _Step.ASKING
        self._keys: list[str] = []
        self._tries = 0
        self._officer_id: int | None = None
        self._began: float | None = None
        self._rang: float | None = None
        self._answered_at: float | None = None
        self._verdict, self._reason = Verdict.FAULT, "not_dialled"

    def client_legs(self) -> list[ClientLeg]:
        """The desk phones being rung or talking."""
        return self._desks

    def opened(self, addresses: MediaAddresses, now: float) -> None:
        """Ring every phone of the desk."""
        self._addresses, self._began = addresses, now
        if self.abandon():
            return
        if not self._phones:
            self._end(Verdict.UNREACHABLE, "no_phone_registered", Outcome.UNREACHABLE, now)
            return
        self.enter(Phase.RINGING)
        self.deadline = now + self._ring_s
        for phone in self._phones:
            host = phone.flow.local[0]
            leg = ClientLeg(
                name=phone.extension,
                speaker=Speaker.OFFICER,
                uri=phone.uri,
                from_=NameAddr(display=DISPLAY, uri=SipUri(user=self.line.number, host=host)),
                to=NameAddr(uri=SipUri(user=phone.extension, host=host)),
                flow=phone.flow,
                contact=self._contact,
                local=addresses.officer,
                tag=self._wire.token(),
                hosts=phone.hosts,
                policy=self.line.phones_media,
            )
            self._desks.append(leg)
            self.record(CallEventKind.LEG_STARTED, extension=phone.extension)
        for leg in self._desks:
            if not leg.start(self._wire):
                leg.status, leg.ended = 503, True
                self._declined(leg, 503, now)

    # The phones

    def leg_responded(self, leg: ClientLeg, response: Response, flow: Flow, now: float) -> None:
        """A desk phone rings, answers, declines, or would send the call elsewhere."""
        leg.receive(response, flow)
        forward = guard.examine_response(response, from_phone=True)
        if forward is not None and not (forward.way is guard.Way.FORWARDED_181 and leg.cancelled):
            self.report(forward, source=flow.remote[0], raw=response.serialize())
        if response.status == 181:
            leg.cancel(self._wire)
        elif 100 < response.status < 200 and self.phase is Phase.RINGING and self._rang is None:
            self._rang = now
            self.record(CallEventKind.RINGING, extension=leg.name)
        elif 200 <= response.status < 300:
            self._picked_up(leg, response, now)
        elif response.status >= 300:
            self._declined(leg, response.status, now)

    def leg_failed(self, leg: ClientLeg, now: float) -> None:
        """A desk phone did not react at all."""
        leg.status, leg.ended = 408, True
        self._declined(leg, 408, now)

    def _picked_up(self, leg: ClientLeg, response: Response, now: float) -> None:
        leg.acknowledge(self._wire)
        if self.phase is not Phase.RINGING:
            leg.bye(self._wire)
            return
        try:
            leg.take_answer(response)
        except RemoteProtocolError as error:
            leg.bye(self._wire)
            self._declined(leg, error.status, now)
            return
        moved = self.moved(leg)
        if moved is not None:
            self.report(moved, source=leg.flow.remote[0], raw=response.serialize())
            leg.bye(self._wire)
            self._end(Verdict.FORWARDED, "media_move", Outcome.REFUSED, now)
            return
        self.desk, self._answered_at = leg, now
        for other in self._desks:
            if other is not leg:
                other.cancel(self._wire, reason=ELSEWHERE)
        self.hear(leg)
        self.enter(Phase.TALKING)
        self.answered = True
        self.record(CallEventKind.ANSWERED, extension=leg.name)
        self._ask(PIN_ASKED, now)

    def _declined(self, leg: ClientLeg, status: int, now: float) -> None:
        self._statuses.append(f"{leg.name}:{status}")
        if self.phase is not Phase.RINGING:
            return
        self.record(CallEventKind.LEG_FAILED, None, extension=leg.name, status=status, **leg.cause(status).data())
        if not all(each.settled for each in self._desks):
            return
        found = [each.status or 0 for each in self._desks]
        if any(300 <= each < 400 for each in found):
            self._end(Verdict.FORWARDED, f"phone_{status}", Outcome.REJECTED, now)
        elif any(each in _BUSY for each in found):
            self._end(Verdict.BUSY, f"phone_{status}", Outcome.BUSY, now)
        elif all(each in _GONE for each in found):
            self._end(Verdict.UNREACHABLE, f"phone_{status}", Outcome.UNREACHABLE, now)
        else:
            self._end(Verdict.NO_ANSWER, f"phone_{status}", Outcome.REJECTED, now)

    # The officer

    def _ask(self, prompt: str, now: float) -> None:
        self._step, self._keys = _Step.ASKING, []
        self.deadline = now + PROMPT_LIMIT_S
        self.actions.append(Announce(call_id=self.call_id, prompt=prompt, speaker=Speaker.OFFICER))

    def announcement_ended(self, now: float) -> None:
        """The prompt was heard to its end: the time for the PIN runs, or the call is done."""
        if self.phase is not Phase.TALKING:
            return
        if self._step is _Step.ASKING:
            self._step, self.deadline = _Step.LISTENING, now + PIN_LIMIT_S
        elif self._step is _Step.PARTING:
            self._part(now)

    def pressed(self, key: str, now: float) -> None:
        """The officer pressed a key; one may press before the prompt has ended."""
        if self.phase is not Phase.TALKING or self._step not in (_Step.ASKING, _Step.LISTENING):
            return
        if self._step is _Step.ASKING:
            self.actions.append(StopPlaying(call_id=self.call_id))
        self._step, self.deadline = _Step.LISTENING, now + PIN_LIMIT_S
        if key == "*":
            self._keys.clear()
        elif key == "#":
            self._verify(now)
        elif key.isdigit() and len(self._keys) <= MAX_PIN_DIGITS:
            self._keys.append(key)

    def _verify(self, now: float) -> None:
        pin, self._keys = "".join(self._keys), []
        if not pin:
            return
        self._tries += 1
        self._step, self.deadline = _Step.VERIFYING, now + PROMPT_LIMIT_S
        self.actions.append(CheckPin(call_id=self.call_id, line_number=self.line.number, pin=pin))

    def pin_checked(self, officer_id: int | None, now: float, *, fault: bool = False) -> None:
        """Whose PIN it was; None for nobody's. ``fault``: it could not be looked up, which is not the officer's."""
        if self.phase is not Phase.TALKING or self._step is not _Step.VERIFYING:
            return
        if fault:
            self._hang_up(Verdict.FAULT, "pin_not_checked", now)
        elif officer_id is not None:
            self._officer_id = officer_id
            self._judge(Verdict.PASSED, "pin_right", now, PIN_RIGHT)
        elif self._tries < TRIES:
            self._ask(PIN_AGAIN, now)
        else:
            self._judge(Verdict.WRONG_PIN, "pin_wrong", now, PIN_WRONG)

    def _judge(self, verdict: Verdict, reason: str, now: float, prompt: str) -> None:
        self._verdict, self._reason = verdict, reason
        self._step, self.deadline = _Step.PARTING, now + PROMPT_LIMIT_S
        self.actions.append(Announce(call_id=self.call_id, prompt=prompt, speaker=Speaker.OFFICER))

    # The end

    def time_out(self, now: float) -> None:
        """Nobody answered in time, or nothing more was pressed."""
        if self.phase is Phase.RINGING:
            rang = self._rang is not None
            verdict = Verdict.NO_ANSWER if rang else Verdict.UNREACHABLE
            self._end(verdict, "no_answer" if rang else "phone_silent", Outcome.MISSED, now)
        elif self._step is _Step.PARTING:
            self._part(now)
        elif self._step is _Step.VERIFYING:
            self._hang_up(Verdict.FAULT, "pin_not_checked", now)
        elif self._keys:
            self._verify(now)
        else:
            self._hang_up(*self._unproven, now)

    def _part(self, now: float) -> None:
        self._hang_up(self._verdict, self._reason, now)

    @property
    def _unproven(self) -> tuple[Verdict, str]:
        return (Verdict.WRONG_PIN, "pin_wrong") if self._tries else (Verdict.NO_PIN, "pin_missing")

    def give_way(self, now: float) -> None:
        """A caller arrives: duty goes before its check, and nobody is judged."""
        if self.phase is Phase.RINGING:
            self._end(Verdict.NOT_RUN, "duty_call", Outcome.CANCELLED, now)
        elif self.phase is Phase.TALKING and self._verdict is not Verdict.PASSED:
            self._hang_up(Verdict.NOT_RUN, "duty_call", now)
        elif self.phase is Phase.TALKING:
            self._part(now)

    def cancelled(self, now: float) -> None:
        """Nobody can cancel what nobody dialled."""

    def _hang_up(self, verdict: Verdict, reason: str, now: float) -> None:
        if self.desk is not None:
            self.desk.bye(self._wire)
        self._end(verdict, reason, Outcome.ANSWERED, now)

    def _end(self, verdict: Verdict, reason: str, outcome: Outcome, now: float) -> None:
        self._verdict, self._reason = verdict, reason
        self.finish(outcome, reason=f"spot_check_{verdict.value}" if outcome is Outcome.ANSWERED else reason, at=now)

    def finish(self, outcome: Outcome, *, reason: str, at: float | None = None) -> None:
        """The call is over: tell what was found. Where the officer hung up, that is what the keys pressed so far say;
        where the service stopped, it says nothing about anybody."""
        if not self.live:
            return
        if at is None and outcome is not Outcome.ANSWERED:
            self._verdict, self._reason = Verdict.NOT_RUN, reason
        elif at is None and self._step is not _Step.PARTING:
            stopped = reason != "officer_hung_up" or self._step is _Step.VERIFYING
            self._verdict, self._reason = (Verdict.NOT_RUN, reason) if stopped else self._unproven
        super().finish(outcome, reason=reason)
        self._keys.clear()
        self.actions.append(SpotCheckEnded(check_id=self.check_id, finding=self._finding(at)))

    def _finding(self, at: float | None) -> Finding:
        ring_end = self._answered_at if self._answered_at is not None else at
        evidence: dict[str, Json | list[dict[str, Json]]] = {
            "phones": " ".join(phone.extension for phone in self._phones),
            "rang": self._rang is not None,
            "ring_s": _span(self._rang, ring_end),
            "statuses": " ".join(self._statuses),
            "answered_by": self.desk.name if isinstance(self.desk, ClientLeg) else "",
            "tries": self._tries,
        }
        return Finding(
            verdict=self._verdict,
            reason=self._reason,
            answer_s=_span(self._began, self._answered_at),
            call_id=self.call_id,
            officer_id=self._officer_id,
            evidence=evidence,
        )


def _span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(end - start, 2)
