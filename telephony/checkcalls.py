"""The calls that check the line (拨测) and the duty (查岗): which call is the probe's, and that duty goes first."""

from __future__ import annotations

from telephony.arrival import Arrival, caller_of, user_of
from telephony.callindex import CallIndex
from telephony.callroom import CallRoom
from telephony.layerwire import Instant, LayerWire
from telephony.line import LineProfile
from telephony.phones import Phones
from telephony.probe_call import ExpectedProbe, ProbeCall
from telephony.sip.flow import Flow
from telephony.sip.message import Request
from telephony.sip.target import contact_uri
from telephony.spot_check import SpotCheckCall
from telephony.trunks import Trunks


class CheckCalls:
    """The probes that will call, and each line's spot check while it runs."""

    def __init__(self, *, index: CallIndex, room: CallRoom, wire: LayerWire, phones: Phones, trunks: Trunks) -> None:
        self._index, self._room, self._wire = index, room, wire
        self._phones, self._trunks = phones, trunks
        self._probes: dict[int, ExpectedProbe] = {}
        self._spot_checks: dict[str, SpotCheckCall] = {}

    # The probe

    def expect(self, expected: ExpectedProbe) -> None:
        """A probe of ours will call."""
        self._probes[expected.check_id] = expected

    def forget(self, check_id: int) -> None:
        """The probe has ended; where its call still stands, end it."""
        self._probes.pop(check_id, None)
        for call in self._index.live():
            if isinstance(call, ProbeCall) and call.expected.check_id == check_id:
                call.hang_up(reason="probe_gone")
                self._room.settle(call)

    def expected(self, line: LineProfile | None, request: Request, flow: Flow, now: float) -> ExpectedProbe | None:
        """The probe whose call to ``line`` this is. One that comes through the carrier must come by the line's own
        trunk."""
        if line is None or not self._probes:
            return None
        caller = user_of(caller_of(request, trusted=self._trunks.speaks(flow))[0].uri)
        may_call = self._trunks.may_call(line, flow)
        for expected in self._probes.values():
            if (expected.directly or may_call) and expected.matches(line.number, caller, now):
                return expected
        return None

    def take(self, arrival: Arrival, line: LineProfile, expected: ExpectedProbe) -> None:
        """The probe calls."""
        del self._probes[expected.check_id]
        call = ProbeCall(call_id=self._wire.token(), line=line, wire=self._wire, arrival=arrival, expected=expected)
        self._room.begin(
            call,
            caller=expected.caller,
            callee=line.number,
            sip_call_id=arrival.request.call_id,
            source=arrival.source,
        )

    # The spot check

    def call_desk(self, line: LineProfile, *, check_id: int, ring_s: float, now: Instant) -> bool:
        """Call the desk and ask for a PIN. False where the line is in use now."""
        if self._index.in_use(line) or self._index.is_waited_for(line):
            return False
        phones = self._phones.targets(line, now)
        call = SpotCheckCall(
            call_id=self._wire.token(),
            line=line,
            wire=self._wire,
            check_id=check_id,
            contact=f"<{contact_uri(line.number, phones[0].flow)}>" if phones else "",
            phones=phones,
            ring_s=ring_s,
        )
        self._spot_checks[line.number] = call
        self._room.begin(call, caller=line.number, callee=" ".join(line.extensions), source="check")
        return True

    def key_pressed(self, call_id: str, key: str, now: float) -> None:
        """The officer pressed a key."""
        call = self._index.get(call_id)
        if isinstance(call, SpotCheckCall):
            call.pressed(key, now)
            self._room.settle(call)

    def pin_checked(self, call_id: str, officer_id: int | None, now: float, *, fault: bool) -> None:
        """Whose PIN it was, None for nobody's; ``fault`` where it could not be found out."""
        call = self._index.get(call_id)
        if isinstance(call, SpotCheckCall):
            call.pin_checked(officer_id, now, fault=fault)
            self._room.settle(call)

    def make_way(self, line: LineProfile, now: float) -> None:
        """Duty goes before its check."""
        check = self._spot_checks.pop(line.number, None)
        if check is not None and check.live:
            check.give_way(now)
            self._room.settle(check)
