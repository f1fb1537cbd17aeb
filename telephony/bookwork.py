"""What telephony writes into the book, as values that can wait in a file while the database cannot be reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import get_args

from pydantic import TypeAdapter

from duty.domain.calls import CallHappening, LegQuality, NewCall, RecordingFacts
from duty.domain.happenings import AlarmKind, Json, Severity
from duty.domain.linechecks import Finding
from duty.domain.times import Clock
from duty.services.alarms import Alarms
from duty.services.callbook import CallBook
from duty.services.callpages import CallPages
from duty.services.commands import Commands
from duty.services.linechecks import LineChecks
from duty.services.lines import Lines
from duty.services.spoolmarks import SpoolMarks
from telephony.batchstore import BatchStore


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteCall:
    """A call has arrived or is about to be dialled."""

    new: NewCall
    command_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteForward:
    """A forward was refused; ``raw_hex`` is the message that asked for it."""

    call_id: str | None
    line_number: str
    way: str
    target: str
    source: str
    raw_hex: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteEvidence:
    """What ``source`` said of a call, as it came."""

    call_id: str
    source: str
    raw_hex: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteNoRecording:
    """The call ended without media."""

    call_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteComponent:
    """The state of a phone or trunk."""

    line_number: str
    kind: str
    name: str
    state: str
    reason: str
    bindings: list[dict[str, Json]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTrunks:
    """The names of a line's PBXs from now on."""

    line_number: str
    names: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteCommandEnd:
    """A command ended without becoming a call."""

    command_id: int
    result: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteAttack:
    """A source was shut out after too many refused requests."""

    source: str
    failures: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteCheckEnd:
    """A line check or spot check has its verdict."""

    check_id: int
    finding: Finding
    at: datetime


BookWork = (
    WriteCall
    | CallHappening
    | WriteForward
    | WriteEvidence
    | LegQuality
    | RecordingFacts
    | WriteNoRecording
    | WriteComponent
    | WriteTrunks
    | WriteCommandEnd
    | WriteAttack
    | WriteCheckEnd
)

_KINDS: dict[str, TypeAdapter[BookWork]] = {kind.__name__: TypeAdapter(kind) for kind in get_args(BookWork)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """One line of the spool: the kind of work and its fields."""

    kind: str
    fields: dict[str, object] = field(default_factory=dict)


_ENVELOPE = TypeAdapter(Envelope)


def to_line(work: BookWork) -> bytes:
    """One line of JSON, newline included."""
    kind = type(work).__name__
    return b'{"kind":"%s","fields":%s}\n' % (kind.encode(), _KINDS[kind].dump_json(work))


def from_line(line: bytes) -> BookWork:
    """The work that ``to_line`` wrote. Raises ValueError for anything else."""
    envelope = _ENVELOPE.validate_json(line)
    if envelope.kind not in _KINDS:
        raise ValueError(f"unknown kind of work: {envelope.kind}")
    return _KINDS[envelope.kind].validate_python(envelope.fields)


class BookWriter:
    """Does work by the services on ``store``. Raises sqlalchemy.exc.DBAPIError when the database fails, DutyError when
    the book refuses."""

    def __init__(
        self,
        *,
        store: BatchStore,
        calls: CallBook,
        clock: Clock,
        lines: Lines,
        commands: Commands,
        checks: LineChecks,
        alarms: Alarms,
    ) -> None:
        self._store = store
        self._clock, self._calls, self._lines, self._commands = clock, calls, lines, commands
        self._checks, self._alarms = checks, alarms
        self._marks = SpoolMarks(store)

    def write_all(self, works: Sequence[BookWork], *, mark: tuple[str, int] | None = None) -> None:
        """Do ``works`` in order as one transaction; all are on disk when this returns, none when it raises. ``mark``
        says how far into which spool that is, for ``taken``."""
        with self._store.together(), self._calls.pages() as pages:
            pages.expect(work.call_id for work in works if isinstance(work, _OF_A_CALL))
            for work in works:
                if not self._turn(pages, work):
                    pages.write()
                    self._do(work)
            if mark is not None and mark[0]:
                self._marks.move(*mark)

    def write(self, work: BookWork, *, mark: tuple[str, int] | None = None) -> None:
        """Do ``work`` as one transaction; it is on disk when this returns."""
        self.write_all([work], mark=mark)

    def taken(self, spool: str) -> int:
        """The position in ``spool`` before which everything is in the book."""
        return self._marks.position(spool)

    def _turn(self, pages: CallPages, work: BookWork) -> bool:
        """Do what every call brings, on its page; False for anything else."""
        match work:
            case WriteCall():
                pages.open(work.new, command_id=work.command_id)
            case CallHappening():
                pages.happened(work)
            case LegQuality():
                pages.rate(work)
            case RecordingFacts():
                pages.seal(work, self._clock())
            case WriteNoRecording():
                pages.unrecorded(work.call_id, self._clock())
            case _:
                return False
        return True

    def _do(self, work: BookWork) -> None:
        match work:
            case WriteForward():
                self._calls.block_forward(
                    work.call_id,
                    at=work.at,
                    way=work.way,
                    target=work.target,
                    source=work.source,
                    raw=bytes.fromhex(work.raw_hex),
                    line_number=work.line_number,
                )
            case WriteEvidence():
                raw = bytes.fromhex(work.raw_hex)
                self._calls.keep_evidence(work.call_id, at=work.at, source=work.source, raw=raw)
            case WriteComponent() | WriteTrunks():
                self._write_parts(work)
            case WriteCommandEnd():
                self._commands.finish(work.command_id, result=work.result)
            case WriteAttack():
                self._alarms.report(
                    AlarmKind.SIP_ATTACK,
                    Severity.WARNING,
                    subject=work.source,
                    failures=work.failures,
                    seconds=work.seconds,
                )
            case WriteCheckEnd():
                self._checks.finish(work.check_id, work.finding, at=work.at)

    def _write_parts(self, work: WriteComponent | WriteTrunks) -> None:
        if isinstance(work, WriteTrunks):
            self._lines.keep_trunks(work.line_number, work.names)
            return
        self._lines.report(
            work.line_number,
            work.kind,
            work.name,
            state=work.state,
            reason=work.reason,
            bindings=list(work.bindings) if work.bindings is not None else None,
        )


_OF_A_CALL = (CallHappening, LegQuality, RecordingFacts, WriteNoRecording)
