"""How a duty call begins: a caller arrives on the line, a desk phone dials out, or the console asks for a call back."""

from __future__ import annotations

from telephony.arrival import Arrival, caller_of, user_of
from telephony.callroom import CallRoom
from telephony.checkcalls import CheckCalls
from telephony.inbound import InboundCall
from telephony.layerwire import Instant, LayerWire
from telephony.line import LineProfile
from telephony.outbound import CallBack, OutboundCall
from telephony.phones import Phones
from telephony.sip.flow import Flow
from telephony.sip.target import contact_uri
from telephony.trunks import Trunks


class DutyCalls:
    """Makes the call machines; a spot check that stands in their way ends."""

    def __init__(self, *, room: CallRoom, checks: CheckCalls, wire: LayerWire, phones: Phones, trunks: Trunks) -> None:
        self._room, self._checks, self._wire = room, checks, wire
        self._phones, self._trunks = phones, trunks

    def arrive(self, arrival: Arrival, line: LineProfile, now: Instant) -> None:
        """A caller dialled the line."""
        self._checks.make_way(line, now.monotonic)
        caller, trust = caller_of(arrival.request, trusted=self._trunks.speaks(arrival.flow))
        call = InboundCall(call_id=self._wire.token(), line=line, wire=self._wire, arrival=arrival, caller=caller)
        self._room.begin(
            call,
            caller=user_of(caller.uri),
            callee=line.number,
            display=caller.display or "",
            trust=trust,
            sip_call_id=arrival.request.call_id,
            source=arrival.source,
        )

    def dial_out(self, arrival: Arrival, line: LineProfile, *, extension: str, number: str, now: Instant) -> None:
        """A desk phone of the line dialled ``number``."""
        call = OutboundCall(
            call_id=self._wire.token(),
            line=line,
            wire=self._wire,
            arrival=arrival,
            extension=extension,
            number=number,
            routes=self._trunks.ways(line, number, now.monotonic),
        )
        call.on_silence = self._suspect
        self._room.begin(
            call,
            caller=line.number,
            callee=number,
            sip_call_id=arrival.request.call_id,
            source=arrival.source,
        )

    def call_back(self, line: LineProfile, *, number: str, command_id: int, now: Instant) -> None:
        """The console asks for a call from the desk to ``number``."""
        self._checks.make_way(line, now.monotonic)
        phones = self._phones.targets(line, now)
        call = CallBack(
            call_id=self._wire.token(),
            line=line,
            wire=self._wire,
            number=number,
            routes=self._trunks.ways(line, number, now.monotonic),
            contact=f"<{contact_uri(line.number, phones[0].flow)}>" if phones else "",
            phones=phones,
        )
        call.on_silence = self._suspect
        self._room.begin(call, caller=line.number, callee=number, source="console", command_id=command_id)

    def _suspect(self, flow: Flow) -> None:
        self._trunks.suspect(flow, self._wire.now)
