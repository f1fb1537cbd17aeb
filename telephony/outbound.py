"""Outgoing calls: the desk phone dials out through the line, or the console asks for a call back (requirement 6.1-c).

Both are logged and recorded like arriving ones. A redirect from the network is never followed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from duty.domain.calls import CallEventKind, Direction, Outcome
from duty.domain.transcripts import Speaker
from telephony import guard
from telephony.actions import Bridge, MediaAddresses, PlayRingback, StopPlaying
from telephony.arrival import HOPS, Arrival, hops_left
from telephony.call import Abandoned, Call, Phase
from telephony.clientleg import ClientLeg
from telephony.leg import Credentials, Wire
from telephony.line import LineProfile, PhoneTarget
from telephony.serverleg import ServerLeg
from telephony.sip.causes import ELSEWHERE
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.headers import NameAddr
from telephony.sip.message import Response
from telephony.sip.uri import SipUri

DIAL_LIMIT_S = 120.0
SILENCE_S = 4.0
"""How long a PBX may say nothing at all to an INVITE while another one is left to try; RFC 3263 4.3 waits 64*T1."""

_OUTCOMES: dict[int, Outcome] = {
    486: Outcome.BUSY,
    600: Outcome.BUSY,
    480: Outcome.MISSED,
    408: Outcome.MISSED,
    487: Outcome.CANCELLED,
    603: Outcome.REJECTED,
    403: Outcome.REJECTED,
}


_AT_THE_DESK: dict[int, Outcome] = {
    486: Outcome.BUSY,
    600: Outcome.BUSY,
    603: Outcome.REJECTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where an outgoing call leaves: request URI, flow, our Contact there, and the credentials the PBX may ask for."""

    uri: str
    flow: Flow
    domain: str
    contact: str
    credentials: Credentials | None


