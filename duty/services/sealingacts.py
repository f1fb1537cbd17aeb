"""What the keeper of the recordings does for calls under secrecy: which one is next, and the book's side of each step
(requirement 6.5-a). The files are sealed and proven before they are booked, booked before the plain ones go, and what a
killed process left is the next step of the next one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from duty.domain.calls import CallEventKind, CallState
from duty.domain.errors import NotFound, Refused
from duty.domain.happenings import AlarmKind, EventKind, Severity
from duty.domain.secrecy import MOVING, SecrecyAct, SecrecyState, SecrecyStep, next_state
from duty.domain.times import Clock
from duty.services.alarms import clear_alarm, raise_alarm
from duty.services.audit import note
from duty.services.custody_chain import append_link
from duty.services.outbox import tell
from duty.services.sealedtexts import give_key, key_of, restore_texts, seal_texts
from duty.services.secrecy import NO_KEY_SUBJECT, tell_no_key
from duty.store.database import Store
from duty.store.tables import CallEventRow, CallRow, RecordingRow, SealedFileRow, SecrecyRow
from duty.vault.errors import NoMasterKey
from duty.vault.files import SealedFile
from duty.vault.keyfile import MasterKeys
from duty.vault.keys import WrappedKey

_UNFINISHED = tuple(state.value for state in (SecrecyState.FLAGGED, *MOVING))
_BUSY = ("open", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingWork:
    """A call under secrecy with something left to do. ``place`` is its folder below the recordings root, "" where it
    has none; ``files`` what is booked as sealed."""

    call_id: str
    state: SecrecyState
    place: str
    files: tuple[SealedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingKey:
    """The key of a call, and as it lies beside the call's files, wrapped."""

    data_key: bytes
    wrapped: WrappedKey


