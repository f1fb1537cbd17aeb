"""The files of a recording that is still running: raw G.711 by position, and a line of JSON for everything
else.

Both are readable after any kind of death: raw audio has no header to be torn, and of the sidecar at most
the last line is lost. Everything here raises OSError and may then be repeated with the same arguments.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from duty.domain.transcripts import Speaker
from telephony.recording_chain import Chain, Event
from telephony.rtp.coverage import Coverage
from telephony.rtp.g711 import Law

SIDECAR_NAME = "events.jsonl"
SUFFIXES = {Law.PCMA: ".alaw", Law.PCMU: ".ulaw"}
_FILL_CHUNK = 65536
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def raw_file(directory: Path, speaker: Speaker) -> tuple[Path, Law] | None:
    """The raw channel of ``speaker`` in ``directory`` and its law, or None where that side never spoke."""
    for law, suffix in SUFFIXES.items():
        path = directory / f"{speaker.value}{suffix}"
        if path.exists():
            return path, law
    return None


class RecordingFile:
    """A file that is written by one thread and synced by another."""

    def __init__(self) -> None:
        self.descriptor: int | None = None
        self._changed = False

    def sync_copy(self) -> int | None:
        """A duplicate of the descriptor to be synced and closed, whatever becomes of the original; None
        when there is nothing new to sync."""
        changed, self._changed = self._changed, False
        return os.dup(self.descriptor) if changed and self.descriptor is not None else None

    def close(self) -> None:
        """Closes the file; nothing may be written afterwards."""
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _write_all(self, descriptor: int, data: bytes, offset: int) -> None:
        """A disk that fills up takes a part first and refuses only then."""
        self._changed = True
        view = memoryview(data)
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written


class RawChannel(RecordingFile):
    """One side's samples, written at their positions. The law of the first frame is the law of the file."""

    def __init__(self, directory: Path, speaker: Speaker) -> None:
        super().__init__()
        self._directory = directory
        self._speaker = speaker
        self._length = 0
        self._hashed = 0
        self.law: Law | None = None
        self.coverage = Coverage()

    def write(self, position: int, payload: bytes, law: Law) -> None:
        """Puts one frame at sample ``position``; a hole before it becomes silence."""
        file_law, descriptor = self._opened(law)
        self._fill(position, file_law, descriptor)
        self._write_all(descriptor, file_law.recode(payload, law), position)
        self._length = max(self._length, position + len(payload))
        self.coverage.add(position, len(payload))

    def hash_segment(self, before: int, *, least: int) -> tuple[int, int, str] | None:
        """First sample, samples and SHA-256 of what follows the last segment and ends at sample ``before``, as the file
        has it; None for less than ``least`` samples. What was hashed must not be written again."""
        start, samples = self._hashed, min(before, self._length) - self._hashed
        if samples < max(1, least) or self.descriptor is None:
            return None
        data = os.pread(self.descriptor, samples, start)
        if len(data) != samples:
            raise OSError(f"{samples} samples were written and {len(data)} are there")
        self._hashed += samples
        return start, samples, hashlib.sha256(data).hexdigest()

    def _opened(self, law: Law) -> tuple[Law, int]:
        if self.law is None or self.descriptor is None:
            path = self._directory / f"{self._speaker.value}{SUFFIXES[law]}"
            self.descriptor, self.law = os.open(path, _NEW_FILE, 0o640), law
        return self.law, self.descriptor

    def _fill(self, position: int, law: Law, descriptor: int) -> None:
        while self._length < position:
            count = min(_FILL_CHUNK, position - self._length)
            self._write_all(descriptor, law.silence * count, self._length)
            self._length += count


class Sidecar(RecordingFile):
    """The append-only ``events.jsonl``. A line that was cut by a full disk is written again from its
    beginning."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._path = directory / SIDECAR_NAME
        self._offset = 0
        self._chain = Chain()

    def append(self, events: list[Event]) -> None:
        """Writes ``events``, one line each, linked to those before."""
        if self.descriptor is None:
            self.descriptor = os.open(self._path, _NEW_FILE, 0o640)
        data, chain = self._chain.lines(events)
        self._write_all(self.descriptor, data, self._offset)
        self._offset += len(data)
        self._chain = chain


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarContents:
    """What could be read of a sidecar. ``torn``: the last line was cut; ``unreadable``: other lines that
    are no JSON; ``raw`` its bytes."""

    events: tuple[dict[str, object], ...]
    torn: bool
    unreadable: int
    raw: bytes


def read_sidecar(directory: Path) -> SidecarContents:
    """The sidecar in ``directory``, as far as it goes; empty where there is none."""
    path = directory / SIDECAR_NAME
    raw = path.read_bytes() if path.exists() else b""
    lines = raw.split(b"\n")
    last = lines.pop()
    parsed = [_parsed(line) for line in lines]
    return SidecarContents(
        events=tuple(event for event in parsed if event is not None),
        torn=bool(last),
        unreadable=parsed.count(None),
        raw=raw,
    )


def _parsed(line: bytes) -> dict[str, object] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