class DiallingCall(Call):
    """What both outgoing calls share: the far party is a leg that we begin, by the first of ``routes`` that leads to a
    PBX which works."""

    direction = Direction.OUTBOUND

    def __init__(self, *, call_id: str, line: LineProfile, wire: Wire, number: str, routes: Sequence[Route]) -> None:
        super().__init__(call_id=call_id, line=line, wire=wire)
        self._number, self._routes = number, list(routes)
        self._fars: list[ClientLeg] = []
        self._codecs: tuple[int, ...] = ()
        self._limit = 0.0
        self.on_silence: Callable[[Flow], None] = lambda _flow: None
        """Told of a PBX that says nothing to our INVITE."""
        self._marked = False
        self._rang = False
        self.hops = HOPS
        """How many hops our INVITE to the far party may take."""

    def client_legs(self) -> list[ClientLeg]:
        """The far party's legs, one for each PBX that was tried; only the last one still counts."""
        return list(self._fars)

    def dial(self, codecs: Sequence[int], now: float) -> None:
        """Begin the leg to the far party; without a way out the call fails at once."""
        self._codecs, self._limit = tuple(codecs), now + DIAL_LIMIT_S
        if self._routes:
            self._dial_by(self._routes.pop(0), now)
        else:
            self.far_refused(503, "no_trunk")

    def _dial_by(self, route: Route, now: float) -> None:
        far = ClientLeg(
            name=self._number,
            speaker=Speaker.CALLER,
            uri=route.uri,
            from_=NameAddr(uri=SipUri(user=self.line.number, host=route.domain)),
            to=NameAddr(uri=SipUri(user=self._number, host=route.domain)),
            flow=route.flow,
            contact=route.contact,
            local=self.addresses.caller,
            tag=self._wire.token(),
            credentials=route.credentials,
            hops=self.hops,
            policy=self.line.trunk_media,
        )
        self._fars.append(far)
        self.network = far
        self.deadline = min(self._limit, now + SILENCE_S) if self._routes else self._limit
        if far.start(self._wire, self._codecs):
            return
        far.status, far.ended = 488, True
        if not self.dial_otherwise("trunk_not_encrypted", now):
            self.far_refused(488, "trunk_not_encrypted")

    def dial_otherwise(self, reason: str, now: float) -> bool:
        """Give this PBX up and try the next one (RFC 3263 4.3); False where there is none, or the time is over.

        The leg before is cancelled, and what is answered to it yet is hung up: the call has one far party.
        """
        if self.phase is not Phase.DIALLING or not self._routes or now >= self._limit:
            return False
        before = self._fars[-1]
        before.cancel(self._wire)
        self.record(CallEventKind.REROUTED, trunk=before.flow.remote[0], reason=reason)
        self._dial_by(self._routes.pop(0), now)
        return True

    def far_silent(self, now: float) -> bool:
        """The deadline has come; whether it was the PBX's, and another one is tried."""
        leg = self._fars[-1] if self._fars else None
        if leg is None or not self.dial_otherwise("silent", now):
            return False
        self.on_silence(leg.flow)
        return True

    def far_failed(self, leg: ClientLeg, now: float) -> None:
        """No final response came of the far party's side, and none will. Where it rang already it may ring yet, so
        that no other PBX is tried."""
        leg.status, leg.ended = 408, True
        if leg is not self._fars[-1]:
            return
        self.on_silence(leg.flow)
        if self._rang or not self.dial_otherwise("no_response", now):
            self.far_refused(408, "network_timeout")

    def far_responded(self, leg: ClientLeg, response: Response, flow: Flow) -> None:
        """A response of the far party's side."""
        leg.receive(response, flow)
        if leg is not self._fars[-1]:
            if 200 <= response.status < 300:
                leg.acknowledge(self._wire)
                leg.bye(self._wire)
            return
        if self.phase is Phase.DIALLING:
            self.deadline = self._limit
        self._examine(response, flow)
        if response.status == 503 and self.dial_otherwise("503", self._wire.now):
            return
        if response.status in (401, 407) and leg.retry_with_credentials(self._wire, response):
            return
        if response.status < 200:
            self.far_progressed(leg, response)
        elif response.status < 300:
            self._far_answered(leg, response)
        else:
            self.cause = leg.cause(response.status)
            self.far_refused(_towards_desk(response.status), f"network_{response.status}")

    def _examine(self, response: Response, flow: Flow) -> None:
        """A 3xx is not followed; where the network itself forwards the far party (181), the call goes on marked."""
        forward = guard.examine_response(response, from_phone=False)
        if forward is None:
            return
        if forward.way is guard.Way.FORWARDED_181:
            if not self._marked:
                self.mark(forward)
            self._marked = True
        else:
            self.report(forward, source=flow.remote[0], raw=response.serialize())

    def _far_answered(self, leg: ClientLeg, response: Response) -> None:
        leg.acknowledge(self._wire)
        if self.phase is not Phase.DIALLING:
            leg.bye(self._wire)
            return
        try:
            leg.take_answer(response)
        except RemoteProtocolError:
            leg.bye(self._wire)
            self.far_refused(488, "bad_answer")
            return
        self.hear(leg)
        self.far_answered()

    def _note_ringing(self, status: int) -> None:
        if not self._rang:
            self.record(CallEventKind.RINGING, status=status)
        self._rang = True

    def far_progressed(self, leg: ClientLeg, response: Response) -> None:
        """The far party rings, perhaps with early media."""
        raise NotImplementedError

    def far_answered(self) -> None:
        """The far party answered."""
        raise NotImplementedError

    def far_refused(self, status: int, reason: str) -> None:
        """The far party cannot be had."""
        raise NotImplementedError


