"""The small copy of a recording for the archive: Opus in Ogg, decoded again and compared before it counts.

A copy that cannot be proven to say the same is removed. The recording itself is never touched here.
"""

from __future__ import annotations

import hashlib
import os
import wave
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from telephony.media_errors import MediaError
from telephony.rtp.g711 import SAMPLE_RATE, Samples

BIT_RATE = 32_000
"""bit/s aimed at for both channels; Opus takes about a third more for two voices."""
MINIMUM_SIMILARITY = 0.95
_DECODED_RATE = 48_000
"""Hz; Opus always decodes to it (RFC 6716 2)."""
_QUIET = 50.0
"""RMS below which a channel is compared by level, not by shape: there is nothing in it but noise."""
_LENGTH_TOLERANCE = SAMPLE_RATE // 50
"""20 ms, one Opus frame."""


class ArchiveError(MediaError):
    """The copy is not the recording, or could not be made; nothing is left of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCopy:
    """A proven copy. ``seconds`` is its decoded length, ``similarity`` the lower of both channels' correlations with
    the recording, 0..1 (1 for a channel in which nobody spoke)."""

    path: Path
    sha256: str
    seconds: float
    bytes: int
    similarity: float


def archive_copy(wav: Path, target: Path) -> ArchiveCopy:
    """Encodes the stereo recording ``wav`` to Ogg/Opus at ``target`` and proves it by decoding. May take a second for a
    minute of a call. Raises ArchiveError and then leaves ``target`` as it was."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        original = _read(wav)
        _encode(original, partial)
        seconds, similarity = _prove(original, _decode(partial))
        digest = hashlib.sha256(partial.read_bytes()).hexdigest()
        _keep(partial, target)
    except (OSError, EOFError, wave.Error, av.FFmpegError) as error:
        raise ArchiveError(f"{wav.name}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return ArchiveCopy(path=target, sha256=digest, seconds=seconds, bytes=target.stat().st_size, similarity=similarity)


def _read(path: Path) -> Samples:
    """Samples as rows of left and right."""
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (2, 2, SAMPLE_RATE):
            raise ArchiveError(f"{path.name} is no stereo recording of 16 bits at 8 kHz")
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, 2).astype(np.int16)
    if not samples.size:
        raise ArchiveError(f"{path.name} holds no sound")
    return samples


def _encode(samples: Samples, path: Path) -> None:
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout="stereo", bit_rate=BIT_RATE)
        # "voip" would be smaller, but it shapes the voice; a copy is to have the wave of its original.
        stream.options = {"application": "audio"}
        for at in range(0, len(samples), SAMPLE_RATE):
            piece = np.ascontiguousarray(samples[at : at + SAMPLE_RATE]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="stereo")
            frame.sample_rate, frame.pts = SAMPLE_RATE, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _decode(path: Path) -> Samples:
    """What a player hears, at 8 kHz."""
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=SAMPLE_RATE)
    pieces: list[Samples] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            pieces += [_rows(part) for part in resampler.resample(frame)]
        pieces += [_rows(part) for part in resampler.resample(None)]
    return np.concatenate(pieces) if pieces else np.zeros((0, 2), dtype=np.int16)


def _rows(frame: av.AudioFrame) -> Samples:
    return frame.to_ndarray().reshape(-1, 2).astype(np.int16)


def _prove(original: Samples, decoded: Samples) -> tuple[float, float]:
    if abs(len(decoded) - len(original)) > _LENGTH_TOLERANCE:
        raise ArchiveError(f"the copy has {len(decoded)} samples instead of {len(original)}")
    shared = min(len(decoded), len(original))
    similarity = min((_similarity(original[:shared, of], decoded[:shared, of]) for of in (0, 1)), default=1.0)
    if similarity < MINIMUM_SIMILARITY:
        raise ArchiveError(f"the copy is only {similarity:.3f} like the recording")
    return len(decoded) / SAMPLE_RATE, similarity


def _similarity(original: Samples, decoded: Samples) -> float:
    """Correlation of one channel; a silent one must have stayed silent."""
    a, b = original.astype(np.float64), decoded.astype(np.float64)
    if not a.size or np.sqrt(np.mean(a * a)) < _QUIET:
        return 1.0 if not b.size or np.sqrt(np.mean(b * b)) < 2 * _QUIET else 0.0
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def _keep(partial: Path, target: Path) -> None:
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)
