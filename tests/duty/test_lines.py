"""Units and lines as configured, the state of their parts, and the alarms that follow from it."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from duty.domain.errors import Forbidden, NotFound
from duty.domain.happenings import AlarmKind, EventKind, Severity
from duty.domain.rights import Right, Role
from duty.services.lines import LinePlan, UnitPlan
from duty.services.network import Network
from duty.store.tables import AlarmRow, AuditRow, BookRow, UnitRow
from tests.duty.room import HUB_LINE, Room

HUB = UnitPlan(code="LT", name="龙亭区人民政府办公室", room_name="龙亭区政府值班室", is_hub=True)


def alarms(room: Room) -> list[tuple[str, str, bool]]:
    with room.store.reading() as session:
        rows = session.scalars(select(AlarmRow).order_by(AlarmRow.id))
        return [(row.kind, row.subject, row.cleared_at is not None) for row in rows]


@pytest.mark.rule("3-a")
def test_units_form_a_tree_with_a_logbook_each(room: Room) -> None:
    with room.store.reading() as session:
        units = {row.code: row for row in session.scalars(select(UnitRow))}
        books = session.scalars(select(BookRow.unit_id)).all()
    assert units["BS"].parent_id == units["LT"].id
    assert set(books) == {row.id for row in units.values()}
    network = Network(room.store)
    hub, town = room.person(Role.HUB), room.person(unit="BS")
    assert [row.code for row in network.units(hub, Right.SEE_CALLS)] == ["LT", "BS"]
    assert [row.code for row in network.units(town, Right.SEE_CALLS)] == ["BS"]
    with pytest.raises(Forbidden):
        network.units(town, Right.MANAGE_PEOPLE)


@pytest.mark.rule("10-a")
def test_provisioning_again_follows_the_configuration_and_keeps_the_book(room: Room) -> None:
    officer = room.person()
    room.finalized(officer)
    room.lines.report(HUB_LINE, "phone", "1002", state="registered")
    room.lines.report(HUB_LINE, "phone", "1001", state="registered")
    room.lines.report(HUB_LINE, "phone", "1001", state="unregistered", reason="expired")
    town = UnitPlan(code="BS", name="北书店街道办", room_name="值班室", number_pattern="北{year}-{number}")
    line = LinePlan(number=HUB_LINE, name="新名", unit="LT", extensions=("1002", "1003"), has_trunk=False)
    room.lines.provision([HUB, town], [line])
    parts = {(part.kind, part.name): part.state for part in room.lines.components(room.units["LT"])}
    assert parts == {("phone", "1002"): "registered", ("phone", "1003"): "unregistered"}
    assert alarms(room) == [("phone_unreachable", "1001", True)], "a phone that is gone cannot be unreachable"
    with room.store.reading() as session:
        row = session.scalars(select(UnitRow).where(UnitRow.code == "BS")).one()
        assert (row.name, row.parent_id, row.number_pattern) == ("北书店街道办", None, "北{year}-{number}")
        assert session.get_one(BookRow, room.units["LT"]).position == 1


@pytest.mark.rule("4-a")
def test_a_phone_that_is_lost_alarms_once_and_the_alarm_clears_itself(room: Room) -> None:
    room.lines.report(HUB_LINE, "phone", "1001", state="unregistered", reason="never")
    assert alarms(room) == [], "a phone that was never there is not lost"
    for _ in range(2):
        room.lines.report(HUB_LINE, "phone", "1001", state="registered", bindings=[["sip:1001@127.0.0.1:5070", 60]])
    room.lines.report(HUB_LINE, "phone", "1001", state="unregistered", reason="expired")
    room.lines.report(HUB_LINE, "phone", "1001", state="failed", reason="408")
    assert alarms(room) == [("phone_unreachable", "1001", False)]
    assert room.alarms.stands(AlarmKind.PHONE_UNREACHABLE)
    room.lines.report(HUB_LINE, "phone", "1001", state="reachable")
    assert alarms(room) == [("phone_unreachable", "1001", True)]
    assert not room.alarms.stands(AlarmKind.PHONE_UNREACHABLE)
    assert room.lines.bindings()["1001"] == [["sip:1001@127.0.0.1:5070", 60]]
    room.lines.report(HUB_LINE, "trunk", HUB_LINE, state="failed", reason="403")
    assert alarms(room)[-1] == ("trunk_unreachable", HUB_LINE, False)
    changes = [event for event in room.outbox.after(0) if event.kind is EventKind.LINE_CHANGED]
    assert [event.data["state"] for event in changes] == [
        "unregistered", "registered", "unregistered", "failed", "reachable", "failed",
    ]  # fmt: skip
    with pytest.raises(NotFound):
        room.lines.report(HUB_LINE, "phone", "9999", state="registered")


@pytest.mark.rule("4-a")
def test_one_of_two_trunks_is_a_warning_and_none_an_emergency(room: Room) -> None:
    first, second = (f"{HUB_LINE}@10.0.0.{host}:5060" for host in (1, 2))
    room.lines.keep_trunks(HUB_LINE, [first, second])
    for name in (first, second):
        room.lines.report(HUB_LINE, "trunk", name, state="registered")
    room.lines.report(HUB_LINE, "trunk", first, state="unreachable", reason="timeout")
    assert open_alarms(room) == {(first, Severity.WARNING)}
    room.lines.report(HUB_LINE, "trunk", second, state="unreachable", reason="transport")
    assert open_alarms(room) == {
        (first, Severity.WARNING),
        (second, Severity.WARNING),
        (HUB_LINE, Severity.CRITICAL),
    }
    room.lines.report(HUB_LINE, "trunk", first, state="registered")
    assert open_alarms(room) == {(second, Severity.WARNING)}
    room.lines.keep_trunks(HUB_LINE, [HUB_LINE])
    assert open_alarms(room) == set(), "what is gone is not lost"
    assert [part.name for part in room.lines.components() if part.kind == "trunk"] == [HUB_LINE]
    room.lines.report(HUB_LINE, "trunk", HUB_LINE, state="unreachable", reason="timeout")
    assert open_alarms(room) == {(HUB_LINE, Severity.CRITICAL)}, "the only one"
    with pytest.raises(NotFound):
        room.lines.keep_trunks("0000", [])


def test_provisioning_keeps_the_trunks_that_telephony_found(room: Room) -> None:
    names = [f"{HUB_LINE}@10.0.0.{host}:5060" for host in (1, 2)]
    room.lines.keep_trunks(HUB_LINE, names)
    line = LinePlan(number=HUB_LINE, name="专线", unit="LT", extensions=("1001",), has_trunk=True)
    room.lines.provision([HUB], [line])
    assert [part.name for part in room.lines.components() if part.kind == "trunk"] == names
    line = LinePlan(number=HUB_LINE, name="专线", unit="LT", extensions=("1001",), has_trunk=False)
    room.lines.provision([HUB], [line])
    assert [part.name for part in room.lines.components() if part.kind == "trunk"] == []


def open_alarms(room: Room) -> set[tuple[str, str]]:
    with room.store.reading() as session:
        rows = session.scalars(select(AlarmRow).where(AlarmRow.cleared_at.is_(None)))
        return {(row.subject, row.severity) for row in rows}


def test_an_alarm_is_acknowledged_by_name_and_once(room: Room) -> None:
    officer, town, supervisor = room.person(), room.person(unit="BS"), room.person(Role.SUPERVISOR)
    room.alarms.report(
        AlarmKind.CALL_MISSED, Severity.WARNING, subject="x" * 500, unit_id=room.units["LT"], outcome="busy"
    )
    [alarm] = room.alarms.unacknowledged(officer)
    assert room.alarms.unacknowledged(town) == []
    with pytest.raises(Forbidden):
        room.alarms.acknowledge(supervisor, alarm.id)
    with pytest.raises(Forbidden):
        room.alarms.acknowledge(town, alarm.id)
    with pytest.raises(NotFound):
        room.alarms.acknowledge(officer, alarm.id + 1)
    room.alarms.acknowledge(officer, alarm.id)
    room.alarms.acknowledge(room.person(), alarm.id)
    with room.store.reading() as session:
        row = session.get_one(AlarmRow, alarm.id)
        noted = session.scalars(select(AuditRow).where(AuditRow.action == "acknowledge_alarm")).all()
    assert (row.acknowledged_by, row.data) == (officer.officer_id, {"outcome": "busy"})
    assert len(noted) == 1


def test_a_standing_fault_of_the_machine_is_everybodys_and_told_once(room: Room) -> None:
    for _ in range(3):
        room.alarms.report(AlarmKind.DISK_LOW, Severity.CRITICAL, subject="/" + "d" * 300, free=1)
    assert len(room.alarms.unacknowledged(room.person(unit="BS"))) == 1
    room.alarms.settle(AlarmKind.DISK_LOW, subject="/" + "d" * 300)
    room.alarms.settle(AlarmKind.DISK_LOW, subject="/" + "d" * 300)
    room.alarms.report(AlarmKind.DISK_LOW, Severity.CRITICAL, subject="/" + "d" * 300, free=0)
    assert [cleared for _, _, cleared in alarms(room)] == [True, False]
    told = [event.kind for event in room.outbox.after(0) if event.data.get("kind") == "disk_low"]
    assert told == [EventKind.ALARM_RAISED, EventKind.ALARM_CLEARED, EventKind.ALARM_RAISED]
