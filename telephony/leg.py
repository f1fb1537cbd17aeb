"""A leg: our end of one INVITE session, towards the network or towards a desk phone.

A leg knows SIP and SDP but not what the call is about; the call machines in ``inbound`` and ``outbound`` decide and use
legs to speak. Everything it sends goes through a ``Wire``, which is the transaction layer at one instant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from duty.domain.transcripts import Speaker
from telephony.sip import causes, sdp
from telephony.sip.dialog import Dialog
from telephony.sip.digest import authorize, parse_challenge
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.headers import NameAddr
from telephony.sip.message import Headers, Request, Response, make_response
from telephony.sip.multipart import session_description
from telephony.sip.sdp import AudioTarget
from telephony.sip.session_description import SessionDescription, parse_sdp
from telephony.sip.session_timer import SessionTimer

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE"
SDP_TYPE = "application/sdp"
AGENT = "dutyline"


class Wire(Protocol):
    """The transaction layer with the present instant already given: ``now`` in monotonic s. ``session_s`` is how often
    a session is to be refreshed, 0 for never."""

    session_s: int

    @property
    def now(self) -> float:
        """The present instant, monotonic s."""

    def send_request(self, request: Request, flow: Flow) -> str:
        """Send a request; the id of its transaction."""

    def respond(self, transaction_id: str, response: Response) -> None:
        """Answer a received request."""

    def send_ack(self, ack: Request, flow: Flow) -> None:
        """Acknowledge a 2xx."""

    def cancel(self, client_transaction_id: str, *, reason: str = "") -> None:
        """Cancel an INVITE of ours, with ``reason`` as the Reason of the CANCEL."""

    def token(self) -> str:
        """An unguessable token for tags, Call-IDs and client nonces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a PBX asks of us before it takes a call."""

    username: str
    password: str


class Leg:
    """What both kinds of leg share once a dialog exists.

    ``tag`` is our tag in its dialog, ``local`` where its audio comes to us, ``hosts`` the addresses at which the guard
    lets a desk phone have its audio. ``inquiry`` is the request by which we ask now whether the peer is there,
    ``described`` the session description that we sent last.
    """

    def __init__(
        self, *, speaker: Speaker, flow: Flow, contact: str, local: tuple[str, int], tag: str, hosts: tuple[str, ...]
    ) -> None:
        self.speaker = speaker
        self.flow = flow
        self.contact = contact
        self.dialog: Dialog | None = None
        self.target: AudioTarget | None = None
        self.ended = False
        self.hosts = hosts
        self.awaits_answer = False
        self.session: SessionTimer | None = None
        self.inquiry: Request | None = None
        self.inquiry_id = ""
        self.takes_update = False
        self.described = b""
        self._tag = tag
        self._local = local
        self._session_id = int.from_bytes(sha256(tag.encode()).digest()[:4], "big")
        self._version = 0

    @property
    def negotiating(self) -> bool:
        """Whether the first offer of the dialog still waits for its answer: until then no further one is taken."""
        raise NotImplementedError

    def drop(self, wire: Wire, *, status: int) -> None:
        """End the session in the way its state allows; ``status`` answers an INVITE that waits for us."""
        raise NotImplementedError

    def take(self, request: Request, flow: Flow) -> None:
        """Accept a request of the peer's within the dialog. Raises RemoteProtocolError with what to answer."""
        if self.dialog is None:
            raise RemoteProtocolError(481, "Call/Transaction Does Not Exist")
        self.dialog.receive_request(request)
        self.flow = flow
        self._read_allow(request)

    def prove(self, wire: Wire, response: Response, asked: Request) -> tuple[tuple[str, str], ...]:  # noqa: ARG002
        """Our credentials for a request within the dialog that was challenged; empty where there are none, or they
        were refused."""
        return ()

    def _read_allow(self, message: Request | Response) -> None:
        if allowed := message.headers.get_all("Allow"):
            self.takes_update = "UPDATE" in {method.strip() for value in allowed for method in value.split(",")}

    def bye(self, wire: Wire, *, reason: str = causes.NORMAL) -> None:
        """End the session, with ``reason`` as Reason (RFC 3326); safe to call again."""
        if self.dialog is None or self.ended:
            return
        self.ended = True
        wire.send_request(self.dialog.request("BYE", extra=(("Reason", reason),)), self.flow)

    def offer_body(self, codecs: Iterable[int] = (8, 0), *, direction: sdp.Direction = "sendrecv") -> bytes:
        """Our offer of audio at this leg's address."""
        self._version += 1
        host, port = self._local
        self.described = sdp.offer(
            host=host,
            port=port,
            codecs=codecs,
            session_id=self._session_id,
            version=self._version,
            direction=direction,
        ).serialize()
        return self.described

    @property
    def codecs(self) -> tuple[int, ...]:
        """What to offer the other side: this side's codec first, so that nothing need be transcoded where the other
        side takes it too."""
        chosen = self.target.payload_type if self.target else 8
        return (chosen, *(codec for codec in (8, 0) if codec != chosen))

    def answer_body(self, offer: SessionDescription) -> bytes:
        """Our answer to the peer's offer; its audio target is kept. Raises RemoteProtocolError (488)."""
        self._version += 1
        host, port = self._local
        description, self.target = sdp.answer(
            offer, host=host, port=port, session_id=self._session_id, version=self._version
        )
        self.described = description.serialize()
        return self.described

    def accept(self, message: Request | Response) -> AudioTarget:
        """Where the peer's answer in ``message`` wants our audio; kept. Raises RemoteProtocolError (400, 415, 488)."""
        self.target = sdp.accept(parse_sdp(session_description(message)))
        return self.target


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
    ) -> None:
        super().__init__(speaker=speaker, flow=flow, contact=contact, local=local, tag=tag, hosts=hosts)
        self.transaction_id = transaction_id
        self.request = request
        self.concluded = False
        self._offer: SessionDescription | None = None
        self._answer = b""

    def read_offer(self) -> None:
        """Understand the peer's offer, if there is one. Raises RemoteProtocolError (400, 415, 488)."""
        if body := session_description(self.request):
            self._offer = parse_sdp(body)
            self._answer = self.answer_body(self._offer)

    @property
    def waits_for_answer(self) -> bool:
        """True where the peer made no offer: ours goes with the 200, its answer comes with the ACK (RFC 3264 5)."""
        return self._offer is None

    def trying(self, wire: Wire) -> None:
        """100: we have it."""
        wire.respond(self.transaction_id, make_response(self.request, 100))

    def progress(self, wire: Wire, status: int, *, early_media: bool = False) -> None:
        """A provisional response; with our answer where the peer shall hear something before the call is answered."""
        body = self._answer if early_media else b""
        self._respond(wire, status, body)

    def answer(self, wire: Wire) -> None:
        """200 with our answer, or with our offer where the peer made none."""
        self.concluded = True
        self.awaits_answer = self.waits_for_answer
        self._read_allow(self.request)
        self.session = SessionTimer(wire.session_s) if wire.session_s else None
        agreed = self.session.answer(self.request, wire.now) if self.session is not None else ()
        self._respond(wire, 200, self._answer or self.offer_body(), agreed)

    def refuse(
        self, wire: Wire, status: int, reason: str | None = None, *, extra: Iterable[tuple[str, str]] = ()
    ) -> None:
        """A final failure; nothing happens where a final response was given already."""
        if not self.concluded:
            self.concluded = self.ended = True
            response = make_response(self.request, status, reason, to_tag=self._tag, extra=extra)
            wire.respond(self.transaction_id, response)

    @property
    def negotiating(self) -> bool:
        """Until the INVITE is answered."""
        return not self.concluded

    def drop(self, wire: Wire, *, status: int) -> None:
        """Refuse the INVITE, or BYE where it is answered."""
        if self.concluded:
            self.bye(wire)
        else:
            self.refuse(wire, status)

    def _respond(self, wire: Wire, status: int, body: bytes, extra: tuple[tuple[str, str], ...] = ()) -> None:
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
        self.dialog.confirmed = status >= 200
        wire.respond(self.transaction_id, response)


