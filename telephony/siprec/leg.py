"""Our end of a recording session (RFC 7866): one dialog, two voices, nothing sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from duty.domain.transcripts import Speaker
from telephony.actions import MediaAddresses
from telephony.leg import Wire
from telephony.media_policy import MediaPolicy, fresh_keys
from telephony.serverleg import ServerLeg
from telephony.sip import sdp
from telephony.sip.flow import Flow
from telephony.sip.message import Request, Response
from telephony.sip.multipart import session_description
from telephony.sip.sdp import AudioTarget
from telephony.sip.session_description import SessionDescription, parse_sdp
from telephony.siprec.streams import Answered, Channel, Claim, answer_streams

OPTION = "siprec"
REQUEST_TYPE = "application/rs-metadata-request"
REASON = b"SRS Reason: metadata incomplete\r\n"


class RecordingLeg(ServerLeg):
    """The recording client's side. ``targets`` say where each channel's voice comes from, ``labels`` which streams
    send now, ``refused`` which of them have no channel."""

    def __init__(
        self,
        *,
        transaction_id: str,
        request: Request,
        flow: Flow,
        contact: str,
        addresses: MediaAddresses,
        tag: str,
        claim: Claim,
        policy: MediaPolicy,
    ) -> None:
        super().__init__(
            speaker=Speaker.CALLER,
            transaction_id=transaction_id,
            request=request,
            flow=flow,
            contact=f"{contact};+sip.srs",
            local=addresses.caller,
            tag=tag,
            policy=policy,
        )
        self.targets: dict[Speaker, AudioTarget] = {}
        self.labels: tuple[str, ...] = ()
        self.refused: tuple[str, ...] = ()
        self._claim = claim
        self._addresses = {Speaker.CALLER: addresses.caller, Speaker.OFFICER: addresses.officer}
        self._keys_of = {Speaker.CALLER: self._keys, Speaker.OFFICER: fresh_keys(policy)}
        self._description: SessionDescription | None = None

    def answer_body(self, offer: SessionDescription, *, preferred: int | None = None) -> bytes:  # noqa: ARG002
        """Our answer: each voice into its channel, receiving only. Raises RemoteProtocolError (488)."""
        self._description = self._take(offer).description
        return self._describe(self._description)

    def offer_body(
        self,
        codecs: Iterable[int] | None = None,  # noqa: ARG002
        *,
        direction: sdp.Direction = "sendrecv",  # noqa: ARG002
    ) -> bytes:
        """What was last agreed, for a client that asks for our offer."""
        if self._description is not None:
            again = replace(self._description.origin, version=str(self._next_version()))
            self._description = replace(self._description, origin=again)
            self._describe(self._description)
        return self.described

    def accept(self, message: Request | Response) -> AudioTarget:
        """Where the voices come from by the client's answer. Raises RemoteProtocolError (400, 415, 488)."""
        return next(iter(self._take(parse_sdp(session_description(message))).targets.values()))

    def ask_for_metadata(self, wire: Wire) -> bool:
        """Ask for a complete document (RFC 7866 section 8.2); False where that is not possible now."""
        if self.dialog is None or self.ended or self.session is None or self.inquiry is not None:
            return False
        if not self.takes_update:
            return False
        extra = (("Content-Disposition", "recording-session"), *self.session.refresh())
        self.inquiry = self.dialog.request("UPDATE", body=REASON, content_type=REQUEST_TYPE, extra=extra)
        self.inquiry_id = wire.send_request(self.inquiry, self.flow)
        return True

    def _take(self, theirs: SessionDescription) -> Answered:
        transport = self.flow.transport
        answered = answer_streams(
            theirs,
            channels={
                speaker: Channel(local=local, security=self._policy.security(transport, self._keys_of[speaker]))
                for speaker, local in self._addresses.items()
            },
            codecs=self._policy.codecs,
            claim=self._claim,
            session_id=self._session_id,
            version=self._next_version(),
        )
        self.targets, self.labels, self.refused = dict(answered.targets), answered.labels, answered.refused
        self.target = next(iter(self.targets.values()), self.target)
        return answered

    def _respond(
        self,
        wire: Wire,
        status: int,
        body: bytes,
        extra: tuple[tuple[str, str], ...] = (),
        *,
        reliably: bool = False,
    ) -> None:
        super()._respond(wire, status, body, (("Supported", OPTION), *extra), reliably=reliably)
