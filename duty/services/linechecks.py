"""拨测 and 查岗: ordered, planned and taken on; their verdicts, alarms and appeals (requirement 4-a, 6.1-e, 6.6-b).

A check is a row from the moment it is ordered: whoever dies, it ends with a verdict or with the reason why it has none.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from duty.domain.errors import NotFound, Refused
from duty.domain.happenings import AlarmKind, EventKind, Severity
from duty.domain.linechecks import Cause, CheckKind, CheckState, DueCheck, Finding, Verdict, day_times
from duty.domain.rights import Actor, Right
from duty.domain.texts import refuse_unreadable
from duty.domain.times import Clock, local
from duty.services.alarms import clear_alarm, raise_alarm
from duty.services.audit import note
from duty.services.outbox import tell
from duty.store.database import Store
from duty.store.tables import AlarmRow, LineCheckRow, LineRow, OfficerRow

TOKEN_DIGITS = 8
LATEST = timedelta(minutes=30)
"""A check that nobody took on in this time after it was due is not made any more."""
POSTPONED = timedelta(minutes=3)
MAX_POSTPONED = 5
MAX_APPEAL_CHARS = 1000
_ALARMS = {CheckKind.LINE: AlarmKind.LINE_CHECK_FAILED, CheckKind.SPOT: AlarmKind.SPOT_CHECK_FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckView:
    """One check as the console shows it; names in place of ids."""

    check_id: int
    kind: CheckKind
    cause: Cause
    state: CheckState
    line_number: str
    line_name: str
    unit_id: int
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    verdict: Verdict | None
    reason: str
    answer_s: float | None
    call_id: str | None
    officer: str
    ordered_by: str
    evidence: dict[str, Any]
    appeal: str
    appealed_by: str
    appeal_upheld: bool | None


class LineChecks:
    """Every method is one committed transaction."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    # Ordering and planning

    def order(self, actor: Actor, line_number: str, kind: CheckKind) -> int:
        """A leader, the hub or a supervisor wants a check now; its id. Raises NotFound, Forbidden, Refused where one of
        the kind is under way."""
        with self._store.writing() as session:
            line = _line(session, line_number)
            actor.require(Right.ORDER_CHECK, line.unit_id)
            check_id = self._enter(session, line, kind, Cause.ORDERED, actor)
            note(session, at=self._clock(), actor=actor, action="order_check", subject=f"check:{check_id}")
            return check_id

    def before_handover(self, actor: Actor, line_number: str) -> int:
        """The shifts change: the line is tested first, by whoever takes over; its id, or that of the test under way.
        Raises NotFound, Forbidden."""
        with self._store.writing() as session:
            line = _line(session, line_number)
            actor.require(Right.SEE_DESK, line.unit_id)
            under_way = _under_way(session, line.id, CheckKind.LINE)
            return under_way or self._enter(session, line, CheckKind.LINE, Cause.HANDOVER, actor)

    def order_at_machine(self, line_number: str) -> int:
        """The operator at the machine wants a line check; its id, or that of the one under way. Raises NotFound."""
        with self._store.writing() as session:
            line = _line(session, line_number)
            under_way = _under_way(session, line.id, CheckKind.LINE)
            if under_way is not None:
                return under_way
            check_id = self._enter(session, line, CheckKind.LINE, Cause.ORDERED, None)
            note(session, at=self._clock(), actor=None, action="order_check", subject=f"check:{check_id}")
            return check_id

    def plan(self, kind: CheckKind, *, per_day: int, seed: str, leave_out: Collection[str] = ()) -> int:
        """Enter the planned checks of today and tomorrow that are still to come; how many were new.

        Planning again plans nothing twice. Spot checks are planned only where somebody of the unit has a PIN; none for
        the lines whose numbers are in ``leave_out``.
        """
        now = self._clock()
        with self._store.writing() as session:
            new = 0
            for line in session.scalars(select(LineRow)).all():
                if line.number in leave_out or (kind is CheckKind.SPOT and not _with_pin(session, line.unit_id)):
                    continue
                today = local(now).date()
                known = set(session.scalars(_planned(line.id, kind, now)))
                for due_at in (
                    moment
                    for day in (today, today + timedelta(days=1))
                    for moment in day_times(seed=seed, line_number=line.number, kind=kind, day=day, count=per_day)
                ):
                    if due_at > now and due_at not in known:
                        session.add(_row(line, kind, Cause.PLANNED, due_at))
                        new += 1
            return new

    def _enter(self, session: Session, line: LineRow, kind: CheckKind, cause: Cause, actor: Actor | None) -> int:
        now = self._clock()
        if _under_way(session, line.id, kind) is not None:
            raise Refused("check_under_way")
        if kind is CheckKind.SPOT and not _with_pin(session, line.unit_id):
            raise Refused("check_no_pin")
        row = _row(line, kind, cause, now)
        row.ordered_by = actor.officer_id if actor else None
        session.add(row)
        session.flush()
        _told(session, row, line, now)
        return row.id

    # Telephony's side

    def claim(self) -> DueCheck | None:
        """Take on the check that is due longest; None when there is none. What is long overdue is closed as not run."""
        now = self._clock()
        query = (
            select(LineCheckRow)
            .where(LineCheckRow.state == CheckState.DUE.value, LineCheckRow.due_at <= now)
            .order_by(LineCheckRow.due_at, LineCheckRow.id)
            .limit(1)
        )
        with self._store.reading() as session:
            if session.scalars(query).first() is None:
                return None
        with self._store.writing() as session:
            while (
                row := session.scalars(query.with_for_update(of=LineCheckRow, skip_locked=True)).first()
            ) is not None:
                if row.due_at + LATEST >= now:
                    row.state, row.started_at = CheckState.RUNNING.value, now
                    _told(session, row, row.line, now)
                    return _due(row)
                self._close(session, row, Finding(verdict=Verdict.NOT_RUN, reason="overdue"))
                session.flush()
            return None

    def postpone(self, check_id: int) -> bool:
        """The line is in use: try again in a while. False where that was done often enough."""
        with self._store.writing() as session:
            row = _check(session, check_id)
            times = int(row.evidence.get("postponed", 0)) + 1
            if times > MAX_POSTPONED or row.cause != Cause.PLANNED.value:
                return False
            row.evidence = {**row.evidence, "postponed": times}
            row.state, row.started_at, row.due_at = CheckState.DUE.value, None, self._clock() + POSTPONED
            return True

    def finish(self, check_id: int, finding: Finding, *, at: datetime | None = None) -> None:
        """Write the verdict and raise or clear the alarm; a second verdict changes nothing. Raises NotFound."""
        with self._store.writing() as session:
            row = _check(session, check_id)
            if row.state != CheckState.DONE.value:
                self._close(session, row, finding, at)

    def close_unfinished(self) -> int:
        """After a restart: what the former process had taken on has no verdict; how many there were."""
        with self._store.writing() as session:
            rows = session.scalars(select(LineCheckRow).where(LineCheckRow.state == CheckState.RUNNING.value)).all()
            for row in rows:
                self._close(session, row, Finding(verdict=Verdict.NOT_RUN, reason="process_restarted"))
            return len(rows)

    def _close(self, session: Session, row: LineCheckRow, finding: Finding, at: datetime | None = None) -> None:
        now = at or self._clock()
        row.state, row.finished_at = CheckState.DONE.value, now
        row.verdict, row.reason, row.answer_s = finding.verdict.value, finding.reason, finding.answer_s
        row.call_id, row.officer_id = finding.call_id, finding.officer_id
        row.evidence = {**row.evidence, **finding.evidence}
        line, kind = row.line, CheckKind(row.kind)
        if finding.verdict.failed:
            raise_alarm(
                session,
                _ALARMS[kind],
                Severity.CRITICAL if finding.verdict.grave else Severity.WARNING,
                at=now,
                unit_id=line.unit_id,
                call_id=finding.call_id,
                subject=line.number,
                data={"check": row.id, "verdict": finding.verdict.value, "reason": finding.reason},
            )
        elif finding.verdict is Verdict.PASSED:
            _clear(session, _ALARMS[kind], line.number, now)
        _told(session, row, line, now)

    # Appeals

    def appeal(self, actor: Actor, check_id: int, words: str) -> None:
        """A person of the unit says why a spot check that went against them was not their fault. Raises NotFound,
        Forbidden, Refused."""
        actor.require(Right.SEE_DESK)
        words = words.strip()
        refuse_unreadable(words)
        if not 0 < len(words) <= MAX_APPEAL_CHARS:
            raise Refused("appeal_missing", limit=MAX_APPEAL_CHARS)
        with self._store.writing() as session:
            row = _check(session, check_id)
            actor.require(Right.SEE_DESK, row.line.unit_id)
            if not _verdict(row) or not Verdict(row.verdict).concerns_officer:
                raise Refused("check_not_appealable")
            if row.appeal:
                raise Refused("check_appealed_already")
            row.appeal, row.appealed_by = words, actor.officer_id
            now = self._clock()
            note(session, at=now, actor=actor, action="appeal_check", subject=f"check:{check_id}")
            _told(session, row, row.line, now)

    def decide(self, actor: Actor, check_id: int, *, upheld: bool, words: str) -> None:
        """Whoever may order checks decides on the appeal, in writing, and never on one's own. Raises NotFound,
        Forbidden, Refused."""
        actor.require(Right.ORDER_CHECK)
        words = words.strip()
        refuse_unreadable(words)
        if not 0 < len(words) <= MAX_APPEAL_CHARS:
            raise Refused("appeal_decision_missing", limit=MAX_APPEAL_CHARS)
        with self._store.writing() as session:
            row = _check(session, check_id)
            actor.require(Right.ORDER_CHECK, row.line.unit_id)
            if not row.appeal or row.appeal_upheld is not None:
                raise Refused("check_no_open_appeal")
            if row.appealed_by == actor.officer_id:
                raise Refused("appeal_own")
            now = self._clock()
            row.appeal_upheld = upheld
            row.evidence = {**row.evidence, "decided_by": actor.name, "decision": words}
            note(
                session,
                at=now,
                actor=actor,
                action="decide_appeal",
                subject=f"check:{check_id}",
                data={"upheld": upheld},
            )
            if upheld:
                _clear(session, AlarmKind.SPOT_CHECK_FAILED, row.line.number, now)
            _told(session, row, row.line, now)

    # Looking

    def one(self, check_id: int) -> CheckView:
        """One check. Raises NotFound."""
        with self._store.reading() as session:
            return _views(session, [_check(session, check_id)])[0]

    def see(self, actor: Actor, check_id: int) -> CheckView:
        """One check of a unit the person sees; a planned spot check to come is none. Raises NotFound, Forbidden."""
        query = _seen_by(actor).where(LineCheckRow.id == check_id)
        with self._store.reading() as session:
            row = session.scalars(query).first()
            if row is None or (row.kind, row.cause, row.state) == ("spot", "planned", "due"):
                raise NotFound("check_not_found")
            return _views(session, [row])[0]

    def lines(self, actor: Actor) -> list[tuple[str, str]]:
        """Number and name of the lines for which the person may order checks. Raises Forbidden."""
        scope = actor.unit_scope(Right.ORDER_CHECK)
        query = select(LineRow).order_by(LineRow.number)
        if scope is not None:
            query = query.where(LineRow.unit_id == scope)
        with self._store.reading() as session:
            return [(row.number, row.name) for row in session.scalars(query).unique()]

    def recent(self, actor: Actor, *, limit: int = 100) -> list[CheckView]:
        """Checks under way and done, newest first, of the units the person sees. Raises Forbidden."""
        query = _seen_by(actor).where(LineCheckRow.state != CheckState.DUE.value).limit(limit)
        with self._store.reading() as session:
            return _views(session, session.scalars(query).unique().all())

    def due(self, actor: Actor) -> list[CheckView]:
        """Checks still to come. Nobody is shown when a planned spot check will be. Raises Forbidden."""
        query = _seen_by(actor).where(
            LineCheckRow.state == CheckState.DUE.value,
            (LineCheckRow.kind != CheckKind.SPOT.value) | (LineCheckRow.cause != Cause.PLANNED.value),
        )
        with self._store.reading() as session:
            return _views(session, list(reversed(session.scalars(query).unique().all())))

    def last(self, unit_id: int | None = None) -> dict[str, CheckView]:
        """The last finished line check of each line, by its number."""
        query = select(LineRow).order_by(LineRow.number)
        if unit_id is not None:
            query = query.where(LineRow.unit_id == unit_id)
        found = {}
        with self._store.reading() as session:
            for line in session.scalars(query).unique():
                row = session.scalars(_finished(line.id)).first()
                if row is not None:
                    found[line.number] = _views(session, [row])[0]
        return found


