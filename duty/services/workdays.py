"""The calendar the roster stands on: the State Council's yearly notices as ``chinesecalendar`` carries them, and over
them what the unit's people entered by hand (requirements 6.2-a, 6.3-a)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import chinese_calendar
from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.errors import Refused
from duty.domain.rights import Actor, Right
from duty.domain.texts import refuse_unreadable
from duty.domain.times import Clock
from duty.domain.workdays import DayKind, DayKinds
from duty.services.audit import note
from duty.store.database import Store
from duty.store.tables import CalendarDayRow

MAX_NOTE_CHARS = 200


def published(day: date) -> DayKind | None:
    """What the notice of the year says of a day; None for a year whose notice the library does not have."""
    try:
        off, name = chinese_calendar.get_holiday_detail(day)
    except NotImplementedError:
        return None
    if not off:
        return DayKind.WORKDAY
    return DayKind.HOLIDAY if name else DayKind.DAY_OFF


def day_kinds(overrides: Mapping[date, DayKind]) -> DayKinds:
    """The kind of a day: as entered by hand, else as published."""
    return lambda day: overrides.get(day) or published(day)


def known_days(session: Session) -> DayKinds:
    """The calendar as it stands in the running transaction."""
    return day_kinds({row.day: DayKind(row.kind) for row in session.scalars(select(CalendarDayRow))})


class Workdays:
    """The days entered by hand."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def kinds(self) -> DayKinds:
        """The calendar as it stands now."""
        with self._store.reading() as session:
            return known_days(session)

    def entered(self, actor: Actor) -> list[CalendarDayRow]:
        """What was entered by hand, newest day first. Raises Forbidden."""
        actor.require(Right.SEE_DUTY)
        with self._store.reading() as session:
            return list(session.scalars(select(CalendarDayRow).order_by(CalendarDayRow.day.desc()).limit(100)))

    def enter(self, actor: Actor, day: date, kind: DayKind, words: str) -> None:
        """Say what a day is; it holds for the whole network, so it needs a source in words. Raises Forbidden,
        Refused."""
        actor.require(Right.EDIT_CALENDAR)
        refuse_unreadable(words)
        if not words.strip() or len(words) > MAX_NOTE_CHARS:
            raise Refused("calendar_note_missing", limit=MAX_NOTE_CHARS)
        now = self._clock()
        with self._store.writing() as session:
            row = session.get(CalendarDayRow, day) or CalendarDayRow(day=day)
            row.kind, row.words, row.entered_by, row.entered_at = kind.value, words.strip(), actor.officer_id, now
            session.add(row)
            data = {"kind": kind.value, "words": words.strip()}
            note(session, at=now, actor=actor, action="enter_day", subject=f"day:{day}", data=data)
