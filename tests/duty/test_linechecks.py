"""Checks as the duty room keeps them: who may order, when they are planned, what a verdict brings about; PINs."""

from __future__ import annotations

from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from duty.domain.errors import BadCredential, Forbidden, NotFound, Refused
from duty.domain.linechecks import Cause, CheckKind, CheckState, Finding, Verdict, check_pin, day_times
from duty.domain.rights import Actor, Role
from duty.domain.times import local
from duty.services.linechecks import LineChecks
from duty.services.pins import Pins
from duty.store.tables import AlarmRow, LineCheckRow, OfficerRow
from tests.duty.room import HASHER, HUB_LINE, PASSWORD, TOWN_LINE, Room

PIN, OTHER_PIN = "482915", "573026"


@pytest.fixture
def checks(room: Room) -> LineChecks:
    return LineChecks(room.store, room.clock)


@pytest.fixture
def pins(room: Room) -> Pins:
    return Pins(room.store, room.clock, accounts=room.accounts, hasher=HASHER)


@pytest.fixture
def officer(room: Room, pins: Pins) -> Actor:
    made = room.person()
    pins.set(made, PIN, password=PASSWORD)
    return made


def alarms(room: Room) -> list[tuple[str, str, str, bool]]:
    with room.store.reading() as session:
        rows = session.scalars(select(AlarmRow).order_by(AlarmRow.id))
        return [(row.kind, row.severity, row.subject, row.cleared_at is not None) for row in rows]


def done(checks: LineChecks, check_id: int, verdict: Verdict, **more: str | float | int) -> None:
    taken = checks.claim()
    assert taken is not None
    assert taken.check_id == check_id
    checks.finish(check_id, Finding(verdict=verdict, reason="r", **more))  # type: ignore[arg-type]


@pytest.mark.rule("6.6-b")
@pytest.mark.parametrize(
    ("role", "unit", "line", "allowed"),
    [
        (Role.LEADER, "LT", HUB_LINE, True),
        (Role.LEADER, "BS", HUB_LINE, False),
        (Role.HUB, "LT", TOWN_LINE, True),
        (Role.SUPERVISOR, "LT", TOWN_LINE, True),
        (Role.OFFICER, "LT", HUB_LINE, False),
        (Role.ADMINISTRATOR, "LT", HUB_LINE, False),
        (Role.AUDITOR, "LT", HUB_LINE, False),
    ],
)
def test_who_may_order(room: Room, checks: LineChecks, role: Role, unit: str, line: str, allowed: bool) -> None:
    actor = room.person(role, unit=unit)
    if not allowed:
        with pytest.raises(Forbidden):
            checks.order(actor, line, CheckKind.LINE)
        return
    seen = checks.one(checks.order(actor, line, CheckKind.LINE))
    assert (seen.state, seen.cause, seen.ordered_by, seen.line_number) == (
        CheckState.DUE, Cause.ORDERED, actor.name, line,
    )  # fmt: skip


@pytest.mark.rule("4-a")
def test_one_check_of_a_kind_at_a_time_and_each_is_taken_once(room: Room, checks: LineChecks, officer: Actor) -> None:
    leader = room.person(Role.LEADER)
    first = checks.order(leader, HUB_LINE, CheckKind.LINE)
    with pytest.raises(Refused, match="check_under_way"):
        checks.order(leader, HUB_LINE, CheckKind.LINE)
    assert checks.before_handover(officer, HUB_LINE) == first, "the test under way serves the handover, too"
    assert checks.order_at_machine(HUB_LINE) == first
    spot = checks.order(leader, HUB_LINE, CheckKind.SPOT)
    taken = [checks.claim(), checks.claim(), checks.claim()]
    assert [each.check_id if each else None for each in taken] == [first, spot, None]
    assert taken[0] is not None
    assert len(taken[0].token) == 8
    assert taken[0].token.isdigit()
    checks.finish(first, Finding(verdict=Verdict.PASSED, reason="token_heard", answer_s=0.3))
    checks.finish(first, Finding(verdict=Verdict.DEAD, reason="again"))
    assert checks.one(first).verdict is Verdict.PASSED, "a verdict is not given twice"
    handover = checks.before_handover(officer, HUB_LINE)
    assert (handover != first, checks.one(handover).cause) == (True, Cause.HANDOVER)
    with pytest.raises(NotFound):
        checks.order(leader, "110", CheckKind.LINE)


