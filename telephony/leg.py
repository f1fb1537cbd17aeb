"""A leg: our end of one INVITE session, towards the network or towards a desk phone.

A leg knows SIP and SDP but not what the call is about; the call machines in ``inbound`` and ``outbound`` decide and use
legs to speak. Everything it sends goes through a ``Wire``, which is the transaction layer at one instant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Protocol

from duty.domain.transcripts import Speaker
from telephony.branch import Branch, Branches
from telephony.media_policy import PLAIN, MediaPolicy, fresh_keys
from telephony.sip import causes, reliable, sdp
from telephony.sip.dialog import Dialog
from telephony.sip.digest import authorize, parse_challenge
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.headers import NameAddr
from telephony.sip.message import Headers, Request, Response, make_response
from telephony.sip.multipart import session_description
from telephony.sip.sdp import AudioTarget, Security
from telephony.sip.security_description import OFFERED, CryptoAttribute, read_cryptos
from telephony.sip.session_description import SessionDescription, parse_sdp
from telephony.sip.session_timer import OPTION as TIMER
from telephony.sip.session_timer import SessionTimer

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK"
EXTENSIONS = frozenset({TIMER, reliable.OPTION})
"""Option tags that a Require may name."""
SDP_TYPE = "application/sdp"
AGENT = "dutyline"
_NOT_ACCEPTABLE = frozenset({488, 606})


class Wire(Protocol):
    """The transaction layer with the present instant already given: ``now`` in monotonic s. ``session_s`` is how often
    a session is to be refreshed, 0 for never; ``reliable`` whether provisional responses may be reliable (RFC 3262)."""

    session_s: int
    reliable: bool

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


def warning(status: int, reason: str | None) -> tuple[tuple[str, str], ...]:
    """A Warning that says what of a session description cannot be taken (RFC 3261 20.43), for a 488."""
    return (("Warning", f'399 {AGENT} "{reason}"'),) if status == 488 and reason else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """A request within a dialog whose answer changes nothing, unless it asks who we are."""

    dialog: Dialog
    method: str
    extra: tuple[tuple[str, str], ...]
    request: Request | None = None


class Leg:
    """What both kinds of leg share once a dialog exists.

    ``tag`` is our tag in its dialog, ``local`` where its audio comes to us, ``hosts`` the addresses at which the guard
    lets a desk phone have its audio, ``policy`` what may be agreed on for it. ``inquiry`` is the request by which we
    ask now whether the peer is there, ``described`` the session description that we sent last.
    """

    def __init__(
        self,
        *,
        speaker: Speaker,
        flow: Flow,
        contact: str,
        local: tuple[str, int],
        tag: str,
        hosts: tuple[str, ...],
        policy: MediaPolicy,
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
        self.errands: dict[str, Errand] = {}
        self.takes_update = False
        self.described = b""
        self._tag = tag
        self._local = local
        self._session_id = int.from_bytes(sha256(tag.encode()).digest()[:4], "big")
        self._version = 0
        self._policy = policy
        self._keys = fresh_keys(policy)
        self._takes: tuple[int, ...] = ()
        self._cryptos: tuple[CryptoAttribute, ...] = ()

    @property
    def is_asked(self) -> bool:
        """Whether the peer's INVITE that made the dialog still waits for our final response."""
        return False

    @property
    def asks(self) -> bool:
        """Whether an INVITE of ours within or for the dialog still waits for its final response."""
        return self.inquiry is not None and self.inquiry.method == "INVITE"

    @property
    def owes_answer(self) -> bool:
        """Whether an offer of the peer's still waits for our answer."""
        return False

    @property
    def is_owed_answer(self) -> bool:
        """Whether an offer of ours still waits for the peer's answer."""
        return self.awaits_answer or self.asks

    def drop(self, wire: Wire, *, status: int, reason: str = causes.NORMAL) -> None:
        """End the session in the way its state allows; ``status`` answers an INVITE that waits for us, ``reason`` goes
        into a BYE."""
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
        self._run_errand(wire, Errand(dialog=self.dialog, method="BYE", extra=(("Reason", reason),)))

    def errand_answered(self, wire: Wire, transaction_id: str, response: Response) -> None:
        """A response to a BYE or PRACK: one that was challenged is sent once more, with our credentials."""
        errand = self.errands.get(transaction_id)
        if errand is None or response.status < 200:
            return
        del self.errands[transaction_id]
        if response.status in (401, 407) and errand.request is not None:
            proof = self.prove(wire, response, errand.request)
            if proof:
                self._run_errand(wire, replace(errand, extra=(*errand.extra, *proof)))

    def _run_errand(self, wire: Wire, errand: Errand) -> None:
        request = errand.dialog.request(errand.method, extra=errand.extra)
        self.errands[wire.send_request(request, self.flow)] = replace(errand, request=request)

    @property
    def security(self) -> Security:
        """What holds for encrypted media in a description that goes to the peer now."""
        return self._policy.security(self.flow.transport, self._keys)

    @property
    def may_offer(self) -> bool:
        """False where audio must be encrypted and no key may be told."""
        security = self.security
        return bool(security.keys) or not security.required

    def offer_body(self, codecs: Iterable[int] | None = None, *, direction: sdp.Direction = "sendrecv") -> bytes:
        """Our offer of audio at this leg's address; ``codecs`` None for all that may be agreed on."""
        host, port = self._local
        security = self.security
        suites = OFFERED if security.keys else ()
        return self._describe(
            sdp.offer(
                host=host,
                port=port,
                codecs=self._policy.codecs if codecs is None else codecs,
                session_id=self._session_id,
                version=self._next_version(),
                direction=direction,
                cryptos=tuple(
                    CryptoAttribute(tag=number, suite=suite, key=security.keys[suite])
                    for number, suite in enumerate(suites, 1)
                ),
                required=security.required,
            )
        )

    @property
    def codecs(self) -> tuple[int, ...]:
        """What to offer the other side: this side's codecs first in its order, so that nothing need be transcoded where
        the other side takes them too; then all others, for a call that is transcoded is better than none."""
        chosen = (self.target.payload_type,) if self.target else ()
        return tuple(dict.fromkeys((*(self._takes or chosen), *self._policy.codecs)))

    def answer_body(self, offer: SessionDescription, *, preferred: int | None = None) -> bytes:
        """Our answer to the peer's offer, in the ``preferred`` codec where it has it; its audio target is kept. Raises
        RemoteProtocolError (488)."""
        host, port = self._local
        description, self.target = sdp.answer(
            offer,
            host=host,
            port=port,
            session_id=self._session_id,
            version=self._next_version(),
            codecs=self._policy.codecs,
            preferred=preferred,
            security=self.security,
        )
        self._takes = tuple(codec for codec in sdp.offered_codecs(offer) if codec in self._policy.codecs)
        return self._describe(description)

    def accept(self, message: Request | Response) -> AudioTarget:
        """Where the peer's answer in ``message`` wants our audio; kept. Raises RemoteProtocolError (400, 415, 488)."""
        self.target = sdp.accept(
            parse_sdp(session_description(message)),
            codecs=self._policy.codecs,
            cryptos=self._cryptos,
            required=self.security.required,
        )
        return self.target

    def _next_version(self) -> int:
        self._version += 1
        return self._version

    def _describe(self, description: SessionDescription) -> bytes:
        self._cryptos = tuple(each for media in description.media for each in read_cryptos(media.attributes))
        self.described = description.serialize()
        return self.described


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

    def repeat(self, wire: Wire) -> bool:
        """Send a reliable response again where it is due; False where nobody has acknowledged it in time."""
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
        hops: int = 70,
        policy: MediaPolicy = PLAIN,
    ) -> None:
        super().__init__(speaker=speaker, flow=flow, contact=contact, local=local, tag=tag, hosts=hosts, policy=policy)
        self.name = name
        self.transaction_id = ""
        self.status: int | None = None
        self.cancelled = False
        self._uri, self._from, self._to = uri, from_, to
        self._credentials = credentials
        self._request: Request | None = None
        self._accepted: Response | None = None
        self._authorized: tuple[tuple[str, str], ...] = ()
        self._hops = hops
        self._branches = Branches()
        self._branch: Branch | None = None
        self._without: frozenset[str] = frozenset()
        self._demands: frozenset[str] = frozenset()
        self._codecs: tuple[int, ...] | None = None
        self._insists = False

    @property
    def settled(self) -> bool:
        """True once the INVITE has its final response, or failed."""
        return self.status is not None

    @property
    def pending(self) -> bool:
        """Whether the INVITE is sent and its final response may still come."""
        return bool(self.transaction_id) and not self.settled

    def start(self, wire: Wire, codecs: Iterable[int] | None = None) -> bool:
        """Send the INVITE with our offer; False, and nothing sent, where the policy allows none (``may_offer``)."""
        if not self.may_offer:
            return False
        self._codecs = None if codecs is None else tuple(codecs)
        self.session = SessionTimer(wire.session_s) if wire.session_s else None
        self._request = Request(
            method="INVITE",
            uri=self._uri,
            headers=Headers(
                [
                    ("Max-Forwards", str(self._hops)),
                    ("From", f"{self._from};tag={self._tag}"),
                    ("To", str(self._to)),
                    ("Call-ID", wire.token()),
                    ("CSeq", "1 INVITE"),
                    ("Contact", self.contact),
                    ("Allow", ALLOW),
                    ("User-Agent", AGENT),
                    *self._capabilities(wire),
                    ("Content-Type", SDP_TYPE),
                ]
            ),
            body=self.offer_body(self._codecs),
        )
        self.transaction_id = wire.send_request(self._request, self.flow)
        return True

    @property
    def security(self) -> Security:
        """As the policy has it, or no less than encryption where the peer refused plain audio with keys beside it."""
        security = super().security
        return replace(security, required=True) if self._insists else security

    def _capabilities(self, wire: Wire) -> list[tuple[str, str]]:
        """What we can do beyond RFC 3261, and what the peer wants us to demand."""
        timer = self.session.offer()[1:] if self.session is not None else ()
        able = [*([TIMER] if timer else []), *([reliable.OPTION] if wire.reliable else [])]
        fields = {
            "Supported": ", ".join(tag for tag in able if tag not in self._without),
            "Require": ", ".join(sorted(self._demands)),
        }
        return [*((name, value) for name, value in fields.items() if value), *timer]

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
    def asks(self) -> bool:
        """Until our INVITE is answered, and during each further one."""
        return not self.settled or super().asks

    @property
    def is_owed_answer(self) -> bool:
        """Until our offer is answered, reliably or with the 2xx, and during each further one."""
        first = not self.settled and not (self._branch is not None and self._branch.agreed)
        return first or self.awaits_answer or super().asks

    def drop(self, wire: Wire, *, status: int, reason: str = causes.NORMAL) -> None:  # noqa: ARG002
        """Cancel the INVITE, or BYE where it is answered."""
        if self.settled:
            self.bye(wire, reason=reason)
        else:
            self.cancel(wire)

    def take(self, request: Request, flow: Flow) -> None:
        """A request of whoever rings at the far end counts, until one of them has answered."""
        branch = self._branches.get(request.from_.tag)
        if branch is not None and not self.settled:
            self._turn(branch)
        super().take(request, flow)

    def is_surplus(self, response: Response) -> bool:
        """Whether somebody else at the far end, which forked our INVITE, answers as well (RFC 3261 13.2.2.4)."""
        answered = self.status is not None and 200 <= self.status < 300
        return answered and 200 <= response.status < 300 and response.to.tag is not None

    def turn_away(self, wire: Wire, response: Response) -> None:
        """End the session of a surplus 2xx; ours goes on."""
        if self._request is not None:
            branch = self._branches.get(response.to.tag)
            dialog = branch.dialog if branch is not None else Dialog.as_uac(self._request, response)
            dialog.receive_response(response)
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
            branch = self._branch_of(response, self._request)
            self._turn(branch)
            branch.dialog.receive_response(response)
            if response.body and reliable.number_of(response) is not None and not branch.agreed:
                branch.agreed = self._can_accept(response)
        if response.status >= 200:
            self.status = response.status
            self.ended = response.status >= 300
            self._accepted = response
            self._read_allow(response)

    def take_answer(self, response: Response) -> None:
        """Where the peer wants our audio: what it said reliably stands against all that follows (RFC 3261 13.2.1); else
        it is what ``response`` says, or an earlier one of the same dialog. Raises RemoteProtocolError (400, 415,
        488)."""
        if self._branch is not None and self._branch.agreed:
            return
        if response.body or self.target is None:
            self.accept(response)

    def attend(self, wire: Wire, response: Response) -> bool:
        """Do what a response to our INVITE asks of the leg alone: PRACK (RFC 3262 section 4), or the INVITE in another
        form (420, 421, 422). True where nobody else is to hear of it: it came again or too early, or the INVITE is on
        its way once more."""
        if response.status < 200:
            return not self._acknowledge_early(wire, response)
        return self._ask_differently(wire, response)

    def _acknowledge_early(self, wire: Wire, response: Response) -> bool:
        number = reliable.number_of(response)
        if number is None or self._request is None or self.settled or not wire.reliable:
            return True
        if response.to.tag is None or response.cseq.number != self._request.cseq.number:
            return False
        branch = self._branch_of(response, self._request)
        if branch.number is not None and number != branch.number + 1:
            return False
        branch.number = number
        rack = ("RAck", f"{number} {self._request.cseq.number} INVITE")
        self._run_errand(wire, Errand(dialog=branch.dialog, method="PRACK", extra=(rack,)))
        return True

    def _branch_of(self, response: Response, request: Request) -> Branch:
        tag = response.to.tag or ""
        return self._branches.get(tag) or self._branches.add(tag, Dialog.as_uac(request, response))

    def _turn(self, branch: Branch) -> None:
        """``branch`` is who speaks now; of the one that spoke before only what it said is kept."""
        if self._branch is not branch:
            if self._branch is not None:
                self._branch.target = self.target
            self._branch, self.dialog, self.target = branch, branch.dialog, branch.target

    def _can_accept(self, response: Response) -> bool:
        try:
            self.accept(response)
        except RemoteProtocolError:
            return False
        return True

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
        self.status, self.ended = None, False
        self._ask_again(wire, self._request.replace(headers=self._request.headers.appended(*self._authorized[0])))
        return True

    def _ask_differently(self, wire: Wire, response: Response) -> bool:
        """Answer 422 by the same INVITE with the interval that the peer demands (RFC 4028 section 7.3), 420 without the
        extensions it does not know, 421 with those it demands (RFC 3261 8.1.3.5, 21.4.16), 488 with encrypted audio
        and nothing else, where keys stood beside plain audio before; False where that is not possible."""
        if self._request is None or self.settled or self.cancelled or not self._adapt(response):
            return False
        headers = self._request.headers
        for name in ("Supported", "Require", "Session-Expires", "Min-SE", "Authorization", "Proxy-Authorization"):
            headers = headers.without(name)
        for name, value in self._capabilities(wire):
            headers = headers.appended(name, value)
        self._authorized = ()
        body = self.offer_body(self._codecs) if response.status in _NOT_ACCEPTABLE else self._request.body
        self._ask_again(wire, self._request.replace(headers=headers, body=body))
        return True

    def _adapt(self, response: Response) -> bool:
        """Whether what a refusal asks for can be done, and has not been done before."""
        if response.status == 420:
            refused = (reliable.options(response, "Unsupported") & EXTENSIONS) - self._without
            self._without |= refused
            if TIMER in refused:
                self.session = None
            return bool(refused)
        if response.status in _NOT_ACCEPTABLE:
            possible = bool(self._cryptos) and not self.security.required
            self._insists = self._insists or possible
            return possible
        if response.status == 421:
            demanded = reliable.options(response, "Require") - self._demands
            possible = bool(demanded) and demanded <= EXTENSIONS - self._without
            self._demands |= demanded if possible else frozenset()
            return possible
        return self.session is not None and self.session.too_small(response)

    def _ask_again(self, wire: Wire, request: Request) -> None:
        """Send the INVITE once more with the next number; whoever spoke for the first one is forgotten."""
        self._request = request.replace(headers=request.headers.with_value("CSeq", f"{request.cseq.number + 1} INVITE"))
        self._branches.clear()
        self._branch = self.dialog = self.target = None
        self.transaction_id = wire.send_request(self._request, self.flow)

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
