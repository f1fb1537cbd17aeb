"""A recorded call: it goes elsewhere, and a recording client forks it to us (RFC 7866).

We send no voice and can refuse nothing. What the book says of such a call is what the client's metadata say of it, and
each of their documents is kept as it came. The call takes no place on the line, for it rings none of our phones.
"""

from __future__ import annotations

from duty.domain.calls import CallEventKind, Direction, Outcome
from duty.domain.transcripts import Speaker
from telephony import guard
from telephony.actions import KeepEvidence, MediaAddresses, SetRemote
from telephony.arrival import Arrival
from telephony.call import Abandoned, Call, Phase
from telephony.clientleg import ClientLeg
from telephony.leg import EXTENSIONS, Leg, Wire
from telephony.line import LineProfile
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Flow, Transport
from telephony.sip.message import Request, Response
from telephony.siprec.intake import Intake, metadata_in, without_metadata
from telephony.siprec.leg import OPTION, RecordingLeg
from telephony.siprec.metadata import Metadata, parse_metadata
from telephony.siprec.parties import OwnNumbers, Parties, find_parties, number_of

MAX_KEPT = 200
"""Documents of one call that are kept as evidence."""
_TELLING = frozenset({"INVITE", "UPDATE", "BYE"})
_CLIENTS_BYE = "caller_hung_up"