def _line(session: Session, number: str) -> LineRow:
    line = session.scalars(select(LineRow).where(LineRow.number == number)).first()
    if line is None:
        raise NotFound("line_not_found", number=number)
    return line


def _check(session: Session, check_id: int) -> LineCheckRow:
    row = session.get(LineCheckRow, check_id)
    if row is None:
        raise NotFound("check_not_found")
    return row


def _row(line: LineRow, kind: CheckKind, cause: Cause, due_at: datetime) -> LineCheckRow:
    return LineCheckRow(
        line_id=line.id,
        kind=kind.value,
        cause=cause.value,
        state=CheckState.DUE.value,
        token=_token() if kind is CheckKind.LINE else "",
        due_at=due_at,
        evidence={},
    )


def _token() -> str:
    """Digits no two of which run alike, so that a doubled or a swallowed tone cannot make another token of it."""
    digits = secrets.choice("0123456789")
    while len(digits) < TOKEN_DIGITS:
        digits += secrets.choice([digit for digit in "0123456789" if digit != digits[-1]])
    return digits


def _under_way(session: Session, line_id: int, kind: CheckKind) -> int | None:
    """A check of the line that runs, or that somebody waits for."""
    query = select(LineCheckRow.id).where(
        LineCheckRow.line_id == line_id,
        LineCheckRow.kind == kind.value,
        (LineCheckRow.state == CheckState.RUNNING.value)
        | ((LineCheckRow.state == CheckState.DUE.value) & (LineCheckRow.cause != Cause.PLANNED.value)),
    )
    return session.scalars(query.limit(1)).first()


