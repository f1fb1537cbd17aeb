"""Recordings into samples: the engines want mono int16 at their own rate and an even level."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from duty.domain.transcripts import Speaker
from transcription.engine import Samples
from transcription.errors import AudioError

LINE_HZ = 8000
_FULL_SCALE = 32768.0
_TARGET_RMS = 10 ** (-20 / 20)
_PEAK = 10 ** (-1 / 20)
_MAX_GAIN = 10 ** (24 / 20)
_FRAME_S = 0.02
_SPEAKERS = (Speaker.CALLER, Speaker.OFFICER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """A decoded recording: one int16 array per channel, all of one length, at ``sample_rate_hz``."""

    sample_rate_hz: int
    channels: tuple[Samples, ...]

    @property
    def seconds(self) -> float:
        """Length of the recording in seconds."""
        return len(self.channels[0]) / self.sample_rate_hz

    def by_speaker(self) -> dict[Speaker, Samples]:
        """Channels by who speaks on them: caller left, officer right; a mono recording counts as the caller's."""
        return dict(zip(_SPEAKERS, self.channels, strict=False))


def read_wav(path: Path) -> Audio:
    """The recording at ``path``: PCM16 WAV, one or two channels, any rate; a torn last frame is dropped.

    Raises AudioError when the file is missing, is no such WAV, or holds no samples.
    """
    try:
        with wave.open(str(path), "rb") as reader:
            channels, width, rate = reader.getnchannels(), reader.getsampwidth(), reader.getframerate()
            if width != 2 or channels not in (1, 2) or rate <= 0:
                raise AudioError(f"录音格式不支持：{path.name}（{channels} 声道、{8 * width} 位、{rate} Hz）")
            raw = reader.readframes(reader.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise AudioError(f"录音无法读取：{path.name}（{error}）") from error
    frames = len(raw) // (2 * channels)
    if frames == 0:
        raise AudioError(f"录音没有声音数据：{path.name}")
    grid = np.frombuffer(raw[: frames * 2 * channels], dtype="<i2").reshape(frames, channels)
    return Audio(sample_rate_hz=rate, channels=tuple(grid[:, i].astype(np.int16) for i in range(channels)))


def read_recording(path: Path) -> Audio:
    """The recording at ``path``: the WAV, or by its first bytes its copy for the archive (Ogg/Opus, two channels) at
    the line's 8 kHz. Raises AudioError."""
    try:
        with path.open("rb") as file:
            is_ogg = file.read(4) == b"OggS"
    except OSError as error:
        raise AudioError(f"录音无法读取：{path.name}（{error}）") from error
    return _read_opus(path) if is_ogg else read_wav(path)


def _read_opus(path: Path) -> Audio:
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=LINE_HZ)
    pieces: list[Samples] = []
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(audio=0):
                pieces += map(_rows, resampler.resample(frame))
            pieces += map(_rows, resampler.resample(None))
    except (OSError, av.FFmpegError) as error:
        raise AudioError(f"录音无法读取：{path.name}（{error}）") from error
    grid = np.concatenate(pieces) if pieces else np.zeros((0, 2), dtype=np.int16)
    if not len(grid):
        raise AudioError(f"录音没有声音数据：{path.name}")
    return Audio(sample_rate_hz=LINE_HZ, channels=tuple(grid[:, i] for i in range(2)))


def _rows(frame: av.AudioFrame) -> Samples:
    return frame.to_ndarray().reshape(-1, 2).astype(np.int16)


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """``samples`` at ``to_hz`` (soxr, high quality); the same array where the rates are equal."""
    if from_hz == to_hz:
        return samples
    return cast(Samples, soxr.resample(samples, from_hz, to_hz).astype(np.int16, copy=False))


def as_float(samples: Samples) -> NDArray[np.float32]:
    """``samples`` as float32 in -1..1."""
    return (samples / np.float32(_FULL_SCALE)).astype(np.float32)


def level(samples: Samples, sample_rate_hz: int) -> Samples:
    """``samples`` with the louder half of its 20 ms frames brought towards -20 dBFS RMS.

    The gain is at most 24 dB and leaves 1 dB below full scale, so silence stays silence and nothing clips.
    """
    frame = max(1, int(_FRAME_S * sample_rate_hz))
    usable = len(samples) // frame * frame
    if usable == 0:
        return samples
    values = samples.astype(np.float64) / _FULL_SCALE
    powers = np.sort(np.mean(values[:usable].reshape(-1, frame) ** 2, axis=1))
    rms = float(np.sqrt(np.mean(powers[len(powers) // 2 :])))
    peak = float(np.max(np.abs(values)))
    if rms == 0.0 or peak == 0.0:
        return samples
    gain = min(_TARGET_RMS / rms, _PEAK / peak, _MAX_GAIN)
    return cast(Samples, np.round(values * gain * (_FULL_SCALE - 1)).astype(np.int16))
