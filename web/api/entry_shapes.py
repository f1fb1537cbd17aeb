"""Entries of the logbook and the acts on them."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from duty.domain.entries import Category, EntryContent, EntryState
from duty.domain.identity import Method, Verdict
from duty.services.logbook import DutyObstacle, content_of, current_content
from duty.store.tables import (
    EntryRow,
)
from web.api.shapes import Password, Shape


class Content(Shape):
    """The text of an entry."""

    event_time: str
    place: str
    event: str
    caller_unit: str
    caller_name: str
    caller_title: str
    caller_phone: str
    casualties: str
    measures: str
    request: str
    category: Category
    remarks: str

    @classmethod
    def of(cls, content: EntryContent) -> Content:
        """The content as a shape."""
        return cls.model_validate(content.as_dict())


class Obstacle(Shape):
    """What keeps a draft from its number."""

    code: str
    field: str

    @classmethod
    def of(cls, obstacle: DutyObstacle) -> Obstacle:
        """The obstacle as a shape."""
        return cls(code=obstacle.code, field=obstacle.field)


class Check(Shape):
    """One identity check."""

    at: datetime
    method: Method
    verdict: Verdict
    note: str
    contact_id: int | None
    number_called: str
    officer_id: int


class Amendment(Shape):
    """One correction; ``changes`` map a field to its old and new text."""

    at: datetime
    officer_id: int
    reason: str
    changes: dict[str, list[str]]


class Entry(Shape):
    """One entry. ``content`` is as first written, ``current`` with every amendment; ``hash`` is its first link's."""

    entry_id: int
    unit_id: int
    call_id: str | None
    state: EntryState
    version: int
    number: str | None
    created_at: datetime
    finalized_at: datetime | None
    finalized_by: int | None
    repeated_back_at: datetime | None
    content: Content
    current: Content
    checks: list[Check]
    amendments: list[Amendment]

    @classmethod
    def of(cls, row: EntryRow) -> Entry:
        """The entry in a row."""
        return cls(
            entry_id=row.id,
            unit_id=row.unit_id,
            call_id=row.call_id,
            state=EntryState(row.state),
            version=row.version,
            number=row.number_text,
            created_at=row.created_at,
            finalized_at=row.finalized_at,
            finalized_by=row.finalized_by,
            repeated_back_at=row.repeated_back_at,
            content=Content.of(content_of(row)),
            current=Content.of(current_content(row)),
            checks=[
                Check(
                    at=check.at,
                    method=Method(check.method),
                    verdict=Verdict(check.verdict),
                    note=check.note,
                    contact_id=check.contact_id,
                    number_called=check.number_called,
                    officer_id=check.officer_id,
                )
                for check in row.checks
            ],
            amendments=[
                Amendment(
                    at=amendment.at,
                    officer_id=amendment.officer_id,
                    reason=amendment.reason,
                    changes=amendment.changes,
                )
                for amendment in row.amendments
            ],
        )


class EntryPage(Shape):
    """A page of the register."""

    total: int
    entries: list[Entry]


class EntryInFull(Shape):
    """An entry with its links' hashes and, for a draft, its obstacles."""

    entry: Entry
    hashes: list[str]
    obstacles: list[Obstacle]


class EntryChange(Shape):
    """A correction of a draft; ``version`` is the one that was read."""

    version: int
    changes: dict[str, str]


class Finalize(Password):
    """Finalizing: the credential once more, and the version that was read."""

    version: int


class Amend(Shape):
    """A correction of a finalized entry."""

    changes: dict[str, str]
    reason: str = Field(max_length=4000)


class Void(Password):
    """Voiding a finalized entry."""

    reason: str = Field(max_length=4000)


class NewCheck(Shape):
    """An identity check to record."""

    method: Method
    verdict: Verdict
    note: str = Field("", max_length=4000)
    contact_id: int | None = None


class CallBack(Shape):
    """A number of the directory to call."""

    number_id: int


class CallBackState(Shape):
    """How far a call-back has come."""

    command_id: int
    stage: str
    result: str
    call_id: str | None
    answered: bool