class RecordedCall(Call):
    """A recording client tells of a call on the line."""

    takes_place = False
    watches_keys = False
    extensions = EXTENSIONS | {OPTION}

    def __init__(
        self,
        *,
        call_id: str,
        line: LineProfile,
        wire: Wire,
        arrival: Arrival,
        intake: Intake,
    ) -> None:
        super().__init__(call_id=call_id, line=line, wire=wire, transaction_id=arrival.transaction_id)
        self.invite, self._arrival = arrival.request, arrival
        self.metadata: Metadata | None = intake.metadata
        self.parties: Parties = intake.parties
        self.direction = intake.parties.direction
        self._own = OwnNumbers.of(line)
        self._kept = 0
        self._shown = ""
        self._paused: frozenset[Speaker] = frozenset()
        self._heard: set[Speaker] = set()
        self._refused: set[str] = set()
        self._had_officer = False
        self._moved = False
        self._asked = False

    @property
    def client_leg(self) -> RecordingLeg:
        """The recording client's side, once opened."""
        assert isinstance(self.network, RecordingLeg)  # noqa: S101 - set by opened() before any other event
        return self.network

    def transports(self) -> dict[Speaker, Transport]:
        """The recording client's, for both sides: nothing is known of how they reach it."""
        return dict.fromkeys(Speaker, self._arrival.flow.transport)

    def client_legs(self) -> list[ClientLeg]:
        """None: no phone is rung."""
        return []

    def opened(self, addresses: MediaAddresses, now: float) -> None:  # noqa: ARG002
        """Take the session: whoever forks a call waits for nobody."""
        self._addresses = addresses
        self.network = RecordingLeg(
            transaction_id=self.transaction_id,
            request=self.invite,
            flow=self._arrival.flow,
            contact=self._arrival.contact,
            addresses=addresses,
            tag=self._wire.token(),
            claim=self._claim,
            policy=self.line.trunk_media,
        )
        if self.abandon():
            return
        self.client_leg.trying(self._wire)
        for mark in guard.examine_arrival(self.invite):
            self.mark(mark)
        self._keep(metadata_in(self.invite), self._arrival.flow)
        self._show_parties()
        try:
            self.client_leg.read_offer()
            if self.client_leg.waits_for_answer:
                raise RemoteProtocolError(488, "A recording session begins with an offer")
        except RemoteProtocolError as error:
            self.client_leg.refuse(self._wire, error.status, error.reason)
            self.finish(Outcome.FAILED, reason=f"offer_refused: {error.reason}")
            return
        self.enter(Phase.RINGING)
        self.client_leg.answer(self._wire)
        self.hear(self.client_leg)
        self._consider_answer()

    # What the client tells

    def request(self, leg: Leg, transaction_id: str, request: Request, flow: Flow) -> None:
        """A request within the dialog; metadata in it are taken before its offer, which they explain."""
        if request.method in _TELLING and self.live and not leg.ended:
            try:
                self._told(metadata_in(request), flow)
            except RemoteProtocolError as error:
                if request.method != "BYE":
                    self._answer(transaction_id, request, error.status, error.reason)
                    return
            request = without_metadata(request)
        super().request(leg, transaction_id, request, flow)
        if self.live:
            self._consider_answer()
            self._ask_where_unclear()

    def acknowledged(self, leg: Leg, request: Request) -> None:
        """The session stands; where nothing was told of the call, it is asked for."""
        super().acknowledged(leg, request)
        if self.live:
            self._ask_where_unclear()

    def heard(self, speaker: Speaker) -> None:
        """The first voice has come in that channel."""
        self._heard.add(speaker)
        self._consider_answer()

    def _told(self, raw: bytes, flow: Flow) -> None:
        if not raw:
            return
        later = parse_metadata(raw)
        self.metadata = later if self.metadata is None else self.metadata.updated(later)
        before, self.parties = self.parties, self._parties(self.metadata)
        self._asked = False if later.mode == "complete" else self._asked
        self._keep(raw, flow)
        self._show_parties()
        self._look_for_transfer(before)

    def _parties(self, metadata: Metadata) -> Parties:
        """Who is who now. What was found of a call that nothing was told of is no more than its direction."""
        known = self.parties
        return find_parties(metadata, self._own, known if known.officer or known.others else None)

    def _claim(self, label: str) -> Speaker | None:
        return self.parties.speaker(self.metadata, label) if self.metadata is not None else None

    def _keep(self, raw: bytes, flow: Flow) -> None:
        if raw and self._kept < MAX_KEPT:
            self._kept += 1
            self.actions.append(KeepEvidence(call_id=self.call_id, source=flow.remote[0], raw=raw))

    def _show_parties(self) -> None:
        shown = self.parties.shown()
        if shown != self._shown:
            self._shown = shown
            other = self.parties.other
            name = other.name.strip('"') if other is not None else ""
            self.record(CallEventKind.PARTIES, parties=shown, other_number=number_of(other), other_name=name)

    def _look_for_transfer(self, before: Parties) -> None:
        """The line's participant has left, and two others talk on: the call was moved, or set up to be (6.1-e)."""
        self._had_officer = self._had_officer or before.officer is not None
        if self._moved or not self._had_officer or self.parties.officer is not None or len(self.parties.others) < 2:
            return
        self._moved = True
        self.mark(guard.attempt(guard.Way.RECORDED_TRANSFER, self.parties.others[-1].aor))

    def _ask_where_unclear(self) -> None:
        """Ask for the whole metadata (RFC 7866 section 8.2) where none came, or they speak of what was never told."""
        unclear = self.metadata is None or self.metadata.dangling
        if unclear and not self._asked and self.client_leg.ask_for_metadata(self._wire):
            self._asked = True

    # What comes of it

    def hear(self, leg: Leg) -> None:  # noqa: ARG002 - both voices come by the one dialog
        """Take each voice from where the client now sends it; a pause is noted."""
        targets = self.client_leg.targets
        for speaker, target in targets.items():
            self.actions.append(SetRemote(call_id=self.call_id, speaker=speaker, target=target))
        paused = frozenset(speaker for speaker, target in targets.items() if target.direction == "inactive")
        for speaker in sorted(paused - self._paused):
            self.record(CallEventKind.HELD, by=speaker.value)
        for speaker in sorted((self._paused & targets.keys()) - paused):
            self.record(CallEventKind.RESUMED, by=speaker.value)
        self._paused = paused
        for label in self.client_leg.refused:
            if label not in self._refused:
                self._refused.add(label)
                self.record(CallEventKind.STREAM_REFUSED, label=label[:40])

    def _keep_company(self, leg: Leg) -> None:
        """Nobody here can play anything to anybody."""

    def _consider_answer(self) -> None:
        """Answered is a call of which the metadata say that both sides speak, or both are heard."""
        if self.phase is not Phase.RINGING or not self.client_leg.concluded:
            return
        said = self.metadata is not None and self.parties.both_speak(self.metadata, self.client_leg.labels)
        if said or self._heard == set(Speaker):
            self.talk(extension=number_of(self.parties.officer))

    # How it ends

    def finish(self, outcome: Outcome, *, reason: str) -> None:
        """The call is over; the client's BYE ends the recording, whoever hung up."""
        if reason == _CLIENTS_BYE:
            reason = "recording_ended"
            if not self.answered:
                outcome = Outcome.MISSED if self.direction is Direction.INBOUND else Outcome.CANCELLED
        super().finish(outcome, reason=reason)

    def cancelled(self, now: float) -> None:  # noqa: ARG002
        """The client gives up before we have answered."""
        if self.phase is Phase.OPENING:
            self.abandoned = Abandoned(status=487, outcome=Outcome.CANCELLED, reason="caller_cancelled")
        elif not self.client_leg.concluded:
            self.client_leg.refuse(self._wire, 487)
            self.finish(Outcome.CANCELLED, reason="caller_cancelled")

    def time_out(self, now: float) -> None:
        """Nothing is waited for."""

    def leg_responded(self, leg: ClientLeg, response: Response, flow: Flow, now: float) -> None:
        """Nobody was called."""

    def leg_failed(self, leg: ClientLeg, now: float) -> None:
        """Nobody was called."""