class OutboundCall(DiallingCall):
    """A desk phone, already authenticated, dials out."""

    def __init__(
        self,
        *,
        call_id: str,
        line: LineProfile,
        wire: Wire,
        arrival: Arrival,
        extension: str,
        number: str,
        routes: Sequence[Route],
    ) -> None:
        super().__init__(call_id=call_id, line=line, wire=wire, number=number, routes=routes)
        self.transaction_id = arrival.transaction_id
        self.has_caller = False
        """Whether the phone has a caller at the moment the call is opened."""
        self.invite, self._arrival, self.extension = arrival.request, arrival, extension

    @property
    def desk_leg(self) -> ServerLeg:
        """The dialling phone's side, once opened."""
        assert isinstance(self.desk, ServerLeg)  # noqa: S101 - set by opened() before any other event
        return self.desk

    def opened(self, addresses: MediaAddresses, now: float) -> None:
        """Answer 100, let the guard look at what was dialled, then dial."""
        self._addresses = addresses
        self.desk = ServerLeg(
            speaker=Speaker.OFFICER,
            transaction_id=self.transaction_id,
            request=self.invite,
            flow=self._arrival.flow,
            contact=self._arrival.contact,
            local=addresses.officer,
            tag=self._wire.token(),
            hosts=(self._arrival.host, self._contact_host()),
            policy=self.line.phones_media,
        )
        if self.abandon():
            return
        self.desk_leg.trying(self._wire)
        if self._forbidden(guard.examine_request(self.invite)):
            return
        if self._forbidden(self.forbidden(guard.examine_dialled(self._number, self.line.forwarding_codes))):
            return
        if self.has_caller and self._forbidden(guard.attempt(guard.Way.CONFERENCE, self._number)):
            return
        self.hops = hops_left(self.invite)
        if self.hops < 1:
            self.far_refused(483, "too_many_hops")
            return
        try:
            self.desk_leg.read_offer()
        except RemoteProtocolError as error:
            self.note_fax(self.desk_leg, self.desk_leg.offer)
            self.far_refused(error.status, f"offer_refused: {error.reason}")
            return
        if self._forbidden(self.moved(self.desk_leg)):
            return
        self.hear(self.desk_leg)
        self.enter(Phase.DIALLING)
        self.dial(self.desk_leg.codecs, now)

    def _contact_host(self) -> str:
        uri = self.invite.contacts[0].uri
        return uri.host.strip("[]") if isinstance(uri, SipUri) else ""

    def _forbidden(self, attempt: guard.Attempt | None) -> bool:
        if attempt is None:
            return False
        self.report(attempt, source=self._arrival.host, raw=self.invite.serialize())
        self.desk_leg.refuse(self._wire, attempt.status or 403)
        self.finish(Outcome.REFUSED, reason=f"forward_{attempt.way}")
        return True

    def leg_responded(self, leg: ClientLeg, response: Response, flow: Flow, now: float) -> None:  # noqa: ARG002
        """The far party's side responded."""
        self.far_responded(leg, response, flow)

    def leg_failed(self, leg: ClientLeg, now: float) -> None:
        """The far party's side never responded."""
        self.far_failed(leg, now)

    def far_progressed(self, leg: ClientLeg, response: Response) -> None:
        """Pass ringing on; let the officer hear early media where there is some."""
        if response.status == 100 or self.phase is not Phase.DIALLING:
            return
        self._note_ringing(response.status)
        early = bool(response.body) and self._hear_early(leg, response)
        self.desk_leg.progress(self._wire, 183 if early else 180, early_media=early)

    def _hear_early(self, leg: ClientLeg, response: Response) -> bool:
        if not self.desk_leg.hears_early(self._wire):
            return False
        try:
            leg.take_answer(response)
        except RemoteProtocolError:
            return False
        self.hear(leg)
        self._follow(leg)
        self.actions.append(Bridge(call_id=self.call_id))
        return True

    def _follow(self, leg: ClientLeg | None) -> None:
        if leg is not None and self.desk_leg.follow(leg):
            self.hear(self.desk_leg)

    def far_answered(self) -> None:
        """Answer the desk phone."""
        self._follow(self._fars[-1])
        self.desk_leg.answer(self._wire)
        self.talk(extension=self.extension)

    def far_refused(self, status: int, reason: str) -> None:
        """Tell the desk phone."""
        if self.live:
            self.desk_leg.refuse(self._wire, status)
            self.finish(_OUTCOMES.get(status, Outcome.FAILED), reason=reason)

    def cancelled(self, now: float) -> None:  # noqa: ARG002
        """The officer gives up."""
        if self.phase is Phase.OPENING:
            self.abandoned = Abandoned(status=487, outcome=Outcome.CANCELLED, reason="officer_cancelled")
            return
        if self.desk_leg.concluded:
            self._gave_up_meanwhile(self.desk_leg, reason="officer_hung_up")
            return
        self.desk_leg.refuse(self._wire, 487)
        self.finish(Outcome.CANCELLED, reason="officer_cancelled")

    def time_out(self, now: float) -> None:
        """The far party rang too long, or the PBX says nothing."""
        if not self.far_silent(now):
            self.far_refused(408, "no_answer")


