"""A call on the duty line: its states, its outcomes, and which may follow which (requirement 6.1-a)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from duty.domain.errors import BrokenState


class Direction(StrEnum):
    """Seen from the duty room: 来电 or 去电."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Purpose(StrEnum):
    """Why the call was made: duty business, or a probe of ours (拨测, 查岗), which leaves no draft nor pending item."""

    DUTY = "duty"
    LINE_CHECK = "line_check"
    SPOT_CHECK = "spot_check"


class CallState(StrEnum):
    """Where a call is now."""

    ARRIVED = "arrived"
    QUEUED = "queued"
    RINGING = "ringing"
    ANSWERED = "answered"
    ENDED = "ended"


class Outcome(StrEnum):
    """What became of an ended call."""

    ANSWERED = "answered"
    MISSED = "missed"
    BUSY = "busy"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"
    FAILED = "failed"
    REFUSED = "refused"
    INTERRUPTED = "interrupted"

    @property
    def needs_follow_up(self) -> bool:
        """True where nobody of the duty room spoke with the caller: such a call becomes a pending item."""
        return self not in (Outcome.ANSWERED, Outcome.REFUSED)


class CallEventKind(StrEnum):
    """What happened to a call, one row each, in order, never altered."""

    ARRIVED = "arrived"
    QUEUED = "queued"
    RINGING = "ringing"
    LEG_STARTED = "leg_started"
    LEG_FAILED = "leg_failed"
    ANSWERED = "answered"
    ANNOUNCEMENT = "announcement"
    HELD = "held"
    RESUMED = "resumed"
    DTMF = "dtmf"
    FORWARD_BLOCKED = "forward_blocked"
    FORWARD_MARKED = "forward_marked"
    FORWARD_ALLOWED = "forward_allowed"
    MEDIA_LOST = "media_lost"
    FAX_DETECTED = "fax_detected"
    PARTIES = "parties"
    REROUTED = "rerouted"
    STREAM_REFUSED = "stream_refused"
    CONTINUED = "continued"
    ENDED = "ended"
    SALVAGED = "salvaged"
    ARCHIVED = "archived"
    RAW_RELEASED = "raw_released"
    WAV_RELEASED = "wav_released"
    RECORDING_REMOVED = "recording_removed"
    ADOPTED = "adopted"
    SECRECY_MARKED = "secrecy_marked"
    SECRECY_SEALED = "secrecy_sealed"
    SECRECY_OPENED = "secrecy_opened"
    SECRECY_LIFTED = "secrecy_lifted"


_NEXT: dict[tuple[CallState, CallEventKind], CallState] = {
    (CallState.ARRIVED, CallEventKind.QUEUED): CallState.QUEUED,
    (CallState.ARRIVED, CallEventKind.RINGING): CallState.RINGING,
    (CallState.QUEUED, CallEventKind.RINGING): CallState.RINGING,
    (CallState.ARRIVED, CallEventKind.ANSWERED): CallState.ANSWERED,
    (CallState.QUEUED, CallEventKind.ANSWERED): CallState.ANSWERED,
    (CallState.RINGING, CallEventKind.ANSWERED): CallState.ANSWERED,
    (CallState.ARRIVED, CallEventKind.ENDED): CallState.ENDED,
    (CallState.QUEUED, CallEventKind.ENDED): CallState.ENDED,
    (CallState.RINGING, CallEventKind.ENDED): CallState.ENDED,
    (CallState.ANSWERED, CallEventKind.ENDED): CallState.ENDED,
}

_MOVING = frozenset({CallEventKind.QUEUED, CallEventKind.RINGING, CallEventKind.ANSWERED, CallEventKind.ENDED})


def next_state(state: CallState, kind: CallEventKind) -> CallState:
    """The state after ``kind``. Kinds that only add detail leave the state as it is.

    Raises BrokenState for a pair the table lacks: an answered call cannot ring again.
    """
    if kind not in _MOVING:
        return state
    if kind is CallEventKind.RINGING and state is CallState.RINGING:
        return state
    try:
        return _NEXT[state, kind]
    except KeyError:
        raise BrokenState("call_state", state=state, event=kind) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCall:
    """What is known of a call when its INVITE arrives.

    ``call_id`` is ours (32 hex digits); ``sip_call_id`` is the peer's header. ``caller_number`` and ``callee_number``
    are as signalled, not yet normalised; ``trust`` says how far the number may be believed (``asserted`` for
    P-Asserted-Identity from the trunk, ``from`` for a bare From). ``recording_session`` is the recording client's id of
    a call that was forked to us (RFC 7865), "" where it gave none, None for a call that passes through us.
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
    arrived_at: datetime
    purpose: Purpose = Purpose.DUTY
    recording_session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallHappening:
    """One event of one call. ``data`` holds small JSON values (extension, SIP status, Q.850 cause, digit, reason)."""

    call_id: str
    kind: CallEventKind
    at: datetime
    outcome: Outcome | None = None
    data: dict[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LegQuality:
    """What the media of one side were like: packet counts, interarrival jitter and round trip in ms (RFC 3550 6.4),
    ``one_way`` where this side sent nothing while the other did, ``strays`` packets from foreign addresses.
    ``encryption`` is the suite that sealed them (RFC 4568), "" for none, ``undeciphered`` what was not sealed by it.
    ``signalling`` is the transport of this side's signalling at the end, "" where it is not known."""

    call_id: str
    speaker: str
    codec: str
    packets: int
    lost: int
    jitter_ms: float
    round_trip_ms: float | None
    strays: int
    one_way: bool
    encryption: str = ""
    undeciphered: int = 0
    signalling: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingFacts:
    """What the recorder sealed: ``path`` relative to the recordings root, ``sha256`` of the stereo WAV, length in
    seconds, samples per channel at 8 kHz, gaps as (channel, start sample, samples), reason of damage or None, ``chain``
    the SHA-256 of the last link of its chain of segments."""

    call_id: str
    path: str
    sha256: str
    seconds: float
    samples: int
    gaps: tuple[tuple[str, int, int], ...] = ()
    damage: str | None = None
    salvaged: bool = False
    chain: str = ""