@pytest.mark.rule("4-a", "6.1-e")
@pytest.mark.parametrize(
    ("verdict", "severity"),
    [
        (Verdict.FORWARDED, "critical"),
        (Verdict.FOREIGN, "critical"),
        (Verdict.DEAD, "critical"),
        (Verdict.FAULT, "warning"),
    ],
)
def test_a_failed_line_check_alarms_until_the_line_passes(
    room: Room, checks: LineChecks, verdict: Verdict, severity: str
) -> None:
    leader = room.person(Role.LEADER)
    for _ in range(2):
        done(checks, checks.order(leader, HUB_LINE, CheckKind.LINE), verdict)
    assert alarms(room) == [("line_check_failed", severity, HUB_LINE, False)] * 2, "each failure is told"
    done(checks, _other(room, checks), Verdict.PASSED)
    assert not any(cleared for *_, cleared in alarms(room)), "another line's success changes nothing"
    done(checks, checks.order(leader, HUB_LINE, CheckKind.LINE), Verdict.PASSED)
    assert all(cleared for *_, cleared in alarms(room))
    last = checks.last(room.units["LT"])
    assert {number: view.verdict for number, view in last.items()} == {HUB_LINE: Verdict.PASSED}
    assert set(checks.last()) == {HUB_LINE, TOWN_LINE}


def _other(room: Room, checks: LineChecks) -> int:
    return checks.order(room.person(Role.HUB), TOWN_LINE, CheckKind.LINE)


def test_nothing_is_planned_for_a_line_whose_calls_are_only_forked_to_us(
    room: Room, checks: LineChecks, officer: Actor
) -> None:
    for kind in CheckKind:
        checks.plan(kind, per_day=3, seed="s", leave_out={HUB_LINE})
    with room.store.reading() as session:
        planned = session.scalars(select(LineCheckRow)).unique().all()
    assert {row.line.number for row in planned} == {TOWN_LINE}


@pytest.mark.rule("6.6-b")
def test_checks_are_planned_once_at_times_nobody_can_foresee(room: Room, checks: LineChecks, officer: Actor) -> None:
    assert checks.plan(CheckKind.LINE, per_day=3, seed="s") > 0
    assert checks.plan(CheckKind.LINE, per_day=3, seed="s") == 0
    assert checks.plan(CheckKind.SPOT, per_day=2, seed="s") > 0
    hub, leader = room.person(Role.HUB), room.person(Role.LEADER)
    assert {view.kind for view in checks.due(hub)} == {CheckKind.LINE}, "no planned spot check is shown"
    assert {view.line_number for view in checks.due(leader)} == {HUB_LINE}
    with room.store.reading() as session:
        spots = session.scalars(select(LineCheckRow).where(LineCheckRow.kind == "spot")).unique().all()
    assert {row.line.number for row in spots} == {HUB_LINE}, "only where somebody has a PIN"
    with pytest.raises(NotFound):
        checks.see(hub, spots[0].id)
    taken = 0
    for _ in range(3 * 24):
        room.clock.turn(minutes=20)
        checks.plan(CheckKind.LINE, per_day=3, seed="s")
        while (due := checks.claim()) is not None:
            taken += due.kind is CheckKind.LINE
            assert due.due_at <= room.clock()
            checks.finish(due.check_id, Finding(verdict=Verdict.PASSED, reason="r"))
    assert taken in range(3, 13), "about three a day on each of two lines"


@given(seed=st.text(max_size=8), count=st.integers(0, 12))
def test_the_times_of_a_day(seed: str, count: int) -> None:
    day = date(2026, 11, 23)
    times = day_times(seed=seed, line_number="1", kind=CheckKind.SPOT, day=day, count=count)
    assert times == day_times(seed=seed, line_number="1", kind=CheckKind.SPOT, day=day, count=count)
    assert len(times) == count
    assert all(local(moment).date() == day for moment in times)
    assert set(times) <= set(day_times(seed=seed, line_number="1", kind=CheckKind.SPOT, day=day, count=count + 1))


def test_what_was_missed_or_broken_off_says_so(room: Room, checks: LineChecks) -> None:
    leader = room.person(Role.LEADER)
    late = checks.order(leader, HUB_LINE, CheckKind.LINE)
    room.clock.turn(minutes=31)
    assert checks.claim() is None
    assert (checks.one(late).verdict, checks.one(late).reason) == (Verdict.NOT_RUN, "overdue")
    broken = checks.order(leader, HUB_LINE, CheckKind.LINE)
    assert checks.claim() is not None
    assert checks.close_unfinished() == 1
    assert (checks.one(broken).verdict, checks.one(broken).reason) == (Verdict.NOT_RUN, "process_restarted")
    assert alarms(room) == []


def test_a_planned_check_waits_for_a_line_in_use(room: Room, checks: LineChecks) -> None:
    checks.plan(CheckKind.LINE, per_day=1, seed="s")
    room.clock.turn(hours=48)
    with room.store.writing() as session:
        row = session.scalars(select(LineCheckRow)).unique().all()[-1]
        row.due_at = room.clock()
        planned = row.id
    for _ in range(5):
        due = checks.claim()
        while due is not None and due.check_id != planned:
            due = checks.claim()
        assert due is not None
        assert checks.postpone(planned)
        assert checks.claim() is None
        room.clock.turn(minutes=3)
    assert not checks.postpone(planned), "five times are enough"
    ordered = checks.order(room.person(Role.LEADER), HUB_LINE, CheckKind.LINE)
    assert not checks.postpone(ordered), "who orders one is told at once"


