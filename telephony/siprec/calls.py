"""How recorded calls begin: who may fork calls to us, and which of them are a duty line's."""

from __future__ import annotations

from collections.abc import Iterable

from duty.domain.calls import Direction
from duty.domain.transcripts import Speaker
from telephony.arrival import Arrival, user_of
from telephony.callindex import CallIndex
from telephony.callroom import CallRoom
from telephony.layerwire import LayerWire
from telephony.line import LineProfile
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.message import Request
from telephony.sip.target import contact_uri
from telephony.siprec.call import RecordedCall
from telephony.siprec.intake import Intake, clients_lines, take_in
from telephony.siprec.parties import number_of


class RecordedCalls:
    """Takes the recording sessions of the configured clients, and only of calls that a line of theirs is in."""

    def __init__(self, *, lines: Iterable[LineProfile], index: CallIndex, room: CallRoom, wire: LayerWire) -> None:
        self._lines = tuple(line for line in lines if line.siprec is not None)
        self._index, self._room, self._wire = index, room, wire

    def take(self, transaction_id: str, request: Request, flow: Flow) -> None:
        """A client begins a recording session. Raises RemoteProtocolError: 403 for who is no client, 404 for a call of
        nobody here, 400 for metadata that cannot be read."""
        lines = clients_lines(self._lines, flow.remote[0])
        if not lines:
            raise RemoteProtocolError(403, "No recording client")
        intake = take_in(request, user_of(request.target), lines)
        if intake is None:
            raise RemoteProtocolError(404, "No line of ours takes part")
        contact = f"<{contact_uri(intake.line.number, flow)}>"
        self._begin(
            Arrival(transaction_id=transaction_id, request=request, flow=flow, contact=contact),
            intake,
        )

    def heard(self, call_id: str, speaker: Speaker) -> None:
        """The first voice has come in one channel of a call."""
        call = self._index.get(call_id)
        if isinstance(call, RecordedCall):
            call.heard(speaker)
            self._room.settle(call)

    def _begin(self, arrival: Arrival, intake: Intake) -> None:
        line, other = intake.line, intake.parties.other
        number = number_of(other)
        outbound = intake.parties.direction is Direction.OUTBOUND
        self._room.begin(
            RecordedCall(call_id=self._wire.token(), line=line, wire=self._wire, arrival=arrival, intake=intake),
            caller=line.number if outbound else number,
            callee=number if outbound else line.number,
            display="" if outbound or other is None else other.name.strip('"'),
            sip_call_id=arrival.request.call_id,
            source=arrival.source,
            recording_session=intake.session_id,
        )
