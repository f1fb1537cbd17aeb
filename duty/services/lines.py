"""Units, lines and the state of their parts (requirement 3-a, 4-a)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.chain import GENESIS
from duty.domain.errors import NotFound
from duty.domain.happenings import AlarmKind, EventKind, Severity
from duty.domain.times import Clock
from duty.services.alarms import clear_alarm, raise_alarm
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import BookRow, ComponentRow, LineRow, UnitRow


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPlan:
    """One unit as configured. ``parent`` is the code of the unit above it; the hub has none."""

    code: str
    name: str
    room_name: str
    parent: str | None = None
    is_hub: bool = False
    number_pattern: str = "龙亭值〔{year}〕{number}号"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePlan:
    """One line as configured: its number, its unit's code, its desk phones' extensions, whether a trunk registers."""

    number: str
    name: str
    unit: str
    extensions: tuple[str, ...]
    has_trunk: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentView:
    """The state of one part of a line as the console shows it."""

    line_number: str
    line_name: str
    unit_id: int
    kind: str
    name: str
    state: str
    reason: str
    since: datetime


_LOST = {"phone": AlarmKind.PHONE_UNREACHABLE, "trunk": AlarmKind.TRUNK_UNREACHABLE}
GOOD = frozenset({"registered", "reachable"})
"""States in which a part does its work."""
_LOUD = frozenset({"failed", "unreachable"})
"""States that alarm even where the part never worked."""


class Lines:
    """Provisioning of the configured lines, and what telephony reports of them."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def provision(self, units: Sequence[UnitPlan], lines: Sequence[LinePlan]) -> None:
        """Bring units and lines to what the configuration says; nothing that has records is ever removed."""
        with self._store.writing() as session:
            ids = {unit.code: _unit(session, unit) for unit in units}
            for unit in units:
                session.get_one(UnitRow, ids[unit.code]).parent_id = ids[unit.parent] if unit.parent else None
            for line in lines:
                self._line(session, line, ids[line.unit])

    def _line(self, session: Session, plan: LinePlan, unit_id: int) -> None:
        row = session.scalars(select(LineRow).where(LineRow.number == plan.number)).first()
        if row is None:
            row = LineRow(number=plan.number, unit_id=unit_id, name=plan.name)
            session.add(row)
        row.unit_id, row.name = unit_id, plan.name
        session.flush()
        wanted = {("phone", extension) for extension in plan.extensions}
        present = {(part.kind, part.name): part for part in _components(session, row.id)}
        if plan.has_trunk:  # how many there are, telephony tells
            wanted |= {part for part in present if part[0] == "trunk"} or {("trunk", plan.number)}
        for kind, name in wanted - present.keys():
            session.add(ComponentRow(line_id=row.id, kind=kind, name=name, state="unregistered", since=self._clock()))
        for kind, name in present.keys() - wanted:
            session.delete(present[kind, name])
            clear_alarm(session, _LOST[kind], name, at=self._clock())

    def report(
        self,
        line_number: str,
        kind: str,
        name: str,
        *,
        state: str,
        reason: str = "",
        bindings: list[Any] | None = None,
    ) -> None:
        """Telephony tells the state of a phone or trunk; a change raises or clears the alarm. Raises NotFound."""
        now = self._clock()
        with self._store.writing() as session:
            row = session.scalars(
                select(ComponentRow)
                .join(LineRow)
                .where(LineRow.number == line_number, ComponentRow.kind == kind, ComponentRow.name == name)
            ).first()
            if row is None:
                raise NotFound("component_not_found", line=line_number, name=name)
            if bindings is not None:
                row.bindings = bindings
            if row.state == state and row.reason == reason:
                return
            was_good, row.state, row.reason, row.since = row.state in GOOD, state, reason, now
            line = session.get_one(LineRow, row.line_id)
            tell(
                session,
                EventKind.LINE_CHANGED,
                at=now,
                unit_id=line.unit_id,
                data={"kind": kind, "name": name, "state": state, "reason": reason},
            )
            if state in GOOD:
                clear_alarm(session, _LOST[kind], name, at=now)
            elif was_good or state in _LOUD:
                _alarm(session, line, row, at=now)
            if kind == "trunk":
                _look_at_all_trunks(session, line, at=now)

    def keep_trunks(self, line_number: str, names: Sequence[str]) -> None:
        """The line's PBXs go by ``names`` from now on. Raises NotFound."""
        with self._store.writing() as session:
            line = session.scalars(select(LineRow).where(LineRow.number == line_number)).first()
            if line is None:
                raise NotFound("line_not_found", line=line_number)
            present = {part.name: part for part in _components(session, line.id) if part.kind == "trunk"}
            for name in present.keys() - set(names):
                session.delete(present[name])
                clear_alarm(session, AlarmKind.TRUNK_UNREACHABLE, name, at=self._clock())
            for name in [name for name in names if name not in present]:
                session.add(
                    ComponentRow(line_id=line.id, kind="trunk", name=name, state="unregistered", since=self._clock())
                )

    def components(self, unit_id: int | None = None) -> list[ComponentView]:
        """Every phone and trunk, of one unit or of all."""
        query = select(ComponentRow, LineRow).join(LineRow).order_by(LineRow.number, ComponentRow.kind.desc())
        if unit_id is not None:
            query = query.where(LineRow.unit_id == unit_id)
        with self._store.reading() as session:
            return [
                ComponentView(
                    line_number=line.number,
                    line_name=line.name,
                    unit_id=line.unit_id,
                    kind=row.kind,
                    name=row.name,
                    state=row.state,
                    reason=row.reason,
                    since=row.since,
                )
                for row, line in session.execute(query.order_by(ComponentRow.name)).unique()
            ]

    def bindings(self) -> dict[str, list[Any]]:
        """Extension to the registrar bindings it last had, for the registrar to start with."""
        with self._store.reading() as session:
            rows = session.scalars(select(ComponentRow).where(ComponentRow.kind == "phone"))
            return {row.name: list(row.bindings) for row in rows}