@pytest.mark.rule("6.6-b")
def test_an_appeal_is_heard_by_somebody_else_and_a_fault_of_the_line_needs_none(
    room: Room, checks: LineChecks, officer: Actor
) -> None:
    leader, town = room.person(Role.LEADER), room.person(unit="BS")
    absent = checks.order(leader, HUB_LINE, CheckKind.SPOT)
    done(checks, absent, Verdict.NO_ANSWER)
    assert alarms(room) == [("spot_check_failed", "critical", HUB_LINE, False)]
    for wrong, error in ((town, Forbidden), (room.person(Role.SUPERVISOR), Forbidden)):
        with pytest.raises(error):
            checks.appeal(wrong, absent, "不在岗")
    with pytest.raises(Refused, match="appeal_missing"):
        checks.appeal(officer, absent, "  ")
    with pytest.raises(Refused, match="check_no_open_appeal"):
        checks.decide(leader, absent, upheld=True, words="无")
    checks.appeal(leader, absent, "话机振铃器损坏")
    with pytest.raises(Refused, match="check_appealed_already"):
        checks.appeal(officer, absent, "再次")
    with pytest.raises(Refused, match="appeal_own"):
        checks.decide(leader, absent, upheld=True, words="情况属实")
    with pytest.raises(Forbidden):
        checks.decide(officer, absent, upheld=True, words="情况属实")
    checks.decide(room.person(Role.SUPERVISOR), absent, upheld=True, words="情况属实")
    seen = checks.one(absent)
    assert (seen.appeal_upheld, seen.evidence["decision"], seen.verdict) == (True, "情况属实", Verdict.NO_ANSWER)
    assert alarms(room)[0][3], "an upheld appeal clears the alarm; the verdict stays on record"
    dead = checks.order(leader, HUB_LINE, CheckKind.SPOT)
    done(checks, dead, Verdict.UNREACHABLE)
    with pytest.raises(Refused, match="check_not_appealable"):
        checks.appeal(officer, dead, "线路故障")


@pytest.mark.rule("6.6-b")
def test_a_pin_is_ones_own_kept_as_a_hash_and_unique_in_the_unit(room: Room, pins: Pins, officer: Actor) -> None:
    colleague, town = room.person(), room.person(unit="BS")
    with pytest.raises(BadCredential):
        pins.set(colleague, OTHER_PIN, password="not-my-password")
    with pytest.raises(Refused, match="pin_unusable"):
        pins.set(colleague, PIN, password=PASSWORD)
    pins.set(town, PIN, password=PASSWORD)
    assert (pins.whose(HUB_LINE, PIN), pins.whose(TOWN_LINE, PIN)) == (officer.officer_id, town.officer_id)
    assert pins.whose(HUB_LINE, "000000") is None
    assert pins.whose("110", PIN) is None
    with room.store.writing() as session:
        row = session.get_one(OfficerRow, officer.officer_id)
        assert PIN not in row.pin_hash
        row.active = False
    assert pins.whose(HUB_LINE, PIN) is None, "who has left proves nothing"
    assert (pins.is_set(officer), pins.is_set(colleague)) == (True, False)


def test_pins_cannot_be_found_by_trying(room: Room, pins: Pins) -> None:
    prying = room.person()
    for number in range(5):
        pins.set(prying, f"48{number}1", password=PASSWORD)
    with pytest.raises(Refused, match="pin_changed_often"):
        pins.set(prying, "5730", password=PASSWORD)
    room.clock.turn(hours=25)
    pins.set(prying, "5730", password=PASSWORD)


@given(st.text(max_size=12))
def test_any_text_is_a_pin_or_is_refused(text: str) -> None:
    fit = 4 <= len(text) <= 8 and set(text) <= set("0123456789") and len(set(text)) > 2
    if not fit:
        with suppress(Refused):
            check_pin(text)
            assert len(set(text)) == 2, "only two digits that do not follow on each other"


@pytest.mark.parametrize("simple", ["0000", "1234", "98765432", "8901"])
def test_simple_pins_are_refused(simple: str) -> None:
    with pytest.raises(Refused, match="pin_unusable"):
        check_pin(simple)


def test_a_spot_check_needs_somebody_with_a_pin(room: Room, checks: LineChecks) -> None:
    with pytest.raises(Refused, match="check_no_pin"):
        checks.order(room.person(Role.LEADER), HUB_LINE, CheckKind.SPOT)
    assert checks.plan(CheckKind.SPOT, per_day=4, seed="s") == 0
