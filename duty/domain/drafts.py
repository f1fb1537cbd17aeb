"""A draft: what the software proposes for the logbook, each field with the words it came from (requirement 6.1-d)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FieldName(StrEnum):
    """The fields of a draft. The four that regulation 六（二） requires come first; the last four are no fields of the
    entry: what kind of call it is, which of the nine classes of 七（二） it would be reported as (1 to 9), the level
    that the figures suggest, and what a superior wants done, by when."""

    EVENT_TIME = "event_time"
    PLACE = "place"
    EVENT = "event"
    CALLER_UNIT = "caller_unit"
    CALLER_NAME = "caller_name"
    CALLER_TITLE = "caller_title"
    CALLER_PHONE = "caller_phone"
    CASUALTIES = "casualties"
    MEASURES = "measures"
    REQUEST = "request"
    CATEGORY = "category"
    KIND = "kind"
    REPORT_CLASS = "report_class"
    LEVEL = "level"
    DIRECTIVE = "directive"


class Source(StrEnum):
    """Where a proposed value comes from."""

    TRANSCRIPT = "transcript"
    SIGNALLING = "signalling"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The words behind a value: characters ``start_char:end_char`` of segment ``segment`` (index into the transcript)
    and the time of those words in seconds from the recording's first sample."""

    segment: int
    start_char: int
    end_char: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftField:
    """One proposed value. ``value`` is what the form shows, ``normalised`` the machine form (ISO 8601, digits…);
    ``confidence`` is 0..1; ``spans`` is empty only when ``source`` is not the transcript; ``speaker`` is who said it
    (caller, officer; empty where nobody did or both)."""

    name: FieldName
    value: str
    normalised: str
    confidence: float
    source: Source
    spans: tuple[Span, ...] = ()
    speaker: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """All proposals for one call and the one-paragraph gist composed from them."""

    fields: tuple[DraftField, ...]
    gist: str

    def field(self, name: FieldName) -> DraftField | None:
        """The best proposal for ``name``, or None where the call said nothing about it."""
        found = [field for field in self.fields if field.name is name]
        return max(found, key=lambda field: field.confidence, default=None)
