"""The leg that a peer began: the caller of an arriving call, or the desk phone that dials out."""

from __future__ import annotations

from collections.abc import Iterable

from duty.domain.transcripts import Speaker
from telephony.leg import ALLOW, SDP_TYPE, Leg, Wire, warning
from telephony.media_policy import PLAIN, MediaPolicy
from telephony.sip import causes, reliable
from telephony.sip.dialog import Dialog
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.message import Request, Response, make_response
from telephony.sip.multipart import session_description
from telephony.sip.session_description import SessionDescription, parse_sdp
from telephony.sip.session_timer import SessionTimer
from telephony.sip.target import dialog_flow

EXTEND_S = 60.0
"""How often a caller that waits is told so again."""


class ServerLeg(Leg):
    """A leg that the peer began: the caller of an arriving call, or the desk phone of an outgoing one."""

    def __init__(
        self,
        *,
        speaker: Speaker,
        transaction_id: str,
        request: Request,
        flow: Flow,
        contact: str,
        local: tuple[str, int],
        tag: str,
        hosts: tuple[str, ...] = (),
        policy: MediaPolicy = PLAIN,
    ) -> None:
        super().__init__(speaker=speaker, flow=flow, contact=contact, local=local, tag=tag, hosts=hosts, policy=policy)
        self.transaction_id = transaction_id
        self.request = request
        self.concluded = False
        self._progress = (180, False)
        self._extend_at: float | None = None
        self.sending = reliable.Sending(reliable.FIRST[self._session_id % len(reliable.FIRST)])
        self._held_back: Response | None = None
        self._offer: SessionDescription | None = None
        self._answer = b""
        self._described = False
        self._told = False

    def read_offer(self) -> None:
        """Understand the peer's offer, if there is one. Raises RemoteProtocolError (400, 415, 488)."""
        if body := session_description(self.request):
            self._offer = parse_sdp(body)
            self._answer = self.answer_body(self._offer)
        elif not self.may_offer:
            raise RemoteProtocolError(488, self.security.hindrance)

    @property
    def offer(self) -> SessionDescription | None:
        """What the peer's INVITE offered, as far as it was read."""
        return self._offer

    def follow(self, other: Leg) -> bool:
        """Take the codec of the ``other`` side where the peer offered it, so that nothing need be transcoded; whether
        that changed anything. An answer that was sent already stands."""
        wanted, now = other.target, self.target
        if self._offer is None or self._told or wanted is None or now is None:
            return False
        if wanted.payload_type == now.payload_type or wanted.payload_type not in self._takes:
            return False
        self._answer = self.answer_body(self._offer, preferred=wanted.payload_type)
        return True

    @property
    def waits_for_answer(self) -> bool:
        """True while nothing says where the peer listens: it made no offer, so that ours goes with a reliable
        provisional response or the 200, and its answer comes with the PRACK or the ACK (RFC 3264 5, RFC 3262 5)."""
        return self._offer is None and self.target is None

    def hears_early(self, wire: Wire) -> bool:
        """Whether the peer can be let hear something before it is answered."""
        return not self.waits_for_answer or self._reliably(wire)[1]

    def trying(self, wire: Wire) -> None:
        """100: we have it."""
        wire.respond(self.transaction_id, make_response(self.request, 100))

    def progress(self, wire: Wire, status: int, *, early_media: bool = False) -> None:
        """A provisional response; with our answer where the peer shall hear something before the call is answered."""
        self._progress = (status, early_media)
        self._extend_at = wire.now + EXTEND_S
        demanded, possible = self._reliably(wire)
        body = self._early_body(early_media, demanded=demanded, possible=possible)
        self._respond(wire, status, body, reliably=demanded or (possible and bool(body)))

    def _reliably(self, wire: Wire) -> tuple[bool, bool]:
        """Whether the peer demands reliable provisional responses, and whether it takes them (RFC 3262 section 3)."""
        demanded = wire.reliable and reliable.OPTION in reliable.options(self.request, "Require")
        supported = wire.reliable and reliable.OPTION in reliable.options(self.request, "Supported")
        return demanded, demanded or supported

    def _early_body(self, early_media: bool, *, demanded: bool, possible: bool) -> bytes:
        """Our answer where early media is to be heard. To an INVITE without offer the first reliable response holds
        ours (RFC 3262 section 5); what was told reliably is not told again."""
        if self._described:
            return b""
        if self._offer is None:
            offers = demanded or (early_media and possible)
            self.awaits_answer = self._described = offers
            return self.offer_body() if offers else b""
        self._described = early_media and possible
        return self._answer if early_media else b""

    @property
    def due(self) -> float | None:
        """The next instant (monotonic s) at which ``repeat`` has something to do."""
        moments = (self.sending.due, None if self.concluded else self._extend_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def repeat(self, wire: Wire) -> bool:
        """Send again what is due: a reliable response that nobody has acknowledged, and each minute the state of a call
        that is not answered, lest a proxy end it (RFC 3261 13.3.1.1). False where an acknowledgement is out of time."""
        if not self.concluded and self._extend_at is not None and self._extend_at <= wire.now:
            status, early_media = self._progress
            self.progress(wire, status, early_media=early_media)
        if self.sending.due is None or self.sending.due > wire.now:
            return True
        again = self.sending.take_due(wire.now)
        if again is not None:
            wire.respond(self.transaction_id, again)
        return again is not None

    def go_on(self, wire: Wire) -> None:
        """A PRACK has come: send what waited for it."""
        final, self._held_back = self._held_back, None
        response = final or self.sending.next(wire.now)
        if response is not None:
            self._send(wire, response)

    def answer(self, wire: Wire) -> None:
        """200 with our answer, or with our offer where the peer made none; with neither where a reliable response held
        it. It waits for the PRACK of that one (RFC 3262 section 3)."""
        self.concluded = True
        offers = self._offer is None and not self._described
        self.awaits_answer = self.awaits_answer or offers
        self._read_allow(self.request)
        self.session = SessionTimer(wire.session_s) if wire.session_s else None
        agreed = self.session.answer(self.request, wire.now) if self.session is not None else ()
        body = self.offer_body() if offers else self._answer
        self._respond(wire, 200, b"" if self._described else body, agreed)

    def refuse(
        self, wire: Wire, status: int, reason: str | None = None, *, extra: Iterable[tuple[str, str]] = ()
    ) -> None:
        """A final failure; nothing happens where a final response was sent already."""
        if not self.concluded or self._held_back is not None:
            self.concluded = self.ended = True
            self._held_back = None
            self.sending.stop()
            told = (*extra, *warning(status, reason))
            response = make_response(self.request, status, reason, to_tag=self._tag, extra=told)
            wire.respond(self.transaction_id, response)

    @property
    def is_asked(self) -> bool:
        """Until the INVITE is answered."""
        return not self.concluded

    @property
    def owes_answer(self) -> bool:
        """Until the offer of the INVITE is answered, reliably or with the 200."""
        return self._offer is not None and not self.concluded and not self._described

    def drop(self, wire: Wire, *, status: int, reason: str = causes.NORMAL) -> None:
        """Refuse the INVITE, or BYE where it is answered."""
        if self.concluded and self._held_back is None:
            self.bye(wire, reason=reason)
        else:
            self.refuse(wire, status)

    def bye(self, wire: Wire, *, reason: str = causes.NORMAL) -> None:
        """End the session; a 200 that still waits for a PRACK becomes a refusal."""
        if self._held_back is not None:
            self.refuse(wire, 480)
        else:
            super().bye(wire, reason=reason)

    def withdraw(self, wire: Wire) -> bool:
        """Take back a 200 that still waits for a PRACK, since the INVITE is cancelled; False where it has left."""
        waits = self._held_back is not None
        if waits:
            self.refuse(wire, 487)
        return waits

    def _respond(
        self,
        wire: Wire,
        status: int,
        body: bytes,
        extra: tuple[tuple[str, str], ...] = (),
        *,
        reliably: bool = False,
    ) -> None:
        self._told = self._told or bool(body)
        response = make_response(
            self.request,
            status,
            to_tag=self._tag,
            extra=[("Contact", self.contact), ("Allow", ALLOW), *extra],
            body=body,
            content_type=SDP_TYPE if body else None,
        )
        if self.dialog is None:
            self.dialog = Dialog.as_uas(self.request, response)
            self.flow = dialog_flow(self.request, self.dialog.target, self.dialog.routes, self.flow)
        self.dialog.confirmed = status >= 200
        if status >= 200 and self.sending.describes:
            self._held_back = response
        elif not reliably:
            self._send(wire, response)
        elif (numbered := self.sending.send(response, wire.now)) is not None:
            self._send(wire, numbered)

    def _send(self, wire: Wire, response: Response) -> None:
        if response.status >= 200:
            self.sending.stop()
        wire.respond(self.transaction_id, response)
