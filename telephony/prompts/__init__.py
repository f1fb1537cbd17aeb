"""Announcements: what a caller hears when nobody answers, where an operator's own file takes the place of ours, and
what an officer hears in a spot check."""

from __future__ import annotations

import importlib.resources
import wave
from io import BytesIO
from pathlib import Path

import numpy as np

from telephony.media_errors import PromptError
from telephony.rtp.g711 import SAMPLE_RATE, Samples

NO_ANSWER = "no_answer"
BUSY = "busy"
PIN_ASKED, PIN_AGAIN, PIN_RIGHT, PIN_WRONG = "pin_asked", "pin_again", "pin_right", "pin_wrong"
SHIPPED = (NO_ANSWER, BUSY, PIN_ASKED, PIN_AGAIN, PIN_RIGHT, PIN_WRONG)


def shipped_prompt(name: str) -> Samples:
    """The announcement ``name``, one of ``SHIPPED``. Raises KeyError."""
    if name not in SHIPPED:
        raise KeyError(name)
    return read_samples(importlib.resources.files(__name__).joinpath(f"{name}.wav").read_bytes(), name)


def prompt_file(path: Path) -> Samples:
    """An operator's announcement. Raises PromptError that says what is wrong with the file."""
    try:
        return read_samples(path.read_bytes(), str(path))
    except OSError as error:
        raise PromptError(f"announcement {path} cannot be read: {error.strerror}") from error


def read_samples(data: bytes, name: str) -> Samples:
    """Samples of a WAV file with one channel of 16-bit PCM at 8 kHz. Raises PromptError; ``name`` goes into
    its text."""
    try:
        with wave.open(BytesIO(data), "rb") as wav:
            shape = (wav.getnchannels(), wav.getsampwidth(), wav.getframerate())
            frames = wav.readframes(wav.getnframes())
    except (wave.Error, EOFError) as error:
        raise PromptError(f"announcement {name} is no PCM WAV file: {error}") from error
    if shape != (1, 2, SAMPLE_RATE):
        raise PromptError(f"announcement {name} must be mono, 16 bits, 8000 Hz; it is {shape}")
    if len(frames) < 2:
        raise PromptError(f"announcement {name} is empty")
    return np.frombuffer(frames[: len(frames) // 2 * 2], dtype="<i2").astype(np.int16)