def _planned(line_id: int, kind: CheckKind, now: datetime) -> Select[datetime]:
    """When the planned checks of the line were entered for, a postponed one at its first time."""
    return select(LineCheckRow.due_at).where(
        LineCheckRow.line_id == line_id,
        LineCheckRow.kind == kind.value,
        LineCheckRow.cause == Cause.PLANNED.value,
        LineCheckRow.due_at > now - timedelta(days=1),
    )


def _with_pin(session: Session, unit_id: int) -> bool:
    query = select(OfficerRow.id).where(
        OfficerRow.unit_id == unit_id, OfficerRow.active.is_(True), OfficerRow.pin_hash != ""
    )
    return session.scalars(query.limit(1)).first() is not None


def _due(row: LineCheckRow) -> DueCheck:
    return DueCheck(
        check_id=row.id,
        kind=CheckKind(row.kind),
        cause=Cause(row.cause),
        line_number=row.line.number,
        token=row.token,
        due_at=row.due_at,
    )


def _clear(session: Session, kind: AlarmKind, subject: str, now: datetime) -> None:
    query = select(AlarmRow).where(
        AlarmRow.kind == kind.value, AlarmRow.subject == subject, AlarmRow.cleared_at.is_(None)
    )
    for _ in session.scalars(query).all():
        clear_alarm(session, kind, subject, at=now)
        session.flush()


