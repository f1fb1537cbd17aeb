"""What a recording that nothing names tells of its own call, by the sidecar that was written while it ran."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from duty.domain.calls import Direction, NewCall
from duty.services.adoption import FoundCall
from telephony.recording_files import SidecarContents, read_sidecar
from telephony.rtp.g711 import SAMPLE_RATE
from telephony.sealing import SealedRecording

ABOUT = "call"
"""The sidecar's line about the call."""
BRIDGED = "bridged"
"""The sidecar's line of the moment from which both sides heard each other."""


def found_call(sealed: SealedRecording, line_number: str) -> FoundCall:
    """The call behind a recording; where the sidecar does not say it, a call in on ``line_number`` from a withheld
    number at the time of the files."""
    contents = read_sidecar(sealed.directory)
    about = _last(contents, ABOUT)
    started = sealed.started_at or datetime.fromtimestamp(sealed.wav_path.stat().st_mtime, UTC)
    bridged = _last(contents, BRIDGED).get("position")
    direction = Direction.OUTBOUND if about.get("direction") == Direction.OUTBOUND.value else Direction.INBOUND
    return FoundCall(
        new=NewCall(
            call_id=sealed.call_id,
            line_number=_text(about, "line") or line_number,
            direction=direction,
            caller_number=_text(about, "caller"),
            callee_number=_text(about, "callee") or (line_number if direction is Direction.INBOUND else ""),
            caller_display="",
            trust="from",
            sip_call_id=_text(about, "sip_call_id"),
            source="",
            arrived_at=started,
        ),
        answered_at=started + timedelta(seconds=bridged / SAMPLE_RATE) if isinstance(bridged, int) else None,
        ended_at=started + timedelta(seconds=sealed.seconds),
    )


def _last(contents: SidecarContents, name: str) -> dict[str, object]:
    return next((event for event in reversed(contents.events) if event.get("event") == name), {})


def _text(event: dict[str, object], key: str) -> str:
    value = event.get(key)
    return value if isinstance(value, str) else ""
