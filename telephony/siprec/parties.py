"""Who is who in a recorded call: which participant is the duty line's, who is on the other side, and who dialled."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from duty.domain.calls import Direction
from duty.domain.numbers import NumberPlan, normalise, same_subscriber
from duty.domain.transcripts import Speaker
from telephony.line import LineProfile
from telephony.sip.errors import RemoteProtocolError
from telephony.sip.uri import SipUri, TelUri, parse_uri
from telephony.siprec.metadata import Metadata, Participant

MAX_SHOWN = 400
"""Characters of a list of participants in the book."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNumbers:
    """The numbers by which a recording client may call the line: its own, its phones', and those configured."""

    numbers: tuple[str, ...]
    plan: NumberPlan

    @classmethod
    def of(cls, line: LineProfile) -> OwnNumbers:
        """Those of ``line``, for which a recording client is configured."""
        further, plan = (line.siprec.numbers, line.siprec.plan) if line.siprec is not None else ((), NumberPlan())
        return cls(numbers=(line.number, *line.extensions, *further), plan=plan)

    def have(self, participant: Participant) -> bool:
        """Whether the participant is the line's."""
        number = number_of(participant)
        written = normalise(number, self.plan)
        return any(number == own or same_subscriber(written, normalise(own, self.plan)) for own in self.numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Who is in the call. ``officer`` is the line's participant, None once it has left; ``others`` everybody else,
    ``direction`` as the room sees it. ``assumed`` where no participant bears a number of the line, so that the second
    of two is taken for the officer."""

    officer: Participant | None
    others: tuple[Participant, ...]
    direction: Direction
    assumed: bool = False

    @property
    def other(self) -> Participant | None:
        """The other side, the first where there are several."""
        return self.others[0] if self.others else None

    def speaker(self, metadata: Metadata, label: str) -> Speaker | None:
        """Whose channel the stream with that label belongs to; None where nobody is said to speak into it. One that
        several mix is the caller's."""
        speaking = metadata.speakers(label)
        if not speaking:
            return None
        return Speaker.OFFICER if self.officer and speaking == {self.officer.participant_id} else Speaker.CALLER

    def both_speak(self, metadata: Metadata, labels: Iterable[str]) -> bool:
        """Whether the metadata say that both sides speak into the streams with those labels."""
        speaking = frozenset[str]().union(*(metadata.speakers(label) for label in labels))
        others = {each.participant_id for each in self.others}
        return self.officer is not None and self.officer.participant_id in speaking and bool(others & speaking)

    def shown(self) -> str:
        """Everybody as the book shows them, the other side first."""
        people = (*self.others, self.officer) if self.officer is not None else self.others
        return "; ".join(map(_shown, people))[:MAX_SHOWN]


def find_parties(metadata: Metadata, own: OwnNumbers, before: Parties | None = None) -> Parties:
    """Who is who now. ``before`` is who was: the direction of a call stays, and so does an assumed officer."""
    present = metadata.present
    officer = next((each for each in present if own.have(each)), None)
    assumed = before.assumed if before is not None else officer is None and len(present) > 1
    if assumed:
        known = before.officer.participant_id if before is not None and before.officer is not None else None
        officer = present[1] if before is None else next((p for p in present if p.participant_id == known), None)
    others = tuple(each for each in present if each is not officer)
    direction = before.direction if before is not None else _direction(present, officer, assumed=assumed)
    return Parties(officer=officer, others=others, direction=direction, assumed=assumed)


def number_of(participant: Participant | None) -> str:
    """The number, or user, in the participant's address; "" where it has none."""
    if participant is None:
        return ""
    with suppress(RemoteProtocolError):
        uri = parse_uri(participant.aor)
        if isinstance(uri, SipUri):
            return (uri.user or "").partition(";")[0]
        if isinstance(uri, TelUri):
            return uri.digits
    return participant.aor if participant.aor.strip("+").isdigit() else ""


def _direction(present: tuple[Participant, ...], officer: Participant | None, *, assumed: bool) -> Direction:
    """The caller is who is said to have called, else who was told of first."""
    if officer is None or assumed:
        return Direction.INBOUND
    calling = next((each for each in present if each.calling), None)
    if calling is None and officer.calling is not False:
        calling = present[0]
    return Direction.OUTBOUND if calling is officer else Direction.INBOUND


def _shown(participant: Participant) -> str:
    name = participant.name.strip('"')
    return f"{name} <{participant.aor}>" if name and name != number_of(participant) else participant.aor or name