def _told(session: Session, row: LineCheckRow, line: LineRow, now: datetime) -> None:
    tell(
        session,
        EventKind.LINE_CHANGED,
        at=now,
        unit_id=line.unit_id,
        data={
            "kind": "check",
            "name": line.number,
            "check": row.id,
            "state": row.state,
            "verdict": row.verdict or None,
        },
    )


def _seen_by(actor: Actor) -> Select[LineCheckRow]:
    scope = actor.unit_scope(Right.SEE_CALLS)
    query = select(LineCheckRow).join(LineRow).order_by(LineCheckRow.due_at.desc(), LineCheckRow.id.desc())
    return query if scope is None else query.where(LineRow.unit_id == scope)


def _finished(line_id: int) -> Select[LineCheckRow]:
    return (
        select(LineCheckRow)
        .where(
            LineCheckRow.line_id == line_id,
            LineCheckRow.kind == CheckKind.LINE.value,
            LineCheckRow.state == CheckState.DONE.value,
            LineCheckRow.verdict != Verdict.NOT_RUN.value,
        )
        .order_by(LineCheckRow.finished_at.desc(), LineCheckRow.id.desc())
        .limit(1)
    )


def _verdict(row: LineCheckRow) -> Verdict | None:
    return Verdict(row.verdict) if row.verdict else None


def _views(session: Session, rows: Iterable[LineCheckRow]) -> list[CheckView]:
    rows = list(rows)
    ids = {one for row in rows for one in (row.officer_id, row.ordered_by, row.appealed_by) if one is not None}
    people = session.execute(select(OfficerRow.id, OfficerRow.name).where(OfficerRow.id.in_(ids)))
    names: dict[int | None, str] = {officer_id: name for officer_id, name in people}  # noqa: C416 - rows, not pairs
    return [
        CheckView(
            check_id=row.id,
            kind=CheckKind(row.kind),
            cause=Cause(row.cause),
            state=CheckState(row.state),
            line_number=row.line.number,
            line_name=row.line.name,
            unit_id=row.line.unit_id,
            due_at=row.due_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            verdict=_verdict(row),
            reason=row.reason,
            answer_s=row.answer_s,
            call_id=row.call_id,
            officer=names.get(row.officer_id, ""),
            ordered_by=names.get(row.ordered_by, ""),
            evidence=dict(row.evidence),
            appeal=row.appeal,
            appealed_by=names.get(row.appealed_by, ""),
            appeal_upheld=row.appeal_upheld,
        )
        for row in rows
    ]
