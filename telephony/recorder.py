"""Keeps what both sides of one call said, whatever happens to the process, the disk or the call
(requirement 6.1-d).

The media loop only hands frames over (``write``, ``note``: memory, no system call). A writer thread calls
``tick`` and moves them to the files within half a second; another calls ``sync`` for the power cut. A disk
that refuses never stops a call: frames wait in memory for up to two minutes and are written when it takes
them again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock
from zoneinfo import ZoneInfo

from duty.domain.transcripts import Speaker
from duty.durable import sync_directory
from telephony.media_errors import RecordingNotSealedError
from telephony.recording_chain import END, SEGMENT, Event
from telephony.recording_files import RawChannel, RecordingFile, Sidecar
from telephony.rtp.g711 import SAMPLE_RATE, Law
from telephony.rtp.timeline import LAG, LEAD, REORDER
from telephony.sealing import Damage, SealedRecording, salvage

FLUSH_INTERVAL_S = 0.5
MEMORY_LIMIT = 120 * SAMPLE_RATE
"""Samples per channel that wait in memory for a disk that takes nothing."""
_CALENDAR = ZoneInfo("Asia/Shanghai")
_SETTLED_AFTER = REORDER + SAMPLE_RATE
"""Samples behind the end of a channel where no late packet can fall any more."""
_HASHED_AFTER = LEAD + LAG + REORDER + SAMPLE_RATE
"""Samples behind the end of a channel where nothing at all can be written any more: a packet may lie that far before
one that lies ahead of its arrival."""
_SEGMENT = SAMPLE_RATE
"""Samples that are hashed together, at least."""

_EVENTS_LIMIT = 500

Frame = tuple[int, bytes, Law]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskState:
    """How the disk takes one recording. ``failing`` is the reason while it refuses, None otherwise;
    ``errors`` counts refusals; ``waiting_samples`` are in memory only; ``lost_samples`` found no room even
    there."""

    failing: str | None
    errors: int
    waiting_samples: int
    lost_samples: int


def recording_directory(root: Path, call_id: str, started_at: datetime) -> Path:
    """``<root>/YYYY/MM/DD/<call_id>`` by the date in China. Raises ValueError for an id that is not 32 hex
    digits or a time without zone."""
    if len(call_id) != 32 or not set(call_id) <= set("0123456789abcdef"):
        raise ValueError("a call id is 32 lower-case hex digits")
    if started_at.tzinfo is None:
        raise ValueError("the start of a recording needs a time zone")
    return root / started_at.astimezone(_CALENDAR).strftime("%Y/%m/%d") / call_id


class Recorder:
    """One call's recording while it runs. ``write`` and ``note`` belong to the media loop, the rest may
    block."""

    def __init__(self, *, root: Path, call_id: str, started_at: datetime) -> None:
        self.call_id = call_id
        self.directory = recording_directory(root, call_id, started_at)
        self._root = root
        self._channels = {speaker: RawChannel(self.directory, speaker) for speaker in Speaker}
        self._sidecar = Sidecar(self.directory)
        self._handover = Lock()
        self._files = Lock()
        self._frames: dict[Speaker, list[Frame]] = {speaker: [] for speaker in Speaker}
        self._events: list[Event] = []
        self._waiting = dict.fromkeys(Speaker, 0)
        self._laws: dict[Speaker, Law] = {}
        self._flushed_at: float | None = None
        self._failing: str | None = None
        self._last_reason = ""
        self._errors = 0
        self._lost = 0
        self._directory_synced = False
        self._closed = False
        self._sealed: SealedRecording | None = None
        self._note_start(started_at)

    def write(self, speaker: Speaker, *, position: int, payload: bytes, law: Law) -> None:
        """Takes one frame of ``speaker`` for sample ``position`` (>= 0). Never blocks, never fails."""
        if self._laws.get(speaker) is not law:
            self._laws[speaker] = law
            self.note("codec", channel=speaker.value, position=position, law=law.name)
        with self._handover:
            if self._waiting[speaker] >= MEMORY_LIMIT:
                self._lost += len(payload)
                return
            self._waiting[speaker] += len(payload)
            self._frames[speaker].append((position, payload, law))

    def note(self, event: str, **fields: str | int | float | None) -> None:
        """Takes one line for the sidecar. A remote that provokes hundreds of them between two flushes gets
        no more."""
        if len(self._events) < _EVENTS_LIMIT:
            self._log(event, **fields)

    def tick(self, now: float) -> None:
        """Moves what waits to the files, at most every half second. ``now`` in s on any steady clock. Does not wait for
        a sealing: the thread that ticks has other recordings to write."""
        if self._flushed_at is not None and 0 <= now - self._flushed_at < FLUSH_INTERVAL_S:
            return
        if not self._files.acquire(blocking=False):
            return
        try:
            self._flushed_at = now
            if not self._closed:
                self._try_flush()
        finally:
            self._files.release()

    def sync(self) -> None:
        """Asks the disk to keep what was written, through a power cut. May take long, but waits for no sealing, which
        syncs by itself; a refusal is counted."""
        if not self._files.acquire(blocking=False):
            return
        try:
            copies = [file.sync_copy() for file in self._all_files]
        except OSError as error:
            self._refused(error)
            return
        finally:
            self._files.release()
        try:
            for copy in copies:
                _sync_and_close(copy)
            if not self._directory_synced and self.directory.exists():
                self._sync_directories()
        except OSError as error:
            self._refused(error)

    def disk_state(self) -> DiskState:
        """How the disk takes this recording at the moment."""
        return DiskState(
            failing=self._failing,
            errors=self._errors,
            waiting_samples=sum(self._waiting.values()),
            lost_samples=self._lost,
        )

    def seal(self, *, end: int = 0, by: Callable[[Path], SealedRecording] = salvage) -> SealedRecording:
        """Ends the recording at sample ``end`` or where the audio ends, if that is later; ``by`` does the rendering.
        Twice gives the same.

        Raises RecordingNotSealedError while the disk refuses; nothing is lost by that and it may be tried
        again.
        """
        with self._files:
            if not self._closed:
                self._close_files(end)
            if self._sealed is None:
                self._sealed = by(self.directory)
            return self._sealed

    @property
    def damaged(self) -> str | None:
        """A ``Damage`` word with detail while something is missing from the files, else None."""
        if self._lost:
            return f"{Damage.DISK_ERROR}: {self._lost} samples lost, {self._last_reason}"
        return f"{Damage.DISK_ERROR}: {self._failing}" if self._failing else None

    @property
    def _all_files(self) -> tuple[RecordingFile, ...]:
        return (*self._channels.values(), self._sidecar)

    def _log(self, event: str, **fields: str | int | float | None) -> None:
        with self._handover:
            self._events.append({"event": event, **fields})

    def _note_start(self, started_at: datetime) -> None:
        self._log(
            "recording",
            version=1,
            call_id=self.call_id,
            started_at=started_at.astimezone(_CALENDAR).isoformat(),
            sample_rate=SAMPLE_RATE,
        )

    def _try_flush(self) -> bool:
        try:
            if self._sidecar.descriptor is None:
                self.directory.mkdir(parents=True, exist_ok=True)
            self._flush_events()
            for speaker, channel in self._channels.items():
                self._flush_frames(speaker, channel)
                self._note_gaps(speaker, channel.coverage.end - _SETTLED_AFTER)
                self._note_segment(speaker, channel.coverage.end - _HASHED_AFTER, least=_SEGMENT)
            self._flush_events()
        except OSError as error:
            self._refused(error)
            return False
        if self._failing is not None:
            self._failing = None
            self._log("write_recovered", lost_samples=self._lost)
        return True

    def _flush_events(self) -> None:
        with self._handover:
            events = list(self._events)
        if events:
            self._sidecar.append(events)
            with self._handover:
                del self._events[: len(events)]

    def _flush_frames(self, speaker: Speaker, channel: RawChannel) -> None:
        """Frames leave memory only after the file took them."""
        with self._handover:
            frames = list(self._frames[speaker])
        for count, (position, payload, law) in _runs(frames):
            channel.write(position, payload, law)
            with self._handover:
                del self._frames[speaker][:count]
                self._waiting[speaker] -= len(payload)

    def _note_gaps(self, speaker: Speaker, before: int) -> None:
        for start, samples in self._channels[speaker].coverage.settle(before):
            self._log("gap", channel=speaker.value, start=start, samples=samples)

    def _note_segment(self, speaker: Speaker, before: int, *, least: int) -> None:
        segment = self._channels[speaker].hash_segment(before, least=least)
        if segment is not None:
            start, samples, sha256 = segment
            self._log(SEGMENT, channel=speaker.value, start=start, samples=samples, sha256=sha256)

    def _refused(self, error: OSError) -> None:
        reason = str(error)
        self._errors += 1
        if self._failing is None:
            self._log("write_error", reason=reason)
        self._failing = self._last_reason = reason

    def _close_files(self, end: int) -> None:
        if not self._try_flush():
            raise RecordingNotSealedError(self.directory, self._failing or "")
        ends = [channel.coverage.end for channel in self._channels.values()]
        try:
            for speaker, channel in self._channels.items():
                self._note_gaps(speaker, channel.coverage.end)
                self._note_segment(speaker, channel.coverage.end, least=1)
            self._log(END, position=max(end, *ends), damaged=self.damaged)
            self._flush_events()
            for file in self._all_files:
                if file.descriptor is not None:
                    os.fdatasync(file.descriptor)
        except OSError as error:
            self._refused(error)
            raise RecordingNotSealedError(self.directory, str(error)) from error
        for file in self._all_files:
            file.close()
        self._closed = True

    def _sync_directories(self) -> None:
        for directory in (self.directory, *self.directory.parents[:3], self._root):
            sync_directory(directory)
        self._directory_synced = True


def _runs(frames: list[Frame]) -> list[tuple[int, Frame]]:
    """``frames`` with those that follow on joined, each with the number of frames in it."""
    runs: list[tuple[int, list[bytes], int, Law, int]] = []
    for position, payload, law in frames:
        if runs and runs[-1][4] == position and runs[-1][3] is law:
            count, pieces, start, _, _ = runs[-1]
            pieces.append(payload)
            runs[-1] = (count + 1, pieces, start, law, position + len(payload))
        else:
            runs.append((1, [payload], position, law, position + len(payload)))
    return [(count, (start, b"".join(pieces), law)) for count, pieces, start, law, _ in runs]


def _sync_and_close(descriptor: int | None) -> None:
    if descriptor is None:
        return
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
