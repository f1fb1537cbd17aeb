"""涉密: who flags a call, who may open what was sealed and why, who lifts a false flag. Each of these, each look and
each refusal is told in the audit log and in the custody chain (requirement 6.5-a).

From the moment a call is flagged its words are in no table, event or page: they are sealed at once where there is a
master key, and where there is none they are withheld and sealed as soon as one exists. The files are the keeper's work
(``sealingacts``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.calls import CallEventKind
from duty.domain.chain import Canonical
from duty.domain.errors import Forbidden, NotFound, Refused
from duty.domain.happenings import AlarmKind, EventKind, Severity
from duty.domain.rights import Actor, Right
from duty.domain.secrecy import Opening, SecrecyAct, SecrecySource, SecrecyState, SecrecyStep, next_state
from duty.domain.texts import refuse_unreadable
from duty.domain.times import Clock
from duty.services.alarms import clear_alarm, raise_alarm
from duty.services.audit import note
from duty.services.custody_chain import append_link
from duty.services.outbox import tell
from duty.services.sealedtexts import (
    forget_captions,
    give_key,
    is_secret,
    key_of,
    read_texts,
    seal_texts,
    under_secrecy,
)
from duty.store.database import Store
from duty.store.tables import (
    CallEventRow,
    CallRow,
    DraftRow,
    OfficerRow,
    OpeningRow,
    RecordingRow,
    SealedFileRow,
    SecrecyRow,
    TranscriptRow,
)
from duty.vault.errors import VaultError
from duty.vault.keyfile import MasterKeys

MAX_REASON_CHARS = 500
NO_KEY_SUBJECT = "secrecy"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecrecyView:
    """A flagged call as the console shows it, its words left out; ``opening`` is the asking person's own, if one
    stands, ``openings`` all there were, by name."""

    state: SecrecyState
    source: SecrecySource
    flagged_at: datetime
    flagged_by: str
    sealed_at: datetime | None
    has_key: bool
    lifted_at: datetime | None
    lifted_by: str
    lift_reason: str
    opening: Opening | None
    openings: tuple[tuple[Opening, str], ...]

    @property
    def active(self) -> bool:
        """Whether the call is under secrecy now."""
        return self.state is not SecrecyState.LIFTED


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedWords:
    """What a person with an opening reads."""

    transcripts: list[TranscriptRow]
    draft: DraftRow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSound:
    """What a person with an opening hears: files by name with their plain size, and the key; ``data_key`` None where
    the files are not sealed yet."""

    recording: RecordingRow
    data_key: bytes | None
    files: Mapping[str, int]


class Secrecy:
    """Every method that changes something is one committed transaction. ``opening`` is how long one lasts."""

    def __init__(self, store: Store, clock: Clock, keys: MasterKeys, *, opening: timedelta) -> None:
        self._store = store
        self._clock = clock
        self.keys = keys
        self._opening = opening

    # Flags

    def suspect(self, call_id: str, source: SecrecySource) -> bool:
        """The software heard words that suggest a secret; whether the call is under secrecy now. A flag that a person
        lifted is not set again, and a call that is not in the book is passed over."""
        with self._store.writing() as session:
            call = session.get(CallRow, call_id)
            return call is not None and suspect(session, call, source, keys=self.keys, now=self._clock())

    def mark(self, actor: Actor, call_id: str) -> None:
        """涉密标记 by a person. Raises NotFound, Forbidden, Refused for a call that is under secrecy already."""
        now = self._clock()
        with self._store.writing() as session:
            call = _seen(session, actor, call_id)
            actor.require(Right.MARK_SECRECY, call.unit_id)
            row = session.get(SecrecyRow, call_id, with_for_update=True)
            if row is not None and row.state != SecrecyState.LIFTED.value:
                raise Refused("secrecy_marked")
            _flag(session, call, row, SecrecySource.PERSON, keys=self.keys, now=now, actor=actor)
        self._store.scrub()

    def lift(self, actor: Actor, call_id: str, *, reason: str) -> None:
        """The flag was false: words and files come back. Raises NotFound, Forbidden, Refused without a reason, or while
        the files are being sealed."""
        now, why = self._clock(), _reason(reason)
        self._refuse_without(actor, Right.LIFT_SECRECY, call_id)
        with self._store.writing() as session:
            call = _seen(session, actor, call_id)
            row = _active(session, call_id)
            if row.state not in (SecrecyState.FLAGGED.value, SecrecyState.SEALED.value):
                raise Refused("secrecy_moving")
            row.state = next_state(SecrecyState(row.state), SecrecyStep.LIFT).value
            row.lifted_at, row.lifted_by, row.lift_reason = now, actor.officer_id, why
            session.add(CallEventRow(call_id=call_id, at=now, kind=CallEventKind.SECRECY_LIFTED.value, data={}))
            clear_alarm(session, AlarmKind.SECRECY_SUSPECTED, call_id, at=now)
            _told(session, call, SecrecyAct.LIFT, at=now, actor=actor, detail=why)

    # Openings

    def open(self, actor: Actor, call_id: str, *, reason: str) -> Opening:
        """启封查阅 for a while. Raises NotFound, Refused without a reason, Forbidden, told in both logs."""
        now, why = self._clock(), _reason(reason)
        self._refuse_without(actor, Right.OPEN_SECRECY, call_id)
        with self._store.writing() as session:
            call = _seen(session, actor, call_id)
            _active(session, call_id)
            row = OpeningRow(
                call_id=call_id,
                officer_id=actor.officer_id,
                reason=why,
                opened_at=now,
                ends_at=now + self._opening,
            )
            session.add(row)
            session.add(CallEventRow(call_id=call_id, at=now, kind=CallEventKind.SECRECY_OPENED.value, data={}))
            _told(session, call, SecrecyAct.OPEN, at=now, actor=actor, detail=why)
            session.flush()
            return _opening(row)

    def close(self, actor: Actor, call_id: str) -> None:
        """The person has seen enough. Raises NotFound."""
        now = self._clock()
        with self._store.writing() as session:
            call = _seen(session, actor, call_id)
            for row in _standing(session, actor, call_id, now):
                row.closed_at = now
                _told(session, call, SecrecyAct.CLOSE, at=now, actor=actor)

    def read(self, actor: Actor, call_id: str) -> OpenedWords | None:
        """The words of a sealed call, told as a look; None where nobody opened it for this person. Raises NotFound,
        VaultError."""
        now = self._clock()
        with self._store.writing() as session:
            call = _seen(session, actor, call_id)
            row = under_secrecy(session, call_id)
            if row is None or not _standing(session, actor, call_id, now):
                return None
            data_key = key_of(row, self.keys) if row.wrapped_key is not None else b""
            transcripts, draft = read_texts(session, call_id, data_key)
            _told(session, call, SecrecyAct.LOOK, at=now, actor=actor, detail="words")
        return OpenedWords(transcripts=transcripts, draft=draft)

    def hear(self, actor: Actor, call_id: str, *, told: bool) -> OpenedSound:
        """What is needed to play a sealed recording; ``told`` for a listening that is in the log already. Raises
        NotFound, Forbidden for a person without the right, which is told in the audit log, Refused without an opening,
        VaultError."""
        now = self._clock()
        self._refuse_without(actor, Right.OPEN_SECRECY, call_id)
        with self._store.writing() as session:
            call = _seen(session, actor, call_id)
            row = _active(session, call_id)
            recording = session.get(RecordingRow, call_id)
            if recording is None or not recording.path:
                raise NotFound("recording_not_sealed", call_id=call_id)
            if not _standing(session, actor, call_id, now):
                raise Refused("secrecy_not_opened")
            if not told:
                _told(session, call, SecrecyAct.LOOK, at=now, actor=actor, detail="sound")
            files = session.scalars(select(SealedFileRow).where(SealedFileRow.call_id == call_id))
            sizes = {file.name: file.plain_bytes for file in files}
            return OpenedSound(recording=recording, data_key=key_of(row, self.keys) if sizes else None, files=sizes)

    # Looking

    def view(self, actor: Actor, call_id: str) -> SecrecyView | None:
        """How a call stands that was ever flagged; the caller has seen to it that the person may see the call."""
        now = self._clock()
        with self._store.reading() as session:
            row = session.get(SecrecyRow, call_id)
            if row is None:
                return None
            query = select(OpeningRow).where(OpeningRow.call_id == call_id).order_by(OpeningRow.id)
            openings = [(_opening(each), each.officer.name) for each in session.scalars(query)]
            own = [each for each, _ in openings if each.officer_id == actor.officer_id and each.is_open(now)]
            return SecrecyView(
                state=SecrecyState(row.state),
                source=SecrecySource(row.source),
                flagged_at=row.flagged_at,
                flagged_by=_name(session, row.flagged_by),
                sealed_at=row.sealed_at,
                has_key=row.wrapped_key is not None,
                lifted_at=row.lifted_at,
                lifted_by=_name(session, row.lifted_by),
                lift_reason=row.lift_reason,
                opening=own[-1] if own else None,
                openings=tuple(openings),
            )

    def among(self, call_ids: Sequence[str]) -> frozenset[str]:
        """Which of these calls are under secrecy."""
        with self._store.reading() as session:
            return frozenset(session.scalars(select(CallRow.id).where(CallRow.id.in_(call_ids), is_secret(CallRow.id))))

    def no_key(self) -> str | None:
        """Why nothing can be sealed now, as a code, or None."""
        return self.keys.problem()

    def _refuse_without(self, actor: Actor, right: Right, call_id: str) -> None:
        """A refusal is told in a transaction of its own, for the act itself has none."""
        with self._store.writing() as session:
            call = _seen(session, actor, call_id)
            if actor.may(right, call.unit_id):
                return
            if under_secrecy(session, call_id) is not None:
                _told(session, call, SecrecyAct.REFUSE, at=self._clock(), actor=actor, detail=right.value)
        raise Forbidden("forbidden", right=right)


def suspect(session: Session, call: CallRow, source: SecrecySource, *, keys: MasterKeys, now: datetime) -> bool:
    """As ``Secrecy.suspect``, within the running transaction."""
    row = session.get(SecrecyRow, call.id, with_for_update=True)
    if row is None:
        _flag(session, call, row, source, keys=keys, now=now, actor=None)
        raise_alarm(
            session,
            AlarmKind.SECRECY_SUSPECTED,
            Severity.CRITICAL,
            at=now,
            unit_id=call.unit_id,
            call_id=call.id,
            subject=call.id,
        )
        return True
    return row.state != SecrecyState.LIFTED.value


def tell_no_key(session: Session, code: str, *, at: datetime) -> None:
    """One alarm while nothing can be sealed."""
    raise_alarm(
        session,
        AlarmKind.SECRECY_NO_KEY,
        Severity.CRITICAL,
        at=at,
        unit_id=None,
        subject=NO_KEY_SUBJECT,
        data={"problem": code},
    )


def _flag(
    session: Session,
    call: CallRow,
    row: SecrecyRow | None,
    source: SecrecySource,
    *,
    keys: MasterKeys,
    now: datetime,
    actor: Actor | None,
) -> None:
    """Under secrecy from now on, its words sealed at once where there is a key."""
    if row is None:
        row = SecrecyRow(call_id=call.id, state=SecrecyState.FLAGGED.value)
        session.add(row)
    else:
        row.state = next_state(SecrecyState(row.state), SecrecyStep.MARK).value
    row.source, row.flagged_at = source.value, now
    row.flagged_by = actor.officer_id if actor is not None else None
    row.key_id, row.wrapped_key, row.sealed_at = "", None, None
    row.lifted_at, row.lifted_by, row.lift_reason = None, None, ""
    session.flush()
    forget_captions(session, call)
    try:
        seal_texts(session, call, give_key(row, keys), warned_at=now)
    except VaultError as error:
        tell_no_key(session, error.code, at=now)
    session.add(CallEventRow(call_id=call.id, at=now, kind=CallEventKind.SECRECY_MARKED.value, data={}))
    _told(session, call, SecrecyAct.MARK, at=now, actor=actor, detail=source.value)


def _told(
    session: Session, call: CallRow, act: SecrecyAct, *, at: datetime, actor: Actor | None, detail: str = ""
) -> None:
    """Who did what, in both logs, and to the consoles that show the call."""
    facts: dict[str, Canonical] = {"by": actor.officer_id if actor is not None else 0, "detail": detail}
    append_link(session, act.value, call.id, at=at, facts=facts)
    note(session, at=at, actor=actor, action=act.value, subject=f"call:{call.id}", data={"detail": detail})
    if act is not SecrecyAct.LOOK:
        tell(session, EventKind.SECRECY_CHANGED, at=at, unit_id=call.unit_id, call_id=call.id)


def _seen(session: Session, actor: Actor, call_id: str) -> CallRow:
    call = session.get(CallRow, call_id)
    if call is None or not actor.may(Right.SEE_CALLS, call.unit_id):
        raise NotFound("call_not_found", call_id=call_id)
    return call


def _active(session: Session, call_id: str) -> SecrecyRow:
    session.get(SecrecyRow, call_id, with_for_update=True)
    row = under_secrecy(session, call_id)
    if row is None:
        raise Refused("secrecy_not_marked")
    return row


def _standing(session: Session, actor: Actor, call_id: str, now: datetime) -> Sequence[OpeningRow]:
    query = select(OpeningRow).where(
        OpeningRow.call_id == call_id,
        OpeningRow.officer_id == actor.officer_id,
        OpeningRow.closed_at.is_(None),
        OpeningRow.ends_at > now,
    )
    return session.scalars(query).all()


def _opening(row: OpeningRow) -> Opening:
    return Opening(
        opening_id=row.id,
        call_id=row.call_id,
        officer_id=row.officer_id,
        reason=row.reason,
        opened_at=row.opened_at,
        ends_at=row.ends_at,
        closed_at=row.closed_at,
    )


def _name(session: Session, officer_id: int | None) -> str:
    officer = session.get(OfficerRow, officer_id) if officer_id is not None else None
    return officer.name if officer is not None else ""


def _reason(text: str) -> str:
    refuse_unreadable(text)
    reason = text.strip()[:MAX_REASON_CHARS]
    if len(reason) < 2:
        raise Refused("secrecy_reason_missing")
    return reason
