"""The ear of the tests: what was said as G.711 A-law, and whether it arrived whole, in order and undamaged.

Nothing here comes from the code under test: the codec is our second, independent one (ITU-T G.711 table 1a).
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.int16]

RATE_HZ = 8000
FRAME_BYTES = 160  # 20 ms
FRAME_S = FRAME_BYTES / RATE_HZ


def _alaw_table() -> Samples:
    codes = np.arange(256) ^ 0x55
    segment = (codes >> 4) & 7
    step = (codes & 0x0F) * 16 + 8
    level = np.where(segment == 0, step, (step + 256) << np.maximum(segment - 1, 0))
    return np.where(codes & 0x80, level, -level).astype(np.int16)


_LEVELS = _alaw_table()
_ORDER = np.argsort(_LEVELS, kind="stable")
_MIDPOINTS = (_LEVELS[_ORDER][:-1].astype(np.int32) + _LEVELS[_ORDER][1:]) / 2


def decode_alaw(alaw: bytes) -> Samples:
    """16-bit samples of A-law bytes."""
    return _LEVELS[np.frombuffer(alaw, np.uint8)]


def encode_alaw(samples: Samples) -> bytes:
    """The A-law code nearest to each sample; ``encode_alaw(decode_alaw(x)) == x`` for any x."""
    return bytes(_ORDER[np.searchsorted(_MIDPOINTS, samples)].astype(np.uint8))


def read_wav(path: Path) -> tuple[Samples, int]:
    """Samples and rate in Hz of a 16-bit WAV: shape (n,) for one channel, (n, channels) for more.

    Raises ValueError for another sample width."""
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path.name}: {8 * file.getsampwidth()} bits per sample, 16 needed")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
        channels, rate = file.getnchannels(), file.getframerate()
    return (samples if channels == 1 else samples.reshape(-1, channels)), rate


def write_wav(path: Path, samples: Samples, rate: int = RATE_HZ) -> Path:
    """A 16-bit mono WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def alaw_utterance(path: Path) -> bytes:
    """A WAV of any rate, first channel, as 8 kHz A-law in whole 20 ms frames, no two of which are alike.

    Distinct frames make loss and repetition countable: a frame that occurred before (digital silence) gets noise of
    a few code steps, too quiet to matter and always the same for the same file."""
    samples, rate = read_wav(path)
    mono = samples if samples.ndim == 1 else samples[:, 0]
    narrow = soxr.resample(mono.astype(np.float32), rate, RATE_HZ)
    narrow = np.clip(np.rint(narrow), -32768, 32767).astype(np.int16)
    padded = np.pad(narrow, (0, -len(narrow) % FRAME_BYTES))
    return distinct_frames(encode_alaw(padded))


def distinct_frames(alaw: bytes) -> bytes:
    """``alaw`` (whole frames) with noise of up to three code steps in each frame that is constant or came before."""
    noise = np.random.default_rng(711)
    seen: set[bytes] = set()
    frames = []
    for start in range(0, len(alaw), FRAME_BYTES):
        frame = alaw[start : start + FRAME_BYTES]
        while frame in seen or len(set(frame)) < 3:
            steps = noise.integers(0, 4, len(frame), dtype=np.uint8)
            frame = bytes(np.frombuffer(frame, np.uint8) ^ steps)
        seen.add(frame)
        frames.append(frame)
    return b"".join(frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Where ``sent`` lies in ``received``: ``offset`` samples after its start (negative: it began before), and the
    normalised correlation over the whole of ``sent`` (what is missing in ``received`` counts as silence), -1..1."""

    offset: int
    correlation: float


def align(sent: Samples, received: Samples) -> Alignment:
    """The best place of ``sent`` in ``received``, both at the same rate. Raises ValueError when either is empty."""
    if not len(sent) or not len(received):
        raise ValueError("nothing to align")
    a = sent.astype(np.float64) - sent.mean()
    b = received.astype(np.float64) - received.mean()
    size = 1 << (len(a) + len(b) - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(b, size) * np.conj(np.fft.rfft(a, size)), size)
    lags = np.concatenate((np.arange(len(b)), np.arange(-len(a) + 1, 0)))
    offset = int(lags[np.argmax(product[lags])])
    return Alignment(offset=offset, correlation=_correlation(a, b, offset))


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64], offset: int) -> float:
    piece = np.zeros_like(a)
    start, end = max(0, -offset), min(len(a), len(b) - offset)
    piece[start:end] = b[start + offset : end + offset]
    scale = float(np.linalg.norm(a) * np.linalg.norm(piece))
    return float(a @ piece) / scale if scale else 0.0


def align_channels(sent: tuple[Samples, ...], recording: Samples) -> tuple[Alignment, ...]:
    """``sent[i]`` against channel i of ``recording`` (n, channels). Raises ValueError when the counts differ."""
    if recording.ndim != 2 or recording.shape[1] != len(sent):
        raise ValueError(f"recording has shape {recording.shape}, expected {len(sent)} channels")
    return tuple(align(one, recording[:, channel]) for channel, one in enumerate(sent))


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameAccount:
    """What became of every 20 ms frame sent. Numbers are indexes into the frames sent.

    ``first_sample``: where the first found frame lies in the received audio; ``lost``: nowhere in it; ``duplicated``:
    in it more than once; ``reordered``: before its predecessor; ``shifted``: after its predecessor, but not directly
    (a gap or silence was put between); a frame after a lost one is shifted only if the gap is not the lost frames' own
    length.
    """

    sent: int
    found: int
    first_sample: int | None
    lost: tuple[int, ...]
    duplicated: tuple[int, ...]
    reordered: tuple[int, ...]
    shifted: tuple[int, ...]

    @property
    def perfect(self) -> bool:
        """Every frame once, in order, without a gap."""
        return self.found == self.sent and not (self.duplicated or self.reordered or self.shifted)


def account(sent: bytes, received: bytes) -> FrameAccount:
    """Finds every frame of the A-law ``sent`` (see alaw_utterance) in the A-law ``received``, at any sample position.

    Raises ValueError when ``sent`` is not whole frames, or a frame occurs in it twice: nothing could be counted."""
    if not sent or len(sent) % FRAME_BYTES:
        raise ValueError("sent audio is not whole frames")
    frames = [sent[start : start + FRAME_BYTES] for start in range(0, len(sent), FRAME_BYTES)]
    if len(set(frames)) != len(frames):
        raise ValueError("sent frames are not distinct: use distinct_frames")
    places = [_places(frame, received) for frame in frames]
    found = [(index, where[0]) for index, where in enumerate(places) if where]
    steps = [(b, b_at - a_at, b - a) for (a, a_at), (b, b_at) in pairwise(found)]
    return FrameAccount(
        sent=len(frames),
        found=len(found),
        first_sample=found[0][1] if found else None,
        lost=tuple(index for index, where in enumerate(places) if not where),
        duplicated=tuple(index for index, where in enumerate(places) if len(where) > 1),
        reordered=tuple(index for index, distance, _ in steps if distance < 0),
        shifted=tuple(index for index, distance, apart in steps if distance > 0 and distance != apart * FRAME_BYTES),
    )


def _places(frame: bytes, received: bytes) -> list[int]:
    places, at = [], received.find(frame)
    while at >= 0:
        places.append(at)
        at = received.find(frame, at + 1)
    return places