class ClientLeg(Leg):
    """A leg that we began: a desk phone being rung, or the far party of an outgoing call."""

    def __init__(
        self,
        *,
        name: str,
        speaker: Speaker,
        uri: str,
        from_: NameAddr,
        to: NameAddr,
        flow: Flow,
        contact: str,
        local: tuple[str, int],
        tag: str,
        credentials: Credentials | None = None,
        hosts: tuple[str, ...] = (),
    ) -> None:
        super().__init__(speaker=speaker, flow=flow, contact=contact, local=local, tag=tag, hosts=hosts)
        self.name = name
        self.transaction_id = ""
        self.status: int | None = None
        self.cancelled = False
        self._uri, self._from, self._to = uri, from_, to
        self._credentials = credentials
        self._request: Request | None = None
        self._accepted: Response | None = None
        self._authorized: tuple[tuple[str, str], ...] = ()

    @property
    def settled(self) -> bool:
        """True once the INVITE has its final response, or failed."""
        return self.status is not None

    @property
    def pending(self) -> bool:
        """Whether the INVITE is sent and its final response may still come."""
        return bool(self.transaction_id) and not self.settled

    def start(self, wire: Wire, codecs: Iterable[int] = (8, 0)) -> None:
        """Send the INVITE with our offer."""
        self.session = SessionTimer(wire.session_s) if wire.session_s else None
        self._request = Request(
            method="INVITE",
            uri=self._uri,
            headers=Headers(
                [
                    ("Max-Forwards", "70"),
                    ("From", f"{self._from};tag={self._tag}"),
                    ("To", str(self._to)),
                    ("Call-ID", wire.token()),
                    ("CSeq", "1 INVITE"),
                    ("Contact", self.contact),
                    ("Allow", ALLOW),
                    ("User-Agent", AGENT),
                    *(self.session.offer() if self.session is not None else ()),
                    ("Content-Type", SDP_TYPE),
                ]
            ),
            body=self.offer_body(codecs),
        )
        self.transaction_id = wire.send_request(self._request, self.flow)

    def cause(self, status: int) -> causes.Cause:
        """Why the INVITE failed with ``status``: what the peer says, else what the status stands for."""
        final = self._accepted
        said = None if final is None or final.status < 300 else causes.read_reasons(final.headers.get_all("Reason"))
        return said or causes.of_status(status)

    def cancel(self, wire: Wire, *, reason: str = "") -> None:
        """Stop ringing; safe to call again and after the answer."""
        if not self.settled and not self.cancelled and self.transaction_id:
            self.cancelled = True
            wire.cancel(self.transaction_id, reason=reason)

    @property
    def negotiating(self) -> bool:
        """Until our INVITE is answered."""
        return not self.settled

    def drop(self, wire: Wire, *, status: int) -> None:  # noqa: ARG002 - an INVITE of ours is cancelled, not answered
        """Cancel the INVITE, or BYE where it is answered."""
        if self.settled:
            self.bye(wire)
        else:
            self.cancel(wire)

    def is_surplus(self, response: Response) -> bool:
        """Whether somebody else at the far end, which forked our INVITE, answers as well (RFC 3261 13.2.2.4)."""
        answered = self.status is not None and 200 <= self.status < 300
        return answered and 200 <= response.status < 300 and response.to.tag is not None

    def turn_away(self, wire: Wire, response: Response) -> None:
        """End the session of a surplus 2xx; ours goes on."""
        if self._request is not None:
            dialog = Dialog.as_uac(self._request, response)
            wire.send_ack(dialog.ack(self._request.cseq.number, extra=self._authorized), self.flow)
            wire.send_request(dialog.request("BYE"), self.flow)

    def receive(self, response: Response, flow: Flow) -> None:
        """Take up a response to the INVITE: the dialog it makes and, from 200 on, the final status.

        Raises RemoteProtocolError for a 2xx without To tag, which nobody could acknowledge.
        """
        if 200 <= response.status < 300 and response.to.tag is None:
            raise RemoteProtocolError(400, "2xx without To tag")
        self.flow = flow
        if 100 < response.status < 300 and response.to.tag is not None and self._request is not None:
            if self.dialog is None or not self.dialog.matches(response):
                self.dialog = Dialog.as_uac(self._request, response)
            else:
                self.dialog.receive_response(response)
        if response.status >= 200:
            self.status = response.status
            self.ended = response.status >= 300
            self._accepted = response
            self._read_allow(response)

    def acknowledge(self, wire: Wire) -> None:
        """ACK the 2xx; the session runs from now on."""
        if self.session is not None and self._accepted is not None:
            self.session.answered(self._accepted, wire.now)
        if self.dialog is not None and self._request is not None:
            wire.send_ack(self.dialog.ack(self._request.cseq.number, extra=self._authorized), self.flow)

    def retry_with_credentials(self, wire: Wire, response: Response) -> bool:
        """Answer a 401/407 once by the same INVITE with our credentials; False where that is not possible."""
        if self._credentials is None or self._authorized or self._request is None or self.cancelled:
            return False
        self._authorized = self.prove(wire, response, self._request)
        if not self._authorized:
            return False
        headers = self._request.headers.with_value("CSeq", f"{self._request.cseq.number + 1} INVITE")
        self._request = self._request.replace(headers=headers.appended(*self._authorized[0]))
        self.status, self.ended, self.dialog = None, False, None
        self.transaction_id = wire.send_request(self._request, self.flow)
        return True

    def retry_with_longer_session(self, wire: Wire, response: Response) -> bool:
        """Answer a 422 by the same INVITE with the interval that the peer demands (RFC 4028 section 7.3); False where
        that is not possible."""
        if self.session is None or self._request is None or self.settled or self.cancelled:
            return False
        if not self.session.too_small(response):
            return False
        headers = self._request.headers.with_value("CSeq", f"{self._request.cseq.number + 1} INVITE")
        for name, value in self.session.offer()[1:]:
            headers = headers.with_value(name, value)
        self._request = self._request.replace(headers=headers.without("Authorization").without("Proxy-Authorization"))
        self._authorized, self.dialog = (), None
        self.transaction_id = wire.send_request(self._request, self.flow)
        return True

    def prove(self, wire: Wire, response: Response, asked: Request) -> tuple[tuple[str, str], ...]:
        """Our credentials for ``asked``, which ``response`` challenges; empty where there are none or they were
        shown already."""
        proxy = response.status == 407
        values = response.headers.get_all("Proxy-Authenticate" if proxy else "WWW-Authenticate")
        challenge = next((each for each in map(parse_challenge, values) if each.supported), None)
        name = "Proxy-Authorization" if proxy else "Authorization"
        if challenge is None or self._credentials is None or name in asked.headers:
            return ()
        user, password = self._credentials.username, self._credentials.password
        return ((name, authorize(challenge, asked.method, asked.uri, user, password, wire.token(), 1)),)
