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
from telephony.media_policy import MediaPolicy, fresh_keys
from telephony.sip import causes, reliable, sdp
from telephony.sip.dialog import Dialog
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.message import Request, Response
from telephony.sip.multipart import session_description
from telephony.sip.sdp import AudioTarget, Security
from telephony.sip.security_description import OFFERED, CryptoAttribute, read_cryptos
from telephony.sip.session_description import SessionDescription, parse_sdp
from telephony.sip.session_timer import OPTION as TIMER
from telephony.sip.session_timer import SessionTimer
from telephony.sip.target import dialog_flow

ALLOW = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK"
EXTENSIONS = frozenset({TIMER, reliable.OPTION})
"""Option tags that a Require may name."""
SDP_TYPE = "application/sdp"
AGENT = "dutyline"


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
    code = 301 if reason == sdp.WRONG_FAMILY else 399
    return (("Warning", f'{code} {AGENT} "{reason}"'),) if status == 488 and reason else ()


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
        self.flow = dialog_flow(request, self.dialog.target, self.dialog.routes, flow)
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
            host=self._local[0],
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
