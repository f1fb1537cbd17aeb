"""The small copy of a recording for the archive: Opus in Ogg, decoded again and compared before it counts.

A copy that cannot be proven to say the same is removed. The recording itself is never touched here. Both are read in
pieces, so that a call of many hours takes no more memory than a short one.
"""

from __future__ import annotations

import hashlib
import os
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from duty.durable import sync_directory
from telephony.media_errors import MediaError
from telephony.rtp.g711 import SAMPLE_RATE, Samples

BIT_RATES = (32_000, 64_000, 128_000)
"""bit/s aimed at for both channels, the least that proves good is taken: voices take the first (Opus then uses about a
third more), noise on both sides at once, say a fax or a bad line, is 0.85 alike at the first and 0.98 at the second."""
MINIMUM_SIMILARITY = 0.95
"""Of each stretch and channel: a copy in which half a minute is wrong is no copy, however long the call."""
STRETCH = 30 * SAMPLE_RATE
_QUIET = 50.0
"""RMS below which a stretch is compared by level, not by shape: there is nothing in it but noise."""
_LENGTH_TOLERANCE = SAMPLE_RATE // 50
"""20 ms, one Opus frame."""


class ArchiveError(MediaError):
    """The copy is not the recording, or could not be made; nothing is left of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCopy:
    """A proven copy. ``seconds`` is its decoded length, ``similarity`` the lowest correlation of any stretch of any
    channel with the recording, 0..1 (1 where nobody spoke)."""

    path: Path
    sha256: str
    seconds: float
    bytes: int
    similarity: float


def archive_copy(wav: Path, target: Path, *, sha256: str | None = None) -> ArchiveCopy:
    """Encodes the stereo recording ``wav`` to Ogg/Opus at ``target`` and proves it by decoding. May take a second for a
    minute of a call. Raises ArchiveError, also for a ``wav`` that has not this ``sha256``, and then leaves ``target``
    as it was."""
    for left in target.parent.glob(f".{target.name}.*.partial"):
        left.unlink(missing_ok=True)  # of a killed process; one that still lives may not put its copy here any more
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        _must_be(wav, sha256)
        seconds, similarity = _first_that_proves(wav, partial)
        digest = _sha256(partial)
        _keep(partial, target)
    except (OSError, EOFError, wave.Error, av.FFmpegError) as error:
        raise ArchiveError(f"{wav.name}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return ArchiveCopy(path=target, sha256=digest, seconds=seconds, bytes=target.stat().st_size, similarity=similarity)


def _first_that_proves(wav: Path, partial: Path) -> tuple[float, float]:
    failed = ArchiveError("no bit rate")
    for bit_rate in BIT_RATES:
        _encode(_read(wav, SAMPLE_RATE), partial, bit_rate)
        try:
            return _prove(wav, partial)
        except ArchiveError as error:
            failed = error
    raise failed


def check_archive(wav: Path, copy: Path, *, sha256: str, archive_sha256: str) -> None:
    """The recording and its copy are those that were booked, and still say the same. Raises ArchiveError."""
    try:
        _must_be(wav, sha256)
        _must_be(copy, archive_sha256)
        _prove(wav, copy)
    except (OSError, EOFError, wave.Error, av.FFmpegError) as error:
        raise ArchiveError(f"{copy.name}: {error}") from error


def _must_be(path: Path, sha256: str | None) -> None:
    if sha256 is not None and _sha256(path) != sha256:
        raise ArchiveError(f"{path.name} is not the file that was sealed")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, size: int) -> Iterator[Samples]:
    """The recording in pieces of ``size`` rows of left and right."""
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (2, 2, SAMPLE_RATE):
            raise ArchiveError(f"{path.name} is no stereo recording of 16 bits at 8 kHz")
        if not file.getnframes():
            raise ArchiveError(f"{path.name} holds no sound")
        while data := file.readframes(size):
            yield np.frombuffer(data, dtype="<i2").reshape(-1, 2).astype(np.int16)


def _encode(pieces: Iterator[Samples], path: Path, bit_rate: int) -> None:
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="stereo", bit_rate=bit_rate)
        # "voip" would be smaller, but it shapes the voice; a copy is to have the wave of its original.
        stream.options = {"application": "audio"}
        at = 0
        for samples in pieces:
            piece = np.ascontiguousarray(samples).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="stereo")
            frame.sample_rate, frame.pts = SAMPLE_RATE, at
            container.mux(stream.encode(frame))
            at += len(samples)
        container.mux(stream.encode(None))


def _decode(path: Path) -> Iterator[Samples]:
    """What a player hears, at 8 kHz, in pieces."""
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=SAMPLE_RATE)
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            yield from map(_rows, resampler.resample(frame))
        yield from map(_rows, resampler.resample(None))


def _rows(frame: av.AudioFrame) -> Samples:
    return frame.to_ndarray().reshape(-1, 2).astype(np.int16)


class _Stretches:
    """A sound that comes in pieces, given out in stretches of the wanted length; the last may be shorter."""

    def __init__(self, pieces: Iterator[Samples]) -> None:
        self._pieces = pieces
        self._rest = np.zeros((0, 2), dtype=np.int16)
        self.samples = 0

    def take(self, size: int) -> Samples:
        have = [self._rest]
        while sum(map(len, have)) < size and (piece := next(self._pieces, None)) is not None:
            have.append(piece)
            self.samples += len(piece)
        whole = np.concatenate(have)
        self._rest = whole[size:]
        return whole[:size]


def _prove(wav: Path, copy: Path) -> tuple[float, float]:
    """Length in s and similarity of the copy. Raises ArchiveError for one that says something else."""
    original, decoded = _Stretches(_read(wav, SAMPLE_RATE)), _Stretches(_decode(copy))
    similarity = 1.0
    while (a := original.take(STRETCH)).size:
        b = decoded.take(STRETCH)
        shared = min(len(a), len(b))
        similarity = min(similarity, *(_similarity(a[:shared, of], b[:shared, of]) for of in (0, 1)))
    while decoded.take(STRETCH).size:
        pass
    if abs(decoded.samples - original.samples) > _LENGTH_TOLERANCE:
        raise ArchiveError(f"the copy has {decoded.samples} samples instead of {original.samples}")
    if similarity < MINIMUM_SIMILARITY:
        raise ArchiveError(f"the copy is only {similarity:.3f} like the recording")
    return decoded.samples / SAMPLE_RATE, similarity


def _similarity(original: Samples, decoded: Samples) -> float:
    """Correlation of one stretch of one channel; a silent one must have stayed silent."""
    a, b = original.astype(np.float64), decoded.astype(np.float64)
    if not a.size or np.sqrt(np.mean(a * a)) < _QUIET:
        return 1.0 if not b.size or np.sqrt(np.mean(b * b)) < 2 * _QUIET else 0.0
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def _keep(partial: Path, target: Path) -> None:
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)
    sync_directory(target.parent)
