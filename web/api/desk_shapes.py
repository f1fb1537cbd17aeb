"""The desk and the directory as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from duty.domain.rights import Role
from duty.services.directory import ContactView
from duty.services.lines import ComponentView
from duty.store.tables import (
    AlarmRow,
    OfficerRow,
    PendingRow,
)
from web.api.shapes import Shape


class Contact(Shape):
    """A contact; restricted numbers are masked unless revealed."""

    contact_id: int
    organisation: str
    name: str
    title: str
    superior: bool
    restricted: bool
    numbers: list[str]
    challenge: str

    @classmethod
    def of(cls, view: ContactView) -> Contact:
        """The contact as a person may see it."""
        return cls(
            **{name: getattr(view, name) for name in cls.model_fields if name != "numbers"}, numbers=list(view.numbers)
        )


class ContactInput(Shape):
    """A contact to add."""

    organisation: str = Field("", max_length=200)
    name: str = Field("", max_length=100)
    title: str = Field("", max_length=100)
    numbers: list[str] = Field(default_factory=list, max_length=20)
    superior: bool = False
    restricted: bool = False
    challenge: str = Field("", max_length=400)
    challenge_answer: str = Field("", max_length=400)


class Alarm(Shape):
    """An alarm nobody has acknowledged yet."""

    alarm_id: int
    kind: str
    severity: str
    subject: str
    call_id: str | None
    raised_at: datetime
    cleared_at: datetime | None
    data: dict[str, Any]

    @classmethod
    def of(cls, row: AlarmRow) -> Alarm:
        """The alarm in a row."""
        return cls(alarm_id=row.id, **{name: getattr(row, name) for name in cls.model_fields if name != "alarm_id"})


class Pending(Shape):
    """A pending item."""

    pending_id: int
    kind: str
    call_id: str | None
    text: str
    created_at: datetime

    @classmethod
    def of(cls, row: PendingRow) -> Pending:
        """The item in a row."""
        return cls(pending_id=row.id, kind=row.kind, call_id=row.call_id, text=row.text, created_at=row.created_at)


class Settle(Shape):
    """How a pending item was dealt with."""

    words: str = Field("", max_length=1000)


class Component(Shape):
    """The state of a phone or trunk."""

    line_number: str
    line_name: str
    unit_id: int
    kind: str
    name: str
    state: str
    reason: str
    since: datetime

    @classmethod
    def of(cls, view: ComponentView) -> Component:
        """The component as a shape."""
        return cls(**{name: getattr(view, name) for name in cls.model_fields})


class Officer(Shape):
    """An account."""

    officer_id: int
    login: str
    name: str
    title: str
    unit_id: int
    roles: list[Role]
    active: bool

    @classmethod
    def of(cls, row: OfficerRow) -> Officer:
        """The account in a row; the hash of its password stays inside."""
        return cls(
            officer_id=row.id,
            login=row.login,
            name=row.name,
            title=row.title,
            unit_id=row.unit_id,
            roles=[Role(role) for role in row.roles],
            active=row.active,
        )