def _unit(session: Session, plan: UnitPlan) -> int:
    row = session.scalars(select(UnitRow).where(UnitRow.code == plan.code)).first()
    if row is None:
        row = UnitRow(
            code=plan.code,
            name=plan.name,
            room_name=plan.room_name,
            is_hub=plan.is_hub,
            number_pattern=plan.number_pattern,
        )
        session.add(row)
        session.flush()
        session.add(BookRow(unit_id=row.id, position=0, hash=GENESIS))
    row.name, row.room_name, row.is_hub, row.number_pattern = (
        plan.name,
        plan.room_name,
        plan.is_hub,
        plan.number_pattern,
    )
    session.flush()
    return row.id


def _components(session: Session, line_id: int) -> list[ComponentRow]:
    return list(session.scalars(select(ComponentRow).where(ComponentRow.line_id == line_id)))


def _trunks(session: Session, line: LineRow) -> list[ComponentRow]:
    return [part for part in _components(session, line.id) if part.kind == "trunk"]


def _alarm(session: Session, line: LineRow, row: ComponentRow, *, at: datetime) -> None:
    """A part is lost; of several PBXs, one alone is no emergency."""
    spare = row.kind == "trunk" and len(_trunks(session, line)) > 1
    raise_alarm(
        session,
        _LOST[row.kind],
        Severity.WARNING if spare else Severity.CRITICAL,
        at=at,
        unit_id=line.unit_id,
        subject=row.name,
        data={"line": line.number, "reason": row.reason},
    )


def _look_at_all_trunks(session: Session, line: LineRow, *, at: datetime) -> None:
    """Where a line has several PBXs, an alarm of the line's own says that none is left."""
    states = [part.state for part in _trunks(session, line)]
    if len(states) < 2:
        return
    if any(state in GOOD for state in states):
        clear_alarm(session, AlarmKind.TRUNK_UNREACHABLE, line.number, at=at)
    elif all(state in _LOUD for state in states):
        raise_alarm(
            session,
            AlarmKind.TRUNK_UNREACHABLE,
            Severity.CRITICAL,
            at=at,
            unit_id=line.unit_id,
            subject=line.number,
            data={"line": line.number, "reason": "all"},
        )
