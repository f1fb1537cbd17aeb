"""Recordings as the browser plays them: found below the recordings root, each listening in the audit log.

A player fetches one recording in many ranges; an officer's listening within ``SAME_LISTENING`` is one look, one line.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse

from duty.domain.errors import NotFound
from duty.domain.rights import Actor, Right
from duty.domain.times import Clock
from duty.services.callreview import CallReview
from duty.store.tables import RecordingRow

MEDIA_TYPES = {".wav": "audio/wav", ".opus": "audio/ogg"}
SAME_LISTENING = timedelta(minutes=10)
MAX_BARS = 2_000
PEAKS_NAME = "peaks.json"


class Listening:
    """Hands out recordings to those who may listen."""

    def __init__(self, calls: CallReview, clock: Clock, root: Path) -> None:
        self._calls = calls
        self._clock = clock
        self._root = root.resolve()
        self._heard: dict[tuple[int, str], datetime] = {}
        self._lock = threading.Lock()

    def recording(self, actor: Actor, call_id: str) -> Path:
        """The WAV of a call, or the archive's copy where that is what is left. Raises NotFound where there is none or
        its file is gone, Forbidden."""
        if self._is_fresh(actor, call_id):
            path = self._path(self._visible(actor, call_id))
        else:
            path = self._path(self._calls.listened(actor, call_id))
            self._remember(actor, call_id)
        return path

    def answer(self, actor: Actor, call_id: str) -> FileResponse:
        """The recording, whole or in ranges (RFC 9110 section 14). Raises as ``recording``."""
        path = self.recording(actor, call_id)
        return FileResponse(path, media_type=MEDIA_TYPES.get(path.suffix, "application/octet-stream"))

    def peaks(self, actor: Actor, call_id: str) -> dict[str, list[float]] | None:
        """The waveform telephony computed beside the WAV, None where there is none: per speaker the least and greatest
        value of each stretch by turns, -1..1.

        Raises NotFound, Forbidden.
        """
        sound = self._path(self._visible(actor, call_id))
        return _channels(sound.parent / PEAKS_NAME)

    def _visible(self, actor: Actor, call_id: str) -> RecordingRow:
        dossier = self._calls.dossier(actor, call_id)
        actor.require(Right.LISTEN, dossier.call.unit_id)
        if dossier.recording is None or not dossier.recording.path:
            raise NotFound("recording_not_sealed", call_id=call_id)
        return dossier.recording

    def _path(self, recording: RecordingRow) -> Path:
        if recording.removed_at is not None:
            raise NotFound("recording_removed")
        name = recording.path if recording.wav_released_at is None else recording.archive_path
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root) or not path.is_file():
            raise NotFound("recording_file_gone")
        return path

    def _is_fresh(self, actor: Actor, call_id: str) -> bool:
        with self._lock:
            heard = self._heard.get((actor.officer_id, call_id))
        return heard is not None and self._clock() - heard < SAME_LISTENING

    def _remember(self, actor: Actor, call_id: str) -> None:
        now = self._clock()
        with self._lock:
            self._heard = {key: at for key, at in self._heard.items() if now - at < SAME_LISTENING}
            self._heard[actor.officer_id, call_id] = now


def _channels(path: Path) -> dict[str, list[float]] | None:
    """The two channels of a peaks file; a torn or foreign file is as good as none, the player then draws its own.

    The file is audiowaveform's JSON version 2: least and greatest of each block, caller before officer, as integers of
    ``bits`` bits.
    """
    try:
        found: Any = json.loads(path.read_text("utf-8"))
        if found["channels"] != 2 or found["version"] != 2:
            return None
        data, scale = found["data"], float(2 ** (int(found["bits"]) - 1))
        blocks = [tuple(value / scale for value in data[at : at + 4]) for at in range(0, len(data) - 3, 4)]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {"caller": _thinned(blocks, 0), "officer": _thinned(blocks, 2)}


def _thinned(blocks: list[tuple[float, ...]], first: int) -> list[float]:
    """One channel's least and greatest values by turns, of at most ``MAX_BARS`` stretches."""
    step = max(1, -(-len(blocks) // MAX_BARS))
    found: list[float] = []
    for at in range(0, len(blocks), step):
        stretch = blocks[at : at + step]
        found += [min(block[first] for block in stretch), max(block[first + 1] for block in stretch)]
    return found
