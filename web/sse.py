"""The wire form of the event stream (WHATWG HTML, server-sent events) and who may see which event. Pure."""

from __future__ import annotations

import json

from duty.domain.happenings import Event, EventKind
from duty.domain.rights import Actor, Right
from duty.domain.times import to_text

RETRY_MS = 1000

_NEEDS: dict[EventKind, Right] = {
    EventKind.CALL_CHANGED: Right.SEE_CALLS,
    EventKind.CAPTION: Right.LISTEN,
    EventKind.RECORDING_SEALED: Right.SEE_CALLS,
    EventKind.TRANSCRIPTION_CHANGED: Right.SEE_CALLS,
    EventKind.DRAFT_READY: Right.SEE_CALLS,
    EventKind.ENTRY_CHANGED: Right.SEE_LOGBOOK,
    EventKind.ALARM_RAISED: Right.SEE_DESK,
    EventKind.ALARM_CLEARED: Right.SEE_DESK,
    EventKind.LINE_CHANGED: Right.SEE_DESK,
    EventKind.COMMAND_GIVEN: Right.CHECK_IDENTITY,
    EventKind.PENDING_CHANGED: Right.SEE_DESK,
    EventKind.RECORDINGS_CHECKED: Right.SEE_DESK,
    EventKind.SECRECY_CHANGED: Right.SEE_CALLS,
    EventKind.WORDS_CHANGED: Right.SEE_WORDS,
    EventKind.DUTY_CHANGED: Right.SEE_DUTY,
}


def may_see(actor: Actor, event: Event) -> bool:
    """True when the person holds the right an event's kind needs, for the event's unit."""
    return actor.may(_NEEDS[event.kind], event.unit_id)


def opening() -> str:
    """The stream's first line: how long the browser waits before it comes back."""
    return f"retry: {RETRY_MS}\n\n"


def message(event: Event) -> str:
    """One event. Its id comes back as Last-Event-ID when the browser reconnects."""
    body = {
        "kind": event.kind.value,
        "at": to_text(event.at),
        "unit": event.unit_id,
        "call": event.call_id,
        "entry": event.entry_id,
        "data": event.data,
    }
    return f"id: {event.event_id}\ndata: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"


def heartbeat(now_text: str) -> str:
    """Proof of life with the server's time, under a name of its own and without an id."""
    return f"event: heartbeat\ndata: {now_text}\n\n"


def resume_point(last_event_id: str | None, after: str | None) -> int | None:
    """Where to resume: the browser's own header wins over the address; None for a fresh or garbled one."""
    for text in (last_event_id, after):
        if text and text.isascii() and text.isdigit() and len(text) < 19:
            return int(text)
    return None
