"""A transcript as the rules read it: one speaker's consecutive segments joined, each character traceable."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from duty.domain.drafts import Span
from duty.domain.transcripts import Segment, Speaker, Transcript, Word
from transcription.normalise import normalise

_ENDS = "。！？；，、：,.!?;:"
_STOPS = "。！？；，、\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one speaker said without being answered. ``origin`` gives per character (segment index, original offset);
    a comma put in for a pause has no origin."""

    speaker: Speaker
    text: str
    origin: tuple[tuple[int, int] | None, ...]
    segments: tuple[Segment, ...]

    def spans(self, start: int, end: int) -> tuple[Span, ...]:
        """Characters ``start:end`` of ``text`` as spans of the transcript, one per segment touched."""
        by_segment: dict[int, list[int]] = {}
        for place in self.origin[start:end]:
            if place is not None:
                by_segment.setdefault(place[0], []).append(place[1])
        return tuple(
            _span(index, self.segments[index], min(offsets), max(offsets) + 1) for index, offsets in by_segment.items()
        )

    def confidence(self, start: int, end: int) -> float:
        """Mean confidence of the words behind characters ``start:end``; 0 where there are none."""
        heard: list[float] = []
        for span in self.spans(start, end):
            segment = self.segments[span.segment]
            words = [word.confidence for word, a, b in _placed(segment) if a < span.end_char and b > span.start_char]
            heard += words or [segment.confidence]
        return sum(heard) / len(heard) if heard else 0.0

    def clause(self, at: int, stops: str = _STOPS) -> tuple[int, int]:
        """The stretch between ``stops`` around character ``at``."""
        start = max(self.text.rfind(stop, 0, at) for stop in stops) + 1
        ends = [end for stop in stops if (end := self.text.find(stop, at)) >= 0]
        return start, min(ends, default=len(self.text))

    def clauses(self) -> Iterator[tuple[int, int]]:
        """All non-empty stretches between punctuation, in order."""
        at = 0
        while at < len(self.text):
            start, end = self.clause(at)
            if end > start:
                yield start, end
            at = end + 1


def turns(transcript: Transcript) -> list[Turn]:
    """``transcript`` as turns in order of speech."""
    groups: list[list[int]] = []
    for index, segment in enumerate(transcript.segments):
        if groups and transcript.segments[groups[-1][-1]].speaker is segment.speaker:
            groups[-1].append(index)
        else:
            groups.append([index])
    return [_turn(group, transcript.segments) for group in groups]


def _turn(group: list[int], segments: tuple[Segment, ...]) -> Turn:
    text = ""
    origin: list[tuple[int, int] | None] = []
    for index in group:
        mapped = normalise(segments[index].text)
        if text and text[-1] not in _ENDS:
            text += "，"
            origin.append(None)
        text += mapped.text
        origin += [(index, offset) for offset in mapped.origin]
    return Turn(speaker=segments[group[0]].speaker, text=text, origin=tuple(origin), segments=segments)


def _placed(segment: Segment) -> list[tuple[Word, int, int]]:
    """Words with their character positions in the segment's text; words the text does not contain are left out."""
    placed, at = [], 0
    for word in segment.words:
        start = segment.text.find(word.text, at) if word.text else -1
        if start >= 0:
            at = start + len(word.text)
            placed.append((word, start, at))
    return placed


def _span(index: int, segment: Segment, start: int, end: int) -> Span:
    words = [word for word, a, b in _placed(segment) if a < end and b > start]
    if words:
        start_s, end_s = words[0].start_s, words[-1].end_s
    else:
        per_char = (segment.end_s - segment.start_s) / max(1, len(segment.text))
        start_s, end_s = segment.start_s + start * per_char, segment.start_s + end * per_char
    return Span(segment=index, start_char=start, end_char=end, start_s=start_s, end_s=end_s)
