"""One call of the built-in softphone, placed or taken: its progress, its audio, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from telephony.clientleg import ClientLeg
from telephony.leg import ALLOW, SDP_TYPE, Wire
from telephony.rtp.g711 import SAMPLE_RATE, Samples
from telephony.serverleg import ServerLeg
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow
from telephony.sip.headers import NameAddr
from telephony.sip.message import Request, Response, make_response
from telephony.sip.multipart import session_description
from telephony.sip.session_description import parse_sdp
from telephony.sip.uri import SipUri, TelUri
from telephony.softphone_media import AudioStream, Heard


class SoftphoneError(Exception):
    """Root of what the softphone raises."""


class CallEndedError(SoftphoneError):
    """The call ended before it came as far as was waited for; ``end`` says by whom and why."""

    def __init__(self, end: CallEnd) -> None:
        super().__init__(f"{end.status} {end.reason}".strip())
        self.end = end


class NotNowError(SoftphoneError):
    """The caller's fault: the call's progress does not allow the act."""


class Progress(StrEnum):
    """How far a call has come."""

    CALLING = "calling"
    ARRIVED = "arrived"
    RINGING = "ringing"
    TALKING = "talking"
    ENDED = "ended"


_NEXT: dict[Progress, frozenset[Progress]] = {
    Progress.CALLING: frozenset({Progress.RINGING, Progress.TALKING, Progress.ENDED}),
    Progress.ARRIVED: frozenset({Progress.RINGING, Progress.TALKING, Progress.ENDED}),
    Progress.RINGING: frozenset({Progress.TALKING, Progress.ENDED}),
    Progress.TALKING: frozenset({Progress.ENDED}),
    Progress.ENDED: frozenset(),
}
_ORDER = {progress: place for place, progress in enumerate(Progress)}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnd:
    """Who ended the call. ``status`` is the final SIP status, 200 for a BYE, 487 for a CANCEL, 408 for silence."""

    by: Literal["us", "peer", "network"]
    status: int
    reason: str


class SoftphoneCall:
    """A call as its user sees it. Methods are called on the phone's event loop."""

    def __init__(
        self,
        *,
        leg: ClientLeg | ServerLeg,
        peer: NameAddr,
        wire: Wire,
        audio: AudioStream,
        told: Callable[[SoftphoneCall, Progress], None],
    ) -> None:
        self.leg = leg
        self.peer = peer
        self.audio = audio
        self.progress = Progress.CALLING if isinstance(leg, ClientLeg) else Progress.ARRIVED
        self.end: CallEnd | None = None
        self.ended_at = 0.0
        self.status = 0
        self._wire, self._told = wire, told
        self._furthest = _ORDER[self.progress]
        self._loop = asyncio.get_running_loop()
        self._passed = {progress: asyncio.Event() for progress in Progress}
        self._enter_marks(self.progress)

    # What its user does

    @property
    def number(self) -> str:
        """The other side's number or user name."""
        uri = self.peer.uri
        if isinstance(uri, TelUri):
            return uri.digits
        return (uri.user or "") if isinstance(uri, SipUri) else ""

    @property
    def sip_call_id(self) -> str:
        """The Call-ID header; empty while a call we placed got no answer that makes a dialog."""
        if isinstance(self.leg, ServerLeg):
            return self.leg.request.call_id
        return self.leg.dialog.call_id if self.leg.dialog is not None else ""

    @property
    def position_s(self) -> float:
        """How old our stream is: what is said now is said at this moment, in s."""
        return self.audio.speech.position / SAMPLE_RATE

    async def reached(self, progress: Progress) -> None:
        """Wait until the call is at least as far. Raises CallEndedError where it ends before."""
        await self._passed[progress].wait()
        if progress is not Progress.ENDED and self._furthest < _ORDER[progress] and self.end is not None:
            raise CallEndedError(self.end)

    def ring(self) -> None:
        """Let an arriving caller hear that it rings: 180. Raises NotNowError."""
        self._arriving(Progress.ARRIVED).progress(self._wire, 180)
        self._enter(Progress.RINGING)

    def answer(self) -> None:
        """Take an arriving call: 200. Raises NotNowError."""
        leg = self._arriving(Progress.ARRIVED, Progress.RINGING)
        leg.answer(self._wire)
        self._enter(Progress.TALKING)
        self._hear()

    def refuse(self, status: int = 486) -> None:
        """Turn an arriving call down with a final status of 300 to 699. Raises NotNowError."""
        self._arriving(Progress.ARRIVED, Progress.RINGING).refuse(self._wire, status)
        self._finish(CallEnd(by="us", status=status, reason="refused"))

    def say(self, samples: Samples, *, at_s: float | None = None) -> float:
        """Say 8 kHz ``samples``, ``at_s`` s after the stream began or after what is queued; the s at which it ends.

        Raises NotNowError when nobody is on the line, ValueError for a moment that has passed or is taken.
        """
        self._talking()
        at = None if at_s is None else round(at_s * SAMPLE_RATE)
        return self.audio.speech.say(samples, at=at) / SAMPLE_RATE

    async def until(self, at_s: float) -> None:
        """Wait until the stream is ``at_s`` s old. Raises CallEndedError where the call ends before."""
        await self.audio.until(round(at_s * SAMPLE_RATE))
        if self.end is not None:
            raise CallEndedError(self.end)

    async def press(self, digits: str) -> None:
        """Press keys and wait until they are sent (RFC 4733). Raises NotNowError where the peer reads none,
        ValueError for what is no key, CallEndedError."""
        self._talking()
        if not self.audio.accepts_digits:
            raise NotNowError("the peer takes no telephone-events")
        await self.until(self.audio.speech.press(digits) / SAMPLE_RATE)

    def heard(self) -> Heard:
        """What the other side said, up to now or to the end."""
        return self.audio.heard()

    def hang_up(self) -> None:
        """End the call as its progress asks: CANCEL, 480, or BYE; nothing where it has ended."""
        if self.end is not None:
            return
        self.leg.drop(self._wire, status=480)
        status, reason = (200, "hung up") if self.progress is Progress.TALKING else (487, "given up")
        self._finish(CallEnd(by="us", status=status, reason=reason))

    # What the phone hands over

    def receive_response(self, response: Response, flow: Flow) -> None:
        """A response to the INVITE we sent. Raises RemoteProtocolError for one that makes no dialog."""
        leg = self.leg
        assert isinstance(leg, ClientLeg)  # noqa: S101 - only those send an INVITE
        if self.progress in (Progress.TALKING, Progress.ENDED):
            self._answered_late(leg, response, flow)
            return
        leg.receive(response, flow)
        self.status = response.status
        if response.status < 200:
            if response.status >= 180 and self.progress is Progress.CALLING:
                self._enter(Progress.RINGING)
            if response.body and response.status > 100:
                self._listen_early(leg, response)
        elif response.status < 300:
            leg.acknowledge(self._wire)
            leg.accept(response)
            self._enter(Progress.TALKING)
            self._hear()
        elif not (response.status in (401, 407) and leg.retry_with_credentials(self._wire, response)):
            self._finish(CallEnd(by="peer", status=response.status, reason=response.reason))

    def receive_request(self, transaction_id: str, request: Request, flow: Flow) -> None:
        """A request within the dialog. Raises RemoteProtocolError with what to answer."""
        self.leg.take(request, flow)
        if request.method == "BYE":
            self._wire.respond(transaction_id, make_response(request, 200))
            self.leg.ended = True
            self._finish(CallEnd(by="peer", status=200, reason="hung up"))
        elif request.method in ("INVITE", "UPDATE") and request.body:
            body = self.leg.answer_body(parse_sdp(session_description(request)))
            self._answer(transaction_id, request, body)
            self._hear()
        elif request.method == "INVITE":
            self._answer(transaction_id, request, self.leg.offer_body())
        elif request.method in ("UPDATE", "INFO", "OPTIONS"):
            self._answer(transaction_id, request, b"")
        else:
            raise RemoteProtocolError(405, "Method Not Allowed")

    def cancelled(self) -> None:
        """The peer gave up before we answered."""
        if self.end is None and isinstance(self.leg, ServerLeg) and not self.leg.concluded:
            self.leg.refuse(self._wire, 487)
            self._finish(CallEnd(by="peer", status=487, reason="cancelled"))

    def acknowledged(self, request: Request) -> None:
        """The ACK to our 200; it carries the answer where the offer was ours. Raises RemoteProtocolError."""
        if self.leg.target is None and request.body:
            self.leg.accept(request)
            self._hear()

    def lost(self, reason: str) -> None:
        """The peer does not answer any more, or speaks no SIP that we understand."""
        if self.end is None:
            self.leg.drop(self._wire, status=480)
            self._finish(CallEnd(by="network", status=408, reason=reason))

    # Within

    def _arriving(self, *allowed: Progress) -> ServerLeg:
        if not isinstance(self.leg, ServerLeg) or self.progress not in allowed:
            raise NotNowError(f"a call that is {self.progress} cannot be rung, answered or refused by us")
        return self.leg

    def _talking(self) -> None:
        if self.progress is not Progress.TALKING:
            raise NotNowError(f"nobody is on the line: {self.progress}")

    def _answer(self, transaction_id: str, request: Request, body: bytes) -> None:
        extra = [("Contact", self.leg.contact), ("Allow", ALLOW)]
        content_type = SDP_TYPE if body else None
        response = make_response(request, 200, extra=extra, body=body, content_type=content_type)
        self._wire.respond(transaction_id, response)

    def _answered_late(self, leg: ClientLeg, response: Response, flow: Flow) -> None:
        """A 2xx that crossed our CANCEL or came by another branch wants its ACK and a BYE (RFC 3261 13.2.2.4)."""
        if leg.is_surplus(response):
            leg.turn_away(self._wire, response)
        elif 200 <= response.status < 300:
            leg.receive(response, flow)
            leg.acknowledge(self._wire)
            leg.bye(self._wire)
        elif response.status >= 300:
            leg.status = response.status

    def _listen_early(self, leg: ClientLeg, response: Response) -> None:
        """Early media: an announcement, or ringing tone from the far side."""
        if leg.target is None:
            leg.accept(response)
            self._hear()

    def _hear(self) -> None:
        if self.leg.target is not None and self.end is None:
            self.audio.send_to(self.leg.target)

    def _enter(self, progress: Progress) -> None:
        if progress not in _NEXT[self.progress]:
            raise NotNowError(f"no way from {self.progress} to {progress}")
        self.progress = progress
        self._enter_marks(progress)
        self._told(self, progress)

    def _enter_marks(self, progress: Progress) -> None:
        if progress is not Progress.ENDED:
            self._furthest = _ORDER[progress]
        for one, passed in self._passed.items():
            if _ORDER[one] <= _ORDER[progress]:
                passed.set()

    def _finish(self, end: CallEnd) -> None:
        if self.end is None:
            self.end, self.ended_at = end, self._loop.time()
            self.audio.close()
            self._enter(Progress.ENDED)
