"""排班: who is on duty when, and what is wrong with it before it happens (requirements 3-b, 6.2-a, 6.3-b). Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from duty.domain.errors import Refused
from duty.domain.times import SHANGHAI, local
from duty.domain.workdays import DayKind, DayKinds

LONGEST = timedelta(hours=24)
"""Nobody is planned for longer without a break."""
EARLY = timedelta(hours=1)
LATE = timedelta(hours=2)
"""How long before a shift's beginning one may sign on for it, and after its end still take over late."""


class Duty(StrEnum):
    """值班员, 带班领导."""

    OFFICER = "officer"
    LEADER = "leader"


class Pattern(StrEnum):
    """班次: when a shift begins and how long it lasts, see ``SPANS``."""

    WHOLE_DAY = "whole_day"
    DAY = "day"
    NIGHT = "night"


SPANS: dict[Pattern, tuple[time, timedelta]] = {
    Pattern.WHOLE_DAY: (time(8), timedelta(hours=24)),
    Pattern.DAY: (time(8), timedelta(hours=10)),
    Pattern.NIGHT: (time(18), timedelta(hours=14)),
}


class FaultKind(StrEnum):
    """无人值班, 节假日无带班领导, 连续值班过长, 年度日历缺失."""

    GAP = "gap"
    NO_LEADER = "no_leader"
    TOO_LONG = "too_long"
    CALENDAR_UNKNOWN = "calendar_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One person's place on the roster; the end no longer belongs to it."""

    shift_id: int
    person_id: int
    person: str
    duty: Duty
    starts_at: datetime
    ends_at: datetime

    def admits(self, at: datetime) -> bool:
        """Whether the person may sign on for it at that instant."""
        return self.starts_at - EARLY <= at < self.ends_at + LATE


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong from ``starts_at`` to ``ends_at``; ``person`` where it is one person's."""

    kind: FaultKind
    starts_at: datetime
    ends_at: datetime
    person: str = ""


def span_of(pattern: Pattern, day: date) -> tuple[datetime, datetime]:
    """Beginning and end of a shift that begins on ``day`` in Shanghai."""
    start, length = SPANS[pattern]
    begins = datetime.combine(day, start, SHANGHAI)
    return begins, begins + length


def check_free(wanted: tuple[datetime, datetime], own: Iterable[Shift]) -> None:
    """Raises Refused where the person already has a place at that time."""
    if any(each.starts_at < wanted[1] and wanted[0] < each.ends_at for each in own):
        raise Refused("shift_overlaps")


def faults(shifts: Sequence[Shift], first: date, last: date, kind_of: DayKinds) -> list[Fault]:
    """Everything wrong with the roster from the beginning of ``first`` to the end of ``last``, in order of time."""
    start = datetime.combine(first, time(), SHANGHAI)
    end = datetime.combine(last + timedelta(days=1), time(), SHANGHAI)
    found = [
        Fault(kind=FaultKind.GAP, starts_at=a, ends_at=b) for a, b in _uncovered(_of(shifts, Duty.OFFICER), start, end)
    ]
    leaders = _of(shifts, Duty.LEADER)
    unknown: set[int] = set()
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        begins, ends = (datetime.combine(day + timedelta(days=n), time(), SHANGHAI) for n in (0, 1))
        kind = kind_of(day)
        if kind is None and day.year not in unknown:
            unknown.add(day.year)
            found.append(Fault(kind=FaultKind.CALENDAR_UNKNOWN, starts_at=begins, ends_at=end))
        if kind in (DayKind.HOLIDAY, DayKind.DAY_OFF):
            gaps = _uncovered(leaders, begins, ends)
            found += [Fault(kind=FaultKind.NO_LEADER, starts_at=a, ends_at=b) for a, b in gaps]
    found += [each for each in _too_long(shifts) if each.starts_at < end and start < each.ends_at]
    return sorted(_joined(found), key=lambda fault: (fault.starts_at, fault.kind))


def rostered(shifts: Iterable[Shift], person_id: int, at: datetime) -> Shift | None:
    """The place as officer for which the person may sign on at that instant, the latest of several; else None."""
    own = [each for each in _of(shifts, Duty.OFFICER) if each.person_id == person_id and each.admits(at)]
    return max(own, key=lambda each: each.starts_at, default=None)


def days_of(shifts: Iterable[Shift], day: date) -> list[Shift]:
    """The places that begin on a day in Shanghai, leaders first."""
    mine = [each for each in shifts if local(each.starts_at).date() == day]
    return sorted(mine, key=lambda each: (each.duty is not Duty.LEADER, each.starts_at, each.shift_id))


def _of(shifts: Iterable[Shift], duty: Duty) -> list[Shift]:
    return [each for each in shifts if each.duty is duty]


def _uncovered(shifts: Collection[Shift], start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """The stretches of [start, end) in which none of the shifts is."""
    found, reached = [], start
    for each in sorted(shifts, key=lambda shift: shift.starts_at):
        if each.starts_at >= end:
            break
        if each.starts_at > reached:
            found.append((reached, each.starts_at))
        reached = max(reached, each.ends_at)
    if reached < end:
        found.append((reached, end))
    return found


def _too_long(shifts: Sequence[Shift]) -> list[Fault]:
    """Places of one person as officer that follow one another without a break for longer than LONGEST."""
    found = []
    for person_id in {each.person_id for each in shifts}:
        run: list[Shift] = []
        own = [each for each in _of(shifts, Duty.OFFICER) if each.person_id == person_id]
        for each in sorted(own, key=lambda shift: shift.starts_at):
            if run and each.starts_at > run[-1].ends_at:
                found += _run_fault(run)
                run = []
            run.append(each)
        found += _run_fault(run)
    return found


def _run_fault(run: Sequence[Shift]) -> list[Fault]:
    if not run or run[-1].ends_at - run[0].starts_at <= LONGEST:
        return []
    return [
        Fault(kind=FaultKind.TOO_LONG, starts_at=run[0].starts_at, ends_at=run[-1].ends_at, person=run[0].person),
    ]


def _joined(found: Iterable[Fault]) -> list[Fault]:
    """Faults of one kind that follow one another without a break as one."""
    joined: list[Fault] = []
    for each in sorted(found, key=lambda fault: (fault.kind, fault.person, fault.starts_at)):
        last = joined[-1] if joined else None
        if last and (last.kind, last.person, last.ends_at) == (each.kind, each.person, each.starts_at):
            joined[-1] = Fault(kind=last.kind, starts_at=last.starts_at, ends_at=each.ends_at, person=last.person)
        else:
            joined.append(each)
    return joined