class CallBack(DiallingCall):
    """The console asks for a call: the desk phones ring first, then the directory's number is dialled."""

    def __init__(
        self,
        *,
        call_id: str,
        line: LineProfile,
        wire: Wire,
        number: str,
        routes: Sequence[Route],
        contact: str,
        phones: Sequence[PhoneTarget],
    ) -> None:
        super().__init__(call_id=call_id, line=line, wire=wire, number=number, routes=routes)
        self._phones, self._contact = phones, contact
        self._desks: list[ClientLeg] = []

    def client_legs(self) -> list[ClientLeg]:
        """Desk phones and far party."""
        return self._desks + super().client_legs()

    def opened(self, addresses: MediaAddresses, now: float) -> None:
        """Ring the desk."""
        self._addresses = addresses
        if self.abandon():
            return
        if not self._phones:
            self.finish(Outcome.UNREACHABLE, reason="no_phone_registered")
            return
        if not self._routes:
            self.finish(Outcome.FAILED, reason="no_trunk")
            return
        self.enter(Phase.RINGING)
        self.deadline = now + self.line.ring_seconds
        for phone in self._phones:
            host = phone.flow.local[0]
            leg = ClientLeg(
                name=phone.extension,
                speaker=Speaker.OFFICER,
                uri=phone.uri,
                from_=NameAddr(display="Call back", uri=SipUri(user=self._number, host=host)),
                to=NameAddr(uri=SipUri(user=phone.extension, host=host)),
                flow=phone.flow,
                contact=self._contact,
                local=addresses.officer,
                tag=self._wire.token(),
                hosts=phone.hosts,
                policy=self.line.phones_media,
            )
            self._desks.append(leg)
        for leg in self._desks:
            if not leg.start(self._wire):
                leg.status, leg.ended = 488, True
                self._desk_declined(488)

    def leg_responded(self, leg: ClientLeg, response: Response, flow: Flow, now: float) -> None:
        """A desk phone, or the far party, responded."""
        if leg in self._fars:
            self.far_responded(leg, response, flow)
            return
        leg.receive(response, flow)
        forward = guard.examine_response(response, from_phone=True)
        if forward is not None and not (forward.way is guard.Way.FORWARDED_181 and leg.cancelled):
            self.report(forward, source=flow.remote[0], raw=response.serialize())
        if response.status == 181:
            leg.cancel(self._wire)
        elif 200 <= response.status < 300:
            self._desk_answered(leg, response, now)
        elif response.status >= 300:
            self._desk_declined(response.status)

    def leg_failed(self, leg: ClientLeg, now: float) -> None:
        """A desk phone, or the far party, never responded."""
        if leg in self._fars:
            self.far_failed(leg, now)
            return
        leg.status, leg.ended = 408, True
        self._desk_declined(408)

    def _desk_answered(self, leg: ClientLeg, response: Response, now: float) -> None:
        leg.acknowledge(self._wire)
        if self.phase is not Phase.RINGING:
            leg.bye(self._wire)
            return
        try:
            leg.take_answer(response)
        except RemoteProtocolError as error:
            leg.bye(self._wire)
            self._desk_declined(error.status)
            return
        moved = self.moved(leg)
        if moved is not None:
            self.report(moved, source=leg.flow.remote[0], raw=response.serialize())
            leg.bye(self._wire)
            self.finish(Outcome.REFUSED, reason="forward_media_move")
            return
        self.desk = leg
        for other in self._desks:
            if other is not leg:
                other.cancel(self._wire, reason=ELSEWHERE)
        self.hear(leg)
        self.actions.append(PlayRingback(call_id=self.call_id, speaker=Speaker.OFFICER))
        self.enter(Phase.DIALLING)
        self.dial(leg.codecs, now)

    def _desk_declined(self, status: int) -> None:
        if self.phase is Phase.RINGING and all(leg.settled for leg in self._desks):
            outcome = _AT_THE_DESK.get(status, Outcome.UNREACHABLE)
            self.finish(outcome, reason=f"phone_{status}")

    def far_progressed(self, leg: ClientLeg, response: Response) -> None:
        """The officer hears our ringback already, and what the network says instead of it where it says anything."""
        if response.status == 100 or self.phase is not Phase.DIALLING:
            return
        self._note_ringing(response.status)
        if not response.body:
            return
        try:
            leg.take_answer(response)
        except RemoteProtocolError:
            return
        self.hear(leg)
        self.actions += [StopPlaying(call_id=self.call_id), Bridge(call_id=self.call_id)]

    def far_answered(self) -> None:
        """Connect the two."""
        extension = self.desk.name if isinstance(self.desk, ClientLeg) else ""
        self.talk(extension=extension)

    def far_refused(self, status: int, reason: str) -> None:
        """Hang up the desk phone."""
        if self.live:
            if self.desk is not None:
                self.desk.bye(self._wire)
            self.finish(_OUTCOMES.get(status, Outcome.FAILED), reason=reason)

    def cancelled(self, now: float) -> None:
        """Nobody can cancel what nobody dialled."""

    def time_out(self, now: float) -> None:
        """The desk, or the far party, rang too long."""
        if self.phase is Phase.RINGING:
            self.finish(Outcome.MISSED, reason="no_answer")
        elif not self.far_silent(now):
            self.far_refused(408, "no_answer")


def _towards_desk(status: int) -> int:
    """What the desk phone hears of the network's refusal: no way out by redirection, and no challenge meant for us."""
    if status < 400:
        return 480
    return 503 if status in (401, 407) else status
