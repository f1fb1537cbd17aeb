"""The roster: days, faults found before they happen, and who may sign on (requirements 3-b, 6.2-a, 6.3-a/b, 6.6-b)."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.errors import Forbidden, NotFound, Refused
from duty.domain.rights import Actor, Role
from duty.domain.roster import Duty, Fault, FaultKind, Pattern, Shift, faults, span_of
from duty.domain.times import SHANGHAI
from duty.domain.workdays import DayKind, working_days_before
from duty.services.rosters import Rosters
from duty.services.watches import Watches
from duty.services.workdays import Workdays, day_kinds, published
from tests.duty.room import Room

DAY = date(2026, 11, 23)
"""The Monday on which the room's clock stands at 08:00 in Shanghai."""


def test_the_notice_of_the_year_is_known_with_its_make_up_days() -> None:
    kinds = [published(date(2026, 10, 1)), published(date(2026, 10, 10)), published(date(2026, 11, 21))]
    assert kinds == [DayKind.HOLIDAY, DayKind.WORKDAY, DayKind.DAY_OFF], "10 October 2026 is a Saturday worked"
    assert published(date(2027, 1, 1)) is None, "a notice that is not out yet is not guessed"


@pytest.mark.rule("6.3-a")
def test_three_working_days_before_a_holiday() -> None:
    assert working_days_before(date(2026, 10, 1), 3, published) == date(2026, 9, 28)
    assert working_days_before(date(2026, 9, 25), 3, published) == date(2026, 9, 22)
    by_hand = day_kinds({date(2026, 9, 23): DayKind.DAY_OFF})
    assert working_days_before(date(2026, 9, 25), 3, by_hand) == date(2026, 9, 21)
    with pytest.raises(Refused) as refused:
        working_days_before(date(2027, 2, 6), 3, published)
    assert refused.value.details == {"year": 2027}


def place(person: int, start: datetime, hours: float, duty: Duty = Duty.OFFICER) -> Shift:
    return Shift(
        shift_id=0,
        person_id=person,
        person=f"甲{person}",
        duty=duty,
        starts_at=start,
        ends_at=start + timedelta(hours=hours),
    )


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, tzinfo=SHANGHAI)


@pytest.mark.rule("3-b", "6.3-b")
def test_what_is_wrong_is_said_with_its_times() -> None:
    def told(shifts: list[Shift]) -> list[Fault]:
        return faults(shifts, date(2026, 11, 21), date(2026, 11, 24), published)

    week = [place(n % 3, at(20 + n, 8), 24) for n in range(5)]
    assert told(week) == [Fault(kind=FaultKind.NO_LEADER, starts_at=at(21), ends_at=at(23))], "the weekend as one"
    led = [*week, place(9, at(20, 8), 72, Duty.LEADER)]
    assert told(led) == []
    holed = [each for each in led if each.starts_at != at(22, 8)]
    assert told(holed) == [Fault(kind=FaultKind.GAP, starts_at=at(22, 8), ends_at=at(23, 8))]
    twice = [*led, place(1, at(22, 8), 24)]
    assert [(each.kind, each.person) for each in told(twice)] == [(FaultKind.TOO_LONG, "甲1")]
    unknown = faults([], date(2027, 1, 1), date(2027, 1, 2), published)
    assert [each.kind for each in unknown] == [FaultKind.CALENDAR_UNKNOWN, FaultKind.GAP]


@pytest.mark.rule("3-b")
@given(st.lists(st.tuples(st.integers(0, 72), st.integers(1, 30)), max_size=8))
def test_gaps_are_exactly_the_hours_without_an_officer(spans: list[tuple[int, int]]) -> None:
    start = at(23)
    shifts = [place(n, start + timedelta(hours=a), h) for n, (a, h) in enumerate(spans)]
    found = [each for each in faults(shifts, DAY, DAY + timedelta(days=2), published) if each.kind is FaultKind.GAP]
    for hour in range(72):
        now = start + timedelta(hours=hour)
        manned = any(each.starts_at <= now < each.ends_at for each in shifts)
        assert manned != any(each.starts_at <= now < each.ends_at for each in found)


def plan(room: Room, leader: Actor, who: Actor, pattern: Pattern = Pattern.WHOLE_DAY, day: date = DAY) -> int:
    rosters = Rosters(room.store, room.clock)
    return rosters.plan(leader, officer_id=who.officer_id, duty=Duty.OFFICER, pattern=pattern, day=day)


