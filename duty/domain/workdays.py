"""Working days, days off and statutory holidays, as the State Council's yearly notice has them (requirements 6.2-a,
6.3-a). What the notice of a year says comes in as a lookup; a year without one is an error, never a guess."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from enum import StrEnum

from duty.domain.errors import Refused


class DayKind(StrEnum):
    """工作日（含调休上班）, 休息日, 法定节假日（含调休放假）."""

    WORKDAY = "workday"
    DAY_OFF = "day_off"
    HOLIDAY = "holiday"


DayKinds = Callable[[date], DayKind | None]
"""The kind of a day; None where no notice for its year is known."""


def working_days_before(day: date, count: int, kind_of: DayKinds) -> date:
    """The working day that lies ``count`` working days before ``day``, which itself does not count (6.3-a: three for a
    holiday's roster). Raises Refused where the way there has a day of unknown kind."""
    found = day
    while count > 0:
        found -= timedelta(days=1)
        kind = kind_of(found)
        if kind is None:
            raise Refused("calendar_year_unknown", year=found.year)
        count -= kind is DayKind.WORKDAY
    return found
