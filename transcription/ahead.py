"""Hears a call while it goes on, so that only its last seconds are left to hear when it ends.

The recording itself is read as it grows, not the live frames: a frame may be lost on its way to the captions, and what
is heard ahead counts only where it is the sound that the sealed recording has. Falling behind costs nothing but the
time that is then needed afterwards.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from duty.domain.times import SHANGHAI, Clock
from duty.domain.transcripts import Speaker
from duty.services.recordings import GrowingRecording, Recordings
from transcription import g711
from transcription.engine import Samples
from transcription.enginehouse import EngineHouse
from transcription.errors import TranscriptionError
from transcription.pauses import LONGEST_S, next_cut
from transcription.pieces import Memory, PieceEngine
from transcription.vocabulary import Vocabulary

_log = logging.getLogger(__name__)

LOOK_S = 1.0
_HZ = 8000
_SETTLED = 2 * _HZ
"""Samples behind the end of a growing channel that a late packet may still alter."""
_LAWS = {".alaw": g711.PCMA, ".ulaw": g711.PCMU}
"""How telephony's recorder names a raw channel: one byte a sample, by position, holes filled with silence."""


@dataclass(slots=True)
class _Channel:
    """One side of a call: the names it is heard with, and where its next piece begins."""

    folder: Path
    speaker: Speaker
    phrases: tuple[str, ...]
    start: int = 0


class Ahead:
    """One thread's work, beside those who hear finished recordings; they share the engine and the memory."""

    def __init__(
        self,
        *,
        recordings: Recordings,
        house: EngineHouse,
        memory: Memory,
        root: Path,
        vocabulary: Vocabulary,
        clock: Clock,
    ) -> None:
        self._recordings, self._house, self._memory = recordings, house, memory
        self._root, self._vocabulary, self._clock = root, vocabulary, clock
        self._calls: dict[str, list[_Channel]] = {}

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop``."""
        while not stop.is_set():
            try:
                busy = self.step(stop)
            except (SQLAlchemyError, TranscriptionError, OSError) as error:
                _log.warning("nothing is heard ahead: %s", error)
                busy = False
            stop.wait(0.0 if busy else LOOK_S)

    def step(self, stop: threading.Event) -> bool:
        """Hear at most one piece of each side of each call that goes on; whether there was one."""
        engine = self._house.current()
        growing = {each.call_id: each for each in self._recordings.growing()}
        self._calls = {call_id: channels for call_id, channels in self._calls.items() if call_id in growing}
        if engine is None:
            return False
        pieces = PieceEngine(engine, self._memory)
        busy = False
        for each in growing.values():
            channels = self._calls[each.call_id] = self._calls.get(each.call_id) or self._find(each)
            for channel in channels:
                piece = None if stop.is_set() else self._next(channel)
                if piece is not None:
                    pieces.hear(piece, _HZ, phrases=channel.phrases)
                    channel.start += len(piece)
                    busy = True
        return busy

    def _find(self, growing: GrowingRecording) -> list[_Channel]:
        for day in _days(growing.arrived_at, self._clock()):
            folder = self._root / day / growing.call_id
            if folder.is_dir():
                phrases = self._vocabulary.of(growing.call_id).hints
                return [_Channel(folder, speaker, phrases) for speaker in Speaker]
        return []

    def _next(self, channel: _Channel) -> Samples | None:
        """The next piece whose end can be told, or None."""
        for suffix, law in _LAWS.items():
            path = channel.folder / f"{channel.speaker.value}{suffix}"
            try:
                with path.open("rb") as file:
                    settled = path.stat().st_size - _SETTLED
                    file.seek(channel.start)
                    raw = file.read(max(0, min(settled - channel.start, int((LONGEST_S + 1) * _HZ))))
            except FileNotFoundError:
                continue
            samples = g711.decode(law, raw)
            end = next_cut(samples, _HZ)
            return samples[:end] if end is not None else None
        return None


def _days(first: datetime, last: datetime) -> Iterable[str]:
    """The folders of the days from ``first`` to ``last``, by the calendar of China."""
    day, end = first.astimezone(SHANGHAI).date(), last.astimezone(SHANGHAI).date()
    while day <= end:
        yield day.strftime("%Y/%m/%d")
        day += timedelta(days=1)