@pytest.mark.rule("3-a", "6.2-a")
def test_planning_is_a_right_within_ones_unit_and_nobody_stands_in_two_places(room: Room) -> None:
    leader, officer, other = room.person(Role.LEADER), room.person(), room.person(unit="BS")
    rosters = Rosters(room.store, room.clock)
    shift = plan(room, leader, officer)
    for refused, wrong in (
        (Refused, lambda: plan(room, leader, officer, Pattern.NIGHT)),
        (Forbidden, lambda: plan(room, leader, other)),
        (Forbidden, lambda: plan(room, officer, officer, day=DAY + timedelta(days=1))),
        (Refused, lambda: plan(room, leader, officer, day=DAY - timedelta(days=2))),
        (Refused, lambda: plan(room, leader, room.person(Role.AUDITOR))),
        (NotFound, lambda: rosters.withdraw(leader, 999)),
    ):
        with pytest.raises(refused):
            wrong()
    with pytest.raises(Forbidden):
        rosters.see(officer, room.units["BS"], DAY, DAY)
    hub = room.person(Role.HUB)
    assert [each.person for each in rosters.see(hub, officer.unit_id, DAY, DAY).shifts] == [officer.name]
    rosters.withdraw(leader, shift)
    assert [each.kind for each in rosters.see(hub, officer.unit_id, DAY, DAY).faults] == [FaultKind.GAP]
    plan(room, leader, officer, Pattern.NIGHT)


@pytest.mark.rule("6.3-a")
def test_a_day_entered_by_hand_holds_over_the_notice(room: Room) -> None:
    days, administrator = Workdays(room.store, room.clock), room.person(Role.ADMINISTRATOR)
    with pytest.raises(Forbidden):
        days.enter(room.person(Role.LEADER), date(2027, 1, 1), DayKind.HOLIDAY, "通知")
    with pytest.raises(Refused):
        days.enter(administrator, date(2027, 1, 1), DayKind.HOLIDAY, " ")
    days.enter(administrator, date(2027, 1, 1), DayKind.WORKDAY, "误录")
    days.enter(administrator, date(2027, 1, 1), DayKind.HOLIDAY, "国办发明电〔2026〕7号")
    assert (days.kinds()(date(2027, 1, 1)), days.kinds()(date(2027, 1, 2))) == (DayKind.HOLIDAY, None)


@pytest.mark.rule("6.6-b")
def test_only_who_is_rostered_signs_on_unless_a_leader_writes_why(room: Room) -> None:
    leader, officer, stand_in = room.person(Role.LEADER), room.person(), room.person()
    watches = Watches(room.store, room.clock)
    with pytest.raises(Refused, match="not_rostered"):
        watches.sign_on(officer)
    plan(room, leader, officer)
    watches.sign_on(officer)
    with pytest.raises(Refused, match="already_on_duty"):
        watches.sign_on(officer)
    with pytest.raises(Refused, match="duty_last"):
        watches.sign_off(officer)
    with pytest.raises(Refused, match="not_rostered"):
        watches.sign_on(stand_in)
    with pytest.raises(Forbidden):
        watches.permit(officer, stand_in.officer_id, "替班", hours=8)
    with pytest.raises(Refused, match="duty_reason_missing"):
        watches.permit(leader, stand_in.officer_id, "  ", hours=8)
    with pytest.raises(NotFound):
        watches.permit(leader, room.person(unit="BS").officer_id, "替班", hours=8)
    watches.permit(leader, stand_in.officer_id, "李某突发疾病", hours=8)
    with pytest.raises(Refused, match="duty_to_be_handed_over"):
        watches.sign_on(stand_in)
    (now,) = watches.now(stand_in)
    assert [(each.name, each.permit_reason) for each in now.officers] == [(officer.name, "")]
    assert watches.at(leader, leader.unit_id, room.clock()) == [officer.name]
    assert watches.at(leader, leader.unit_id, room.clock() - timedelta(seconds=1)) == []


@pytest.mark.rule("6.6-b")
def test_a_second_officer_of_the_shift_joins_and_one_may_leave(room: Room) -> None:
    leader, first, second = room.person(Role.LEADER), room.person(), room.person()
    watches = Watches(room.store, room.clock)
    plan(room, leader, first)
    plan(room, leader, second)
    watches.sign_on(first)
    watches.sign_on(second)
    watches.sign_off(first)
    assert [each.name for each in watches.now(first)[0].officers] == [second.name]
    assert watches.now(first)[0].due[0].person == first.name


def test_one_may_sign_on_from_an_hour_before_the_shift_to_two_hours_after(room: Room) -> None:
    leader, officer = room.person(Role.LEADER), room.person()
    plan(room, leader, officer, Pattern.NIGHT)
    start, end = span_of(Pattern.NIGHT, DAY)
    watches = Watches(room.store, room.clock)
    for now, admitted in (
        (start - timedelta(hours=1, seconds=1), False),
        (end + timedelta(hours=2), False),
        (end + timedelta(hours=2, seconds=-1), True),
    ):
        room.clock.now = now
        if admitted:
            watches.sign_on(officer)
            continue
        with pytest.raises(Refused, match="not_rostered"):
            watches.sign_on(officer)
