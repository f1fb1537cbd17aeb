"""Recordings as the browser plays them: found below the recordings root, each listening in the audit log.

A player fetches one recording in many ranges; an officer's listening within ``SAME_LISTENING`` is one look, one line.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response

from duty.domain.errors import NotFound
from duty.domain.rights import Actor, Right
from duty.services.secrecy import OpenedSound
from duty.store.tables import RecordingRow
from duty.vault.files import OpenedFile, sealed_path
from duty.vault.format import context_of
from web.sealedsound import sealed_answer
from web.services import Services

MEDIA_TYPES = {".wav": "audio/wav", ".opus": "audio/ogg"}
SAME_LISTENING = timedelta(minutes=10)
MAX_BARS = 2_000
PEAKS_NAME = "peaks.json"


class Listening:
    """Hands out recordings to those who may listen; those under secrecy to who has opened them (requirement 6.5-a)."""

    def __init__(self, services: Services, root: Path) -> None:
        self._calls = services.calls
        self._secrecy = services.secrecy
        self._clock = services.clock
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

    def answer(self, actor: Actor, call_id: str, wanted: str | None = None) -> Response:
        """The recording, whole or in ranges (RFC 9110 section 14), ``wanted`` the request's. Raises as ``recording``,
        and for one under secrecy Refused and VaultError."""
        if self._secrecy.among([call_id]):
            return self._opened(actor, call_id, wanted)
        return _file_answer(self.recording(actor, call_id))

    def _opened(self, actor: Actor, call_id: str, wanted: str | None) -> Response:
        """Of a call under secrecy; its files may not be sealed yet."""
        view = self._secrecy.view(actor, call_id)
        opening = f"{call_id} {view.opening.opening_id if view is not None and view.opening is not None else 0}"
        sound = self._secrecy.hear(actor, call_id, told=self._is_fresh(actor, opening))
        self._remember(actor, opening)
        path = self._place(sound.recording)
        if sound.data_key is None:
            return _file_answer(self._path(sound.recording))
        return sealed_answer(_unsealed(sound, path), wanted, _media_type(path))

    def peaks(self, actor: Actor, call_id: str) -> dict[str, list[float]] | None:
        """The waveform telephony computed beside the WAV, None where there is none: per speaker the least and greatest
        value of each stretch by turns, -1..1.

        Raises NotFound, Forbidden.
        """
        if not self._secrecy.among([call_id]):
            return _channels(self._path(self._visible(actor, call_id)).parent / PEAKS_NAME)
        sound = self._secrecy.hear(actor, call_id, told=True)
        path = self._place(sound.recording).parent / PEAKS_NAME
        if sound.data_key is None:
            return _channels(path)
        return _channels_in(_unsealed(sound, path).read()) if PEAKS_NAME in sound.files else None

    def _visible(self, actor: Actor, call_id: str) -> RecordingRow:
        dossier = self._calls.dossier(actor, call_id)
        actor.require(Right.LISTEN, dossier.call.unit_id)
        if dossier.recording is None or not dossier.recording.path:
            raise NotFound("recording_not_sealed", call_id=call_id)
        return dossier.recording

    def _path(self, recording: RecordingRow) -> Path:
        if recording.removed_at is not None:
            raise NotFound("recording_removed")
        path = self._place(recording)
        if not path.is_file():
            raise NotFound("recording_file_gone")
        return path

    def _place(self, recording: RecordingRow) -> Path:
        name = recording.path if recording.wav_released_at is None else recording.archive_path
        path = (self._root / name).resolve()
        if not path.is_relative_to(self._root):
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


def _media_type(path: Path) -> str:
    return MEDIA_TYPES.get(path.suffix, "application/octet-stream")


def _file_answer(path: Path) -> FileResponse:
    return FileResponse(path, media_type=_media_type(path))


def _unsealed(sound: OpenedSound, path: Path) -> OpenedFile:
    """The sealed form of ``path``, to be read. Raises NotFound where it is gone, VaultError."""
    context = context_of(sound.recording.call_id, path.name)
    try:
        return OpenedFile(sealed_path(path.parent, path.name), data_key=sound.data_key or b"", context=context)
    except FileNotFoundError:
        raise NotFound("recording_file_gone") from None


def _channels(path: Path) -> dict[str, list[float]] | None:
    """The two channels of a peaks file, None where there is none."""
    try:
        return _channels_in(path.read_bytes())
    except OSError:
        return None


def _channels_in(content: bytes) -> dict[str, list[float]] | None:
    """The two channels of peaks; torn or foreign ones are as good as none, the player then draws its own.

    The file is audiowaveform's JSON version 2: least and greatest of each block, caller before officer, as integers of
    ``bits`` bits.
    """
    try:
        found: Any = json.loads(content)
        if found["channels"] != 2 or found["version"] != 2:
            return None
        data, scale = found["data"], float(2 ** (int(found["bits"]) - 1))
        blocks = [tuple(value / scale for value in data[at : at + 4]) for at in range(0, len(data) - 3, 4)]
    except (ValueError, KeyError, TypeError):
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
