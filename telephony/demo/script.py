"""The demonstration call as a script: who says what, and after which pause."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass

from duty.domain.transcripts import Speaker
from telephony.prompts import read_samples
from telephony.rtp.g711 import SAMPLE_RATE, Samples

_AUDIO = importlib.resources.files("telephony.demo").joinpath("audio")
_PAUSES_S = (0.8, 0.6, 0.4, 0.6, 0.4, 0.6, 0.7, 0.5, 0.5, 0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One utterance: ``wav`` is the file's name, ``text`` what is said, ``pause_before_s`` the silence
    before it."""

    speaker: Speaker
    wav: str
    text: str
    pause_before_s: float

    def samples(self) -> Samples:
        """The utterance at 8 kHz."""
        return read_samples(_AUDIO.joinpath(self.wav).read_bytes(), self.wav)


def _lines() -> tuple[Line, ...]:
    rows = _AUDIO.joinpath("texts.tsv").read_text(encoding="utf-8").splitlines()
    named = [row.split("\t") for row in rows]
    return tuple(
        Line(speaker=Speaker(name.split("_")[1]), wav=f"{name}.wav", text=text, pause_before_s=pause)
        for (name, text), pause in zip(named, _PAUSES_S, strict=True)
    )


CONVERSATION: tuple[Line, ...] = _lines()


def channels() -> dict[Speaker, list[tuple[int, Samples]]]:
    """What each side sends: (first sample, samples) of its utterances, counted from the answer."""
    schedule: dict[Speaker, list[tuple[int, Samples]]] = {speaker: [] for speaker in Speaker}
    at = 0
    for line in CONVERSATION:
        samples = line.samples()
        at += round(line.pause_before_s * SAMPLE_RATE)
        schedule[line.speaker].append((at, samples))
        at += samples.size
    return schedule
