"""From raw channels to the recording that is kept: one stereo WAV, its checksums, its gaps and its waveform.

Sealing reads nothing but the directory, so a recording whose process was killed is made whole by the very
code that closes every other one, and doing it twice gives the same bytes (requirement 6.1-d).
"""

from __future__ import annotations

import hashlib
import json
import os
import wave
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from duty.domain.transcripts import Speaker
from duty.durable import sync_directory
from telephony.media_errors import NotARecordingError, RecordingNotSealedError
from telephony.recording_chain import ChainCheck, check_chain
from telephony.recording_files import SidecarContents, raw_file, read_sidecar
from telephony.rtp.g711 import SAMPLE_RATE, Law, Samples

WAV_NAME = "recording.wav"
PEAKS_NAME = "peaks.json"
MANIFEST_NAME = "sealed.json"
PEAK_SAMPLES = 160
"""Samples behind one pair of peaks: 20 ms."""
CHANNELS = (Speaker.CALLER, Speaker.OFFICER)
"""Left and right."""
_CHUNK = 500 * PEAK_SAMPLES
_WAV_LIMIT = (0xFFFFFFFF - 64) // 4
"""Samples per channel that a RIFF file can hold: 37 hours."""

Gap = tuple[int, int]


class Damage(StrEnum):
    """Why a recording is not what it should be; the words of ``SealedRecording.damaged``."""

    ALTERED = "altered"
    DISK_ERROR = "disk_error"
    INTERRUPTED = "interrupted"
    SIDECAR_UNREADABLE = "sidecar_unreadable"
    TOO_LONG = "too_long"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRecording:
    """A finished recording. The WAV has the caller left and the officer right, 16-bit PCM at 8 kHz.

    ``samples`` counts per channel, both being equally long; ``raw_samples`` and ``raw_sha256`` are of the
    raw files (0 and None where that side sent nothing). ``gaps`` are (first sample, samples) that were
    never received. ``damaged`` is None or a ``Damage`` word, a colon and the detail, more of them after a semicolon.
    ``started_at`` is the wall clock of the first sample, None when lost. ``chain`` is the SHA-256 of the sidecar's
    last link, which stands for every segment before; None where nothing was chained.
    """

    call_id: str
    directory: Path
    started_at: datetime | None
    wav_path: Path
    wav_sha256: str
    peaks_path: Path
    seconds: float
    samples: int
    raw_samples: dict[Speaker, int]
    raw_sha256: dict[Speaker, str | None]
    gaps: dict[Speaker, tuple[Gap, ...]]
    damaged: str | None
    chain: str | None

    def as_json(self) -> dict[str, object]:
        """The content of ``sealed.json``; paths are names inside the directory."""
        return {
            "call_id": self.call_id,
            "started_at": self.started_at.isoformat() if self.started_at else None,
            "wav": self.wav_path.name,
            "wav_sha256": self.wav_sha256,
            "peaks": self.peaks_path.name,
            "seconds": self.seconds,
            "samples": self.samples,
            "raw_samples": self.raw_samples,
            "raw_sha256": self.raw_sha256,
            "gaps": self.gaps,
            "damaged": self.damaged,
            "chain": self.chain,
        }

    @classmethod
    def from_json(cls, directory: Path, content: Mapping[str, Any]) -> SealedRecording:
        """The value whose ``as_json`` is ``content``. Raises KeyError, TypeError and ValueError for anything else."""
        return cls(
            call_id=content["call_id"],
            directory=directory,
            started_at=datetime.fromisoformat(content["started_at"]) if content["started_at"] else None,
            wav_path=directory / content["wav"],
            wav_sha256=content["wav_sha256"],
            peaks_path=directory / content["peaks"],
            seconds=content["seconds"],
            samples=content["samples"],
            raw_samples={Speaker(name): samples for name, samples in content["raw_samples"].items()},
            raw_sha256={Speaker(name): sha256 for name, sha256 in content["raw_sha256"].items()},
            gaps={Speaker(name): tuple((a, b) for a, b in gaps) for name, gaps in content["gaps"].items()},
            damaged=content["damaged"],
            chain=content["chain"],
        )


