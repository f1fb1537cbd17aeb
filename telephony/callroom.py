"""The calls in hand: how one begins and is opened, what follows when anything happened to it, and who waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from duty.domain.calls import CallEventKind, Outcome, Purpose
from duty.domain.exceptions import ForwardException
from duty.domain.linechecks import Finding, Verdict
from telephony import guard
from telephony.actions import Action, MediaAddresses, OpenCall, ProbeEnded, Record, SpotCheckEnded
from telephony.call import Call, Phase
from telephony.callindex import CallIndex
from telephony.inbound import Admission, InboundCall
from telephony.layerwire import Instant, LayerWire
from telephony.line import LineProfile
from telephony.outbound import OutboundCall
from telephony.phones import Phones
from telephony.probe_call import ProbeCall
from telephony.probe_evidence import OurSide
from telephony.sip.message import make_response
from telephony.siprec.call import RecordedCall
from telephony.spot_check import SpotCheckCall


class CallRoom:
    """All calls, in ``index``. What they want done outside SIP is told by ``act``."""

    def __init__(self, *, index: CallIndex, phones: Phones, wire: LayerWire, act: Callable[[Action], None]) -> None:
        self._index, self._phones, self._wire, self._act = index, phones, wire, act
        self._exceptions: dict[str, tuple[ForwardException, ...]] = {}
        self._now = Instant(monotonic=0.0, unix=0.0)

    def at(self, now: Instant) -> None:
        """It is ``now``, until told otherwise."""
        self._now = now

    def allow(self, exceptions: Iterable[ForwardException]) -> None:
        """The approved exceptions from now on, instead of those before; each begins and ends by our own clock."""
        found: dict[str, tuple[ForwardException, ...]] = {}
        for each in exceptions:
            found[each.line_number] = (*found.get(each.line_number, ()), each)
        self._exceptions = found

    # Beginning

    def begin(
        self,
        call: Call,
        *,
        caller: str,
        callee: str,
        source: str,
        display: str = "",
        trust: str = "asserted",
        sip_call_id: str = "",
        command_id: int | None = None,
        recording_session: str | None = None,
    ) -> None:
        """Take in a new call and have it opened; ``opened`` or ``not_opened`` follows."""
        self._index.add(call)
        if call.purpose is Purpose.DUTY:
            call.is_excepted = lambda attempt: self._is_excepted(call.line, attempt)
        if call.transaction_id:
            self._index.expect(call, call.transaction_id)
        self._act(
            OpenCall(
                call_id=call.call_id,
                line_number=call.line.number,
                direction=call.direction,
                caller_number=caller,
                callee_number=callee,
                caller_display=display,
                trust=trust,
                sip_call_id=sip_call_id,
                source=source,
                command_id=command_id,
                purpose=call.purpose,
                recording_session=recording_session,
            )
        )

    def opened(self, call_id: str, addresses: MediaAddresses) -> None:
        """The edge has written the call and opened its media."""
        call = self._index.get(call_id)
        if call is None or not call.opening:
            return
        if isinstance(call, OutboundCall):
            call.has_caller = self._index.talks_to_caller(call.line, call.extension)
        call.opened(addresses, self._now.monotonic)
        if isinstance(call, InboundCall) and call.live:
            call.admit(self._admission(call), self._phones.targets(call.line, self._now), self._now.monotonic)
            if call.phase is Phase.QUEUED:
                self._index.wait(call)
        self.settle(call)

    def not_opened(self, call_id: str, reason: str) -> None:
        """The edge could not open the call's media: refuse it; the book says why."""
        call = self._index.get(call_id)
        if call is None or not call.opening:
            return
        self._index.drop(call_id)
        if isinstance(call, InboundCall | OutboundCall | ProbeCall | RecordedCall):
            response = make_response(call.invite, 503, to_tag=self._wire.token())
            self._wire.respond(call.transaction_id, response)
        if isinstance(call, ProbeCall):
            ours = OurSide(arrived=True, call_id=call_id, reason="no_media")
            self._act(ProbeEnded(check_id=call.expected.check_id, ours=ours))
        if isinstance(call, SpotCheckCall):
            finding = Finding(verdict=Verdict.FAULT, reason="no_media", call_id=call_id)
            self._act(SpotCheckEnded(check_id=call.check_id, finding=finding))
        self._act(Record(call_id=call_id, kind=CallEventKind.ENDED, outcome=Outcome.FAILED, data={"reason": reason}))

    # Going on

    def settle(self, call: Call) -> None:
        """After anything happened to a call: take its actions, keep the index up, serve who waits for its place."""
        for action in call.actions:
            self._act(action)
        call.actions.clear()
        if not self._index.update(call, self._now.monotonic):
            return
        while (waiting := self._index.next_waiting(call.line)) is not None:
            waiting.line_free(self._phones.targets(call.line, self._now), self._now.monotonic)
            self.settle(waiting)

    def handle_timer(self) -> None:
        """Wake the calls whose time has come; forget those that ended long enough ago."""
        while (call := self._index.pop_timed_out(self._now.monotonic)) is not None:
            call.wake(self._now.monotonic)
            self.settle(call)
        self._index.forget_ended(self._now.monotonic)

    def _admission(self, call: InboundCall) -> Admission:
        if self._index.has_place(call.line) and not self._index.is_waited_for(call.line):
            return "ring"
        return "queue" if call.line.when_busy == "queue" else "busy"

    def _is_excepted(self, line: LineProfile, attempt: guard.Attempt) -> bool:
        at = datetime.fromtimestamp(self._now.unix, UTC)
        return guard.excepted(attempt, self._exceptions.get(line.number, ()), at)
