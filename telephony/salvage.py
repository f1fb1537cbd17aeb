"""After a crash: calls the process left open are closed in the book, and what was recorded of them is sealed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from duty.domain.calls import CallEventKind, CallHappening, Outcome
from duty.services.callbook import CallBook
from duty.services.recordings import Recordings
from telephony.endpoint import facts_of
from telephony.media_errors import NotARecordingError, RecordingNotSealedError
from telephony.sealing import SealedRecording, salvage

_log = logging.getLogger(__name__)


def close_unfinished(calls: CallBook, before: datetime) -> int:
    """End every call from before that instant which is still open in the book; how many there were."""
    unfinished = calls.unfinished(before)
    for call_id in unfinished:
        calls.record(
            CallHappening(
                call_id=call_id,
                kind=CallEventKind.ENDED,
                at=datetime.now(UTC),
                outcome=Outcome.INTERRUPTED,
                data={"reason": "process_killed"},
            )
        )
    return len(unfinished)


def seal_unsealed(recordings: Recordings, root: Path, before: datetime) -> int:
    """Seal every recording of an ended call from before that instant that is not sealed; how many were saved. One that
    the disk refuses is tried again later."""
    return sum(seal_one(recordings, root, call_id) for call_id in recordings.unsealed(before))


def seal_one(
    recordings: Recordings, root: Path, call_id: str, *, by: Callable[[Path], SealedRecording] = salvage
) -> bool:
    """Seal the recording of an ended call that nobody has in hand, by ``by``; whether one was saved. What was never
    recorded is booked as such."""
    directory = next(root.glob(f"*/*/*/{call_id}"), None)
    try:
        if directory is None:
            raise NotARecordingError(call_id)
        sealed = by(directory)
    except NotARecordingError:
        if directory is not None:
            with suppress(OSError):
                directory.rmdir()  # made, and then came the end: nothing is in it
        recordings.none_made(call_id)
        return False
    except RecordingNotSealedError as error:
        _log.error("%s", error)
        return False
    recordings.seal(facts_of(sealed, root, salvaged=True))
    return True