def salvage(directory: Path) -> SealedRecording:
    """Seals whatever is in ``directory``; the same again for one that is sealed already.

    Without the mark of an orderly end the recording is ``interrupted``; then gaps of its last three seconds
    may be missing from ``gaps`` (they are silence in the audio). Raises NotARecordingError and
    RecordingNotSealedError.
    """
    contents = read_sidecar(directory)
    raws = {speaker: raw_file(directory, speaker) for speaker in CHANNELS}
    if not contents.events and not any(raws.values()):
        raise NotARecordingError(f"nothing was recorded in {directory}")
    try:
        return _seal(directory, contents, raws)
    except OSError as error:
        raise RecordingNotSealedError(directory, str(error)) from error


def _seal(directory: Path, contents: SidecarContents, raws: dict[Speaker, tuple[Path, Law] | None]) -> SealedRecording:
    lengths = {speaker: raw[0].stat().st_size if raw else 0 for speaker, raw in raws.items()}
    end = _last(contents, "end")
    samples = max(_number(end, "position"), *lengths.values())
    check = check_chain(contents.raw, {speaker.value: raw[0] for speaker, raw in raws.items() if raw})
    promised = _promised_chain(directory)
    damaged = _damage(contents, end, samples, check, promised)
    samples = min(samples, _WAV_LIMIT)
    wav_path, peaks_path = directory / WAV_NAME, directory / PEAKS_NAME
    wav_sha256 = _render(raws, samples, wav_path, peaks_path)
    recording = SealedRecording(
        call_id=directory.name,
        directory=directory,
        started_at=_started_at(contents),
        wav_path=wav_path,
        wav_sha256=wav_sha256,
        peaks_path=peaks_path,
        seconds=samples / SAMPLE_RATE,
        samples=samples,
        raw_samples=lengths,
        raw_sha256={speaker: _sha256(raw[0]) if raw else None for speaker, raw in raws.items()},
        gaps={speaker: _gaps(contents, speaker, lengths[speaker], samples) for speaker in CHANNELS},
        damaged=damaged,
        chain=promised or check.head,
    )
    manifest = json.dumps(recording.as_json(), ensure_ascii=False, indent=1) + "\n"
    _replace(directory / MANIFEST_NAME, iter([manifest]))
    return recording


def _last(contents: SidecarContents, name: str) -> dict[str, object]:
    return next((event for event in reversed(contents.events) if event.get("event") == name), {})


def _number(event: dict[str, object], key: str) -> int:
    value = event.get(key)
    return value if isinstance(value, int) and value >= 0 else 0


