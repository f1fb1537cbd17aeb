"""What the processes tell each other through the outbox, and what raises an alarm on the console."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class EventKind(StrEnum):
    """Kinds of rows in the outbox; the console refreshes what a kind touches."""

    CALL_CHANGED = "call.changed"
    CAPTION = "call.caption"
    RECORDING_SEALED = "recording.sealed"
    TRANSCRIPTION_CHANGED = "transcription.changed"
    DRAFT_READY = "draft.ready"
    ENTRY_CHANGED = "entry.changed"
    ALARM_RAISED = "alarm.raised"
    ALARM_CLEARED = "alarm.cleared"
    LINE_CHANGED = "line.changed"
    COMMAND_GIVEN = "command.given"
    PENDING_CHANGED = "pending.changed"
    RECORDINGS_CHECKED = "recordings.checked"
    SECRECY_CHANGED = "secrecy.changed"
    WORDS_CHANGED = "words.changed"
    DUTY_CHANGED = "duty.changed"


class AlarmKind(StrEnum):
    """What an officer is alarmed of."""

    FORWARD_BLOCKED = "forward_blocked"
    FORWARD_MARKED = "forward_marked"
    PHONE_UNREACHABLE = "phone_unreachable"
    TRUNK_UNREACHABLE = "trunk_unreachable"
    LINE_OUTAGE = "line_outage"
    CALL_MISSED = "call_missed"
    RECORDING_DAMAGED = "recording_damaged"
    DISK_LOW = "disk_low"
    NO_ENGINE = "no_engine"
    TRANSCRIPTION_FAILED = "transcription_failed"
    STORE_RECOVERED = "store_recovered"
    PROCESS_RESTARTED = "process_restarted"
    CHORE_FAILED = "chore_failed"
    LINE_CHECK_FAILED = "line_check_failed"
    SPOT_CHECK_FAILED = "spot_check_failed"
    SIP_ATTACK = "sip_attack"
    DISK_FILLING = "disk_filling"
    DISK_NOTHING_TO_FREE = "disk_nothing_to_free"
    RECORDING_DIFFERS = "recording_differs"
    ARCHIVE_FAILED = "archive_failed"
    SECRECY_SUSPECTED = "secrecy_suspected"
    SECRECY_NO_KEY = "secrecy_no_key"
    SECRECY_UNSEALED = "secrecy_unsealed"


class Severity(StrEnum):
    """How loud an alarm is."""

    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"


Json = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of the outbox. ``event_id`` grows without reuse: a reader resumes after the last one it saw."""

    event_id: int
    at: datetime
    kind: EventKind
    unit_id: int | None
    call_id: str | None
    entry_id: int | None
    data: dict[str, Json] = field(default_factory=dict)