class SealingActs:
    """Every method that changes something is one committed transaction."""

    def __init__(self, store: Store, clock: Clock, keys: MasterKeys) -> None:
        self._store = store
        self._clock = clock
        self._keys = keys

    def next(self, passed_over: Collection[str] = ()) -> SealingWork | None:
        """The call that has waited longest: over, recorded, and read by nobody at the moment."""
        query = (
            select(SecrecyRow, RecordingRow)
            .join(CallRow, CallRow.id == SecrecyRow.call_id)
            .outerjoin(RecordingRow, RecordingRow.call_id == SecrecyRow.call_id)
            .where(
                SecrecyRow.state.in_(_UNFINISHED),
                CallRow.state == CallState.ENDED.value,
                or_(
                    RecordingRow.call_id.is_(None),
                    RecordingRow.state.not_in(_BUSY),
                    SecrecyRow.state != SecrecyState.FLAGGED.value,
                ),
            )
            .order_by(SecrecyRow.flagged_at, SecrecyRow.call_id)
        )
        if passed_over:
            query = query.where(SecrecyRow.call_id.not_in(passed_over))
        with self._store.reading() as session:
            found = session.execute(query.limit(1)).first()
            if found is None:
                return None
            row, recording = found
            place = recording.path.rpartition("/")[0] if recording is not None and not recording.removed_at else ""
            return SealingWork(
                call_id=row.call_id,
                state=SecrecyState(row.state),
                place=place,
                files=tuple(map(_file, _files(session, row.call_id))),
            )

    def begin(self, call_id: str) -> SealingKey:
        """The call's key, made now where it has none; nobody begins to read the recording any more. Raises Refused for
        one that is being transcribed, NoMasterKey after telling so, NotAuthentic."""
        now = self._clock()
        try:
            with self._store.writing() as session:
                row, call = _locked(session, call_id)
                recording = session.get(RecordingRow, call_id, with_for_update=True)
                if recording is not None and recording.state in _BUSY:
                    raise Refused("transcription_running", call_id=call_id)
                data_key = give_key(row, self._keys)
                row.state = next_state(SecrecyState(row.state), SecrecyStep.BEGIN).value
                seal_texts(session, call, data_key, warned_at=row.flagged_at)
                clear_alarm(session, AlarmKind.SECRECY_NO_KEY, NO_KEY_SUBJECT, at=now)
                return SealingKey(data_key=data_key, wrapped=_wrapped(row))
        except NoMasterKey as error:
            with self._store.writing() as session:
                tell_no_key(session, error.code, at=now)
            raise

    def key(self, call_id: str) -> SealingKey:
        """The call's key again. Raises NotFound, NoMasterKey, NotAuthentic."""
        with self._store.reading() as session:
            row = session.get(SecrecyRow, call_id)
            if row is None:
                raise NotFound("call_not_found", call_id=call_id)
            return SealingKey(data_key=key_of(row, self._keys), wrapped=_wrapped(row))

    def book(self, call_id: str, files: Iterable[SealedFile]) -> None:
        """These files lie sealed and proven on the disk: from now on they are what counts."""
        now, kept = self._clock(), sorted(files, key=lambda file: file.name)
        with self._store.writing() as session:
            row, call = _locked(session, call_id)
            row.state = next_state(SecrecyState(row.state), SecrecyStep.BOOK).value
            session.execute(delete(SealedFileRow).where(SealedFileRow.call_id == call_id))
            session.add_all(SealedFileRow(call_id=call_id, **asdict(file)) for file in kept)
            detail = " ".join(f"{file.name}:{file.plain_sha256}:{file.sealed_sha256}" for file in kept)
            _told(session, call, SecrecyAct.SEAL, at=now, detail=detail)

    def wiped(self, call_id: str) -> None:
        """The plain files are gone."""
        now = self._clock()
        with self._store.writing() as session:
            row, call = _locked(session, call_id)
            row.state, row.sealed_at = next_state(SecrecyState(row.state), SecrecyStep.WIPED).value, now
            session.add(CallEventRow(call_id=call_id, at=now, kind=CallEventKind.SECRECY_SEALED.value, data={}))
            clear_alarm(session, AlarmKind.SECRECY_UNSEALED, call_id, at=now)
            tell(session, EventKind.SECRECY_CHANGED, at=now, unit_id=call.unit_id, call_id=call_id)
            tell(session, EventKind.RECORDING_SEALED, at=now, unit_id=call.unit_id, call_id=call_id)

    def restored(self, call_id: str) -> None:
        """The plain files are back and proven: so are the words, and the flag is lifted. The sealed files may go."""
        now = self._clock()
        with self._store.writing() as session:
            row, call = _locked(session, call_id)
            if row.wrapped_key is not None:
                restore_texts(session, call, key_of(row, self._keys))
            row.state = next_state(SecrecyState(row.state), SecrecyStep.RESTORED).value
            row.key_id, row.wrapped_key = "", None
            session.execute(delete(SealedFileRow).where(SealedFileRow.call_id == call_id))
            clear_alarm(session, AlarmKind.SECRECY_UNSEALED, call_id, at=now)
            _told(session, call, SecrecyAct.RESTORE, at=now)
            tell(session, EventKind.DRAFT_READY, at=now, unit_id=call.unit_id, call_id=call_id)
            tell(session, EventKind.RECORDING_SEALED, at=now, unit_id=call.unit_id, call_id=call_id)

    def failed(self, call_id: str, reason: str) -> None:
        """The files could not be sealed or restored; they will be tried again."""
        now = self._clock()
        with self._store.writing() as session:
            call = session.get_one(CallRow, call_id)
            raise_alarm(
                session,
                AlarmKind.SECRECY_UNSEALED,
                Severity.CRITICAL,
                at=now,
                unit_id=call.unit_id,
                call_id=call_id,
                subject=call_id,
                data={"problem": reason},
            )

    def counts(self) -> dict[str, int]:
        """Calls that are ``sealed``, those that are ``waiting`` for it or being restored, and those ``lifted``."""
        query = select(SecrecyRow.state, func.count()).group_by(SecrecyRow.state)
        with self._store.reading() as session:
            found = {SecrecyState(state): number for state, number in session.execute(query)}
        sealed, lifted = (found.get(state, 0) for state in (SecrecyState.SEALED, SecrecyState.LIFTED))
        return {"sealed": sealed, "waiting": sum(found.values()) - sealed - lifted, "lifted": lifted}

    def wrapped_before(self, key_id: str) -> list[str]:
        """Calls whose key is wrapped under another master key than this."""
        query = select(SecrecyRow.call_id).where(SecrecyRow.wrapped_key.is_not(None), SecrecyRow.key_id != key_id)
        with self._store.reading() as session:
            return list(session.scalars(query.order_by(SecrecyRow.call_id)))

    def rewrap(self, call_id: str) -> WrappedKey:
        """The call's key under the current master key; its content stays as it is. Raises NoMasterKey, NotAuthentic."""
        with self._store.writing() as session:
            row, _ = _locked(session, call_id)
            wrapped = self._keys.ring().wrap(call_id, key_of(row, self._keys))
            row.key_id, row.wrapped_key = wrapped.key_id, wrapped.blob
            note(session, at=self._clock(), actor=None, action="secret_rewrap", subject=f"call:{call_id}")
            return wrapped


def _told(session: Session, call: CallRow, act: SecrecyAct, *, at: datetime, detail: str = "") -> None:
    append_link(session, act.value, call.id, at=at, facts={"by": 0, "detail": detail})
    note(session, at=at, actor=None, action=act.value, subject=f"call:{call.id}")
    tell(session, EventKind.SECRECY_CHANGED, at=at, unit_id=call.unit_id, call_id=call.id)


def _locked(session: Session, call_id: str) -> tuple[SecrecyRow, CallRow]:
    row = session.get(SecrecyRow, call_id, with_for_update=True)
    if row is None:
        raise NotFound("call_not_found", call_id=call_id)
    return row, session.get_one(CallRow, call_id)


def _files(session: Session, call_id: str) -> Sequence[SealedFileRow]:
    return session.scalars(
        select(SealedFileRow).where(SealedFileRow.call_id == call_id).order_by(SealedFileRow.name)
    ).all()


def _file(row: SealedFileRow) -> SealedFile:
    return SealedFile(
        name=row.name,
        plain_bytes=row.plain_bytes,
        plain_sha256=row.plain_sha256,
        sealed_bytes=row.sealed_bytes,
        sealed_sha256=row.sealed_sha256,
    )


def _wrapped(row: SecrecyRow) -> WrappedKey:
    return WrappedKey(key_id=row.key_id, blob=row.wrapped_key or b"")