def _started_at(contents: SidecarContents) -> datetime | None:
    text = _last(contents, "recording").get("started_at")
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _promised_chain(directory: Path) -> str | None:
    """The last link as an earlier sealing gave it."""
    try:
        content = json.loads((directory / MANIFEST_NAME).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    chain = content.get("chain") if isinstance(content, dict) else None
    return chain if isinstance(chain, str) else None


def _damage(
    contents: SidecarContents, end: dict[str, object], samples: int, check: ChainCheck, promised: str | None
) -> str | None:
    found: list[str] = []
    if contents.unreadable:
        found.append(f"{Damage.SIDECAR_UNREADABLE}: {contents.unreadable} lines")
    if check.altered:
        found.append(f"{Damage.ALTERED}: {', '.join(map(str, check.altered))}")
    if promised is not None and promised != check.head:
        found.append(f"{Damage.ALTERED}: the last link is not the one that was sealed")
    if not end:
        trouble = _last(contents, "write_error").get("reason")
        found.append(f"{Damage.INTERRUPTED}: {trouble or 'the recording was never closed'}")
    if samples > _WAV_LIMIT:
        found.append(f"{Damage.TOO_LONG}: the raw channels hold {samples - _WAV_LIMIT} samples more")
    reason = end.get("damaged")
    if isinstance(reason, str):
        found.append(reason)
    return "; ".join(found) or None


def _gaps(contents: SidecarContents, speaker: Speaker, length: int, samples: int) -> tuple[Gap, ...]:
    noted = [
        (_number(event, "start"), _number(event, "samples"))
        for event in contents.events
        if event.get("event") == "gap" and event.get("channel") == speaker.value
    ]
    return (*noted, (length, samples - length)) if length < samples else tuple(noted)


def _chunks(raw: tuple[Path, Law] | None, samples: int) -> Iterator[Samples]:
    """The channel in pieces of ``_CHUNK`` samples, continued with silence up to ``samples``."""
    if raw is None:
        for at in range(0, samples, _CHUNK):
            yield np.zeros(min(_CHUNK, samples - at), dtype=np.int16)
        return
    path, law = raw
    with path.open("rb") as file:
        for at in range(0, samples, _CHUNK):
            count = min(_CHUNK, samples - at)
            yield law.decode(file.read(count).ljust(count, law.silence))


def _render(raws: dict[Speaker, tuple[Path, Law] | None], samples: int, wav_path: Path, peaks_path: Path) -> str:
    """Writes the WAV and its peaks; the SHA-256 of the WAV as it lies on the disk."""
    peaks: list[NDArray[np.int8]] = []
    partial = _partial(wav_path)
    with partial.open("wb") as file:
        _write_wav(file, raws, samples, peaks)
        file.flush()
        os.fsync(file.fileno())
    sha256 = _sha256(partial)
    partial.replace(wav_path)
    _replace(peaks_path, _peaks_json(peaks))
    return sha256


def _write_wav(
    to: IO[bytes], raws: dict[Speaker, tuple[Path, Law] | None], samples: int, peaks: list[NDArray[np.int8]] | None
) -> None:
    with wave.open(to, "wb") as wav:
        wav.setnchannels(len(CHANNELS))
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE)
        wav.setnframes(samples)
        for pair in zip(*(_chunks(raws[speaker], samples) for speaker in CHANNELS), strict=True):
            frames = np.stack(pair, axis=1)
            wav.writeframesraw(frames.astype("<i2").tobytes())
            if peaks is not None:
                peaks.append(_peaks(frames))


def rendered_sha256(directory: Path, samples: int, heard: Callable[[int], None]) -> str:
    """The SHA-256 that the WAV of ``directory`` has when it is made anew from the raw channels, of ``samples`` a
    channel; ``heard`` hears of each piece of so many bytes. Nothing is written. Raises OSError."""
    sink = _HashingSink(heard)
    raws = {speaker: raw_file(directory, speaker) for speaker in CHANNELS}
    _write_wav(cast(IO[bytes], sink), raws, samples, None)
    return sink.digest.hexdigest()


class _HashingSink:
    """Takes a file that is written from its beginning to its end and keeps only its hash."""

    def __init__(self, heard: Callable[[int], None]) -> None:
        self.digest = hashlib.sha256()
        self._heard = heard
        self._at = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self._at += len(data)
        self._heard(len(data))
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing waits."""


def _peaks(frames: Samples) -> NDArray[np.int8]:
    """Least and greatest of each 20 ms, as rows of caller min, caller max, officer min, officer max."""
    padded = np.pad(frames, ((0, -len(frames) % PEAK_SAMPLES), (0, 0)), mode="edge")
    blocks = padded.reshape(-1, PEAK_SAMPLES, len(CHANNELS)) >> 8
    return np.stack([blocks.min(axis=1), blocks.max(axis=1)], axis=2).reshape(-1, 4).astype(np.int8)


def _peaks_json(peaks: list[NDArray[np.int8]]) -> Iterator[str]:
    """audiowaveform's JSON format version 2, in pieces so that no other thread waits long for this one."""
    head = {
        "version": 2,
        "channels": len(CHANNELS),
        "sample_rate": SAMPLE_RATE,
        "samples_per_pixel": PEAK_SAMPLES,
        "bits": 8,
        "length": sum(len(piece) for piece in peaks),
    }
    yield json.dumps(head)[:-1] + ', "data": ['
    for number, piece in enumerate(peaks):
        yield ("," if number else "") + ",".join(map(str, piece.ravel().tolist()))
    yield "]}\n"


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _replace(path: Path, pieces: Iterator[str]) -> None:
    """Writes ``path`` whole or not at all."""
    partial = _partial(path)
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_directory(path.parent)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
