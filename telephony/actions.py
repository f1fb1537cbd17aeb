"""What the pure core asks of the edge, and what the edge answers: the seam between protocol logic and I/O."""

from __future__ import annotations

from dataclasses import dataclass, field

from duty.domain.calls import CallEventKind, Direction, Outcome, Purpose
from duty.domain.happenings import Json
from duty.domain.linechecks import Finding
from duty.domain.transcripts import Speaker
from telephony.guard import Way
from telephony.probe_evidence import OurSide
from telephony.sip.flow import Transport
from telephony.sip.sdp import AudioTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaAddresses:
    """Where each side is to send its audio: host and RTP port on our side."""

    caller: tuple[str, int]
    officer: tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCall:
    """Write the call into the book and open its media; answer with ``Switchboard.call_opened`` when both
    are done.

    100 Trying leaves only after that answer (requirement 6.1-a). ``recording_session`` is the recording client's id of
    a call that is forked to us (RFC 7865), None for one that passes through us.
    """

    call_id: str
    line_number: str
    direction: Direction
    caller_number: str
    callee_number: str
    caller_display: str
    trust: str
    sip_call_id: str
    source: str
    command_id: int | None = None
    purpose: Purpose = Purpose.DUTY
    recording_session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Write one happening of a call; the edge stamps the instant and keeps the order."""

    call_id: str
    kind: CallEventKind
    outcome: Outcome | None = None
    data: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportForward:
    """Write a refused or marked forward with its evidence, and alarm."""

    call_id: str | None
    line_number: str
    way: Way
    target: str
    source: str
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepEvidence:
    """Keep what ``source`` said of the call as it came."""

    call_id: str
    source: str
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRemote:
    """Send this side's audio to ``target`` from now on."""

    call_id: str
    speaker: Speaker
    target: AudioTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """Let the two sides hear each other."""

    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Play a prompt to one side; answer with ``Switchboard.announcement_ended``."""

    call_id: str
    prompt: str
    speaker: Speaker = Speaker.CALLER


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayRingback:
    """Let one side hear that the other is being rung."""

    call_id: str
    speaker: Speaker


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """``speaker`` has put the call on hold: neither side hears the other, and the other side hears music where that is
    wanted. The recording goes on."""

    call_id: str
    speaker: Speaker
    music: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """``speaker`` is back."""

    call_id: str
    speaker: Speaker


@dataclass(frozen=True, slots=True, kw_only=True)
class TellKey:
    """``speaker`` pressed a key by INFO: note it as any other, and tell the other side where it ``passes``."""

    call_id: str
    speaker: Speaker
    key: str
    duration_ms: int
    passes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakToken:
    """Press and sound ``digits`` to the caller's side, so that a probe knows us by them."""

    call_id: str
    digits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPin:
    """Find out whose PIN was pressed; answer with ``Switchboard.pin_checked``. It must not be written anywhere."""

    call_id: str
    line_number: str
    pin: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeEnded:
    """The call of an expected probe is over."""

    check_id: int
    ours: OurSide


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotCheckEnded:
    """A spot check is over."""

    check_id: int
    finding: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class StopPlaying:
    """Stop what is being played to either side."""

    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseMedia:
    """The call is over: seal its recording and give its ports back. ``signalling`` names the transport of each side,
    by speaker."""

    call_id: str
    signalling: dict[Speaker, Transport] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportComponent:
    """Tell the state of a phone or trunk; ``bindings`` go along when a phone's registrations changed."""

    line_number: str
    kind: str
    name: str
    state: str
    reason: str = ""
    bindings: tuple[dict[str, Json], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTrunks:
    """The line's PBXs go by these names from now on; each is reported after this."""

    line_number: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAttack:
    """Alarm: ``source`` was refused ``failures`` times and gets no answer for ``seconds``."""

    source: str
    failures: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishCommand:
    """A command of the console ended without becoming a call."""

    command_id: int
    result: str


Action = (
    OpenCall
    | Record
    | ReportForward
    | KeepEvidence
    | SetRemote
    | Bridge
    | Announce
    | PlayRingback
    | Hold
    | Resume
    | TellKey
    | SpeakToken
    | CheckPin
    | ProbeEnded
    | SpotCheckEnded
    | StopPlaying
    | ReleaseMedia
    | ReportComponent
    | ReportTrunks
    | ReportAttack
    | FinishCommand
)
