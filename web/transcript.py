"""A transcript as the call page shows it: cut where it can be clicked, probably misheard names marked.

The text is never changed: a mark lies over the words that were heard, and the proposed name stands beside them (6.2-b).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from duty.domain.vocabulary import Decision
from duty.services.suggestions import SuggestionView
from duty.store.tables import SegmentRow, TranscriptRow
from web import words
from web.words import Piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Neighbouring pieces; those under a mark have its ``suggestion``."""

    pieces: tuple[Piece, ...]
    suggestion: SuggestionView | None = None


def segments(transcript: TranscriptRow, suggestions: Sequence[SuggestionView]) -> list[dict[str, Any]]:
    """Every segment for the page."""
    return [segment(row, [each for each in suggestions if each.segment == row.ordinal]) for row in transcript.segments]


def segment(row: SegmentRow, suggestions: Sequence[SuggestionView]) -> dict[str, Any]:
    """One segment for the page."""
    pieces = words.pieces(row.text, row.words, row.start_s, row.end_s)
    return {
        "ordinal": row.ordinal,
        "speaker": row.speaker,
        "start_s": row.start_s,
        "end_s": row.end_s,
        "low": row.confidence < words.MIDDLE,
        "runs": runs(pieces, suggestions),
    }


def open_ones(suggestions: Sequence[SuggestionView]) -> int:
    """How many nobody has decided yet."""
    return sum(each.state is Decision.OPEN for each in suggestions)


def runs(pieces: Sequence[Piece], suggestions: Sequence[SuggestionView]) -> list[Run]:
    """``pieces`` grouped by the marks over them, a piece cut where a mark begins or ends within it."""
    found: list[Run] = []
    at = 0
    for suggestion in sorted(suggestions, key=lambda each: each.start_char):
        if suggestion.start_char < at:
            continue
        found += _run(pieces, at, suggestion.start_char, None)
        found += _run(pieces, suggestion.start_char, suggestion.end_char, suggestion)
        at = suggestion.end_char
    return found + _run(pieces, at, sum(len(piece.text) for piece in pieces), None)


def _run(pieces: Sequence[Piece], start: int, end: int, suggestion: SuggestionView | None) -> list[Run]:
    within = tuple(_cut(pieces, start, end))
    return [Run(pieces=within, suggestion=suggestion)] if within else []


def _cut(pieces: Sequence[Piece], start: int, end: int) -> Iterator[Piece]:
    at = 0
    for piece in pieces:
        first, last = max(start - at, 0), min(end - at, len(piece.text))
        if first < last:
            yield replace(piece, text=piece.text[first:last])
        at += len(piece.text)
