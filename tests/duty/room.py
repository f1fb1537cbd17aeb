"""A furnished duty room: two units with their lines, people of every role, the services, and a clock one can turn."""

from __future__ import annotations

import hashlib
import secrets
import wave
from datetime import UTC, datetime, timedelta
from pathlib import Path

from argon2 import PasswordHasher
from sqlalchemy import select

from duty.domain.calls import CallEventKind, CallHappening, Direction, NewCall, Outcome, RecordingFacts
from duty.domain.entries import EntryRules
from duty.domain.identity import CheckResult, Method, Verdict
from duty.domain.numbers import NumberPlan
from duty.domain.rights import Actor, Role
from duty.services.accounts import Accounts
from duty.services.alarms import Alarms
from duty.services.callbook import CallBook
from duty.services.callreview import CallReview
from duty.services.commands import Commands
from duty.services.directory import Directory
from duty.services.lines import LinePlan, Lines, UnitPlan
from duty.services.logbook import Logbook
from duty.services.outbox import Outbox
from duty.services.recordings import Recordings
from duty.store.database import Store
from duty.store.tables import EntryRow, UnitRow

HUB_LINE, TOWN_LINE = "037122595110", "037122595220"
HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD = "correct-horse-42"
FULL = {
    "event_time": "2026年11月23日8时许",
    "place": "龙亭区北书店街12号",
    "event": "居民楼三层起火，消防已到场",
    "caller_unit": "北书店街道办事处",
}


class TurnableClock:
    """Stands still unless turned."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **delta: float) -> None:
        self.now += timedelta(**delta)


class Room:
    """The services on one store, and short ways to bring calls and entries into being through them."""

    def __init__(self, store: Store, *, provision: bool = True) -> None:
        self.store = store
        self.clock = clock = TurnableClock()
        self.plan = NumberPlan()
        self.lines = Lines(store, clock)
        self.accounts = Accounts(store, clock, hasher=HASHER)
        self.book = CallBook(store, clock, self.plan)
        self.review = CallReview(store, clock)
        self.directory = Directory(store, clock, self.plan)
        self.logbook = Logbook(store, clock, rules=EntryRules(), plan=self.plan)
        self.recordings = Recordings(store, clock)
        self.alarms = Alarms(store, clock)
        self.commands = Commands(store, clock)
        self.outbox = Outbox(store)
        if provision:
            self.lines.provision(
                [
                    UnitPlan(code="LT", name="龙亭区人民政府办公室", room_name="龙亭区政府值班室", is_hub=True),
                    UnitPlan(code="BS", name="北书店街道", room_name="北书店值班室", parent="LT"),
                ],
                [
                    LinePlan(number=HUB_LINE, name="值班专线", unit="LT", extensions=("1001", "1002"), has_trunk=True),
                    LinePlan(number=TOWN_LINE, name="值班专线", unit="BS", extensions=("2001",), has_trunk=False),
                ],
            )
        with store.reading() as session:
            self.units = {row.code: row.id for row in session.scalars(select(UnitRow))}

    def person(self, *roles: Role, unit: str = "LT", login: str | None = None) -> Actor:
        """A signed-in person with an account of their own."""
        login = login or f"u{secrets.token_hex(5)}"
        officer_id = self.accounts.add_officer(
            unit_code=unit, login=login, name=f"张{login[-2:]}", password=PASSWORD, roles=roles or [Role.OFFICER]
        )
        return Actor(
            officer_id=officer_id,
            name=f"张{login[-2:]}",
            unit_id=self.units[unit],
            roles=frozenset(roles or [Role.OFFICER]),
        )

    def arrive(
        self,
        caller: str = "13800138000",
        *,
        line: str = HUB_LINE,
        direction: Direction = Direction.INBOUND,
        command_id: int | None = None,
        recording_session: str | None = None,
    ) -> str:
        """A call comes in (``caller`` is the other side), or is dialled."""
        call_id = secrets.token_hex(16)
        inbound = direction is Direction.INBOUND
        new = NewCall(
            call_id=call_id,
            line_number=line,
            direction=direction,
            caller_number=caller if inbound else line,
            callee_number=line if inbound else caller,
            caller_display="",
            trust="asserted",
            sip_call_id=f"{call_id}@pbx",
            source="127.0.0.1:5060",
            arrived_at=self.clock(),
            recording_session=recording_session,
        )
        self.book.open_call(new, command_id=command_id)
        return call_id

    def happen(self, call_id: str, kind: CallEventKind, outcome: Outcome | None = None, **data: str | int) -> None:
        self.book.record(CallHappening(call_id=call_id, kind=kind, at=self.clock(), outcome=outcome, data=data))

    def answered_call(
        self, caller: str = "13800138000", *, line: str = HUB_LINE, direction: Direction = Direction.INBOUND
    ) -> str:
        """A call that was answered and has ended."""
        call_id = self.arrive(caller, line=line, direction=direction)
        for kind in (CallEventKind.RINGING, CallEventKind.ANSWERED):
            self.clock.turn(seconds=3)
            self.happen(call_id, kind, extension="1001")
        self.clock.turn(seconds=30)
        self.happen(call_id, CallEventKind.ENDED, Outcome.ANSWERED, reason="caller_hung_up")
        return call_id

    def entry_of(self, call_id: str) -> EntryRow:
        """The first entry written about a call."""
        with self.store.reading() as session:
            return session.scalars(select(EntryRow).where(EntryRow.call_id == call_id).order_by(EntryRow.id)).all()[0]

    def drafted(self, officer: Actor, **fields: str) -> tuple[int, int]:
        """Id and version of a complete draft without a call."""
        entry_id = self.logbook.open_blank(officer)
        return entry_id, self.logbook.edit(officer, entry_id, {**FULL, **fields}, version=1)

    def finalized(self, officer: Actor, **fields: str) -> EntryRow:
        """A numbered entry without a call."""
        entry_id, version = self.drafted(officer, **fields)
        return self.logbook.finalize(officer, entry_id, version=version)

    def recorded_entry(self, officer: Actor, root: Path, *, line: str = HUB_LINE) -> EntryRow:
        """A numbered entry about an answered call with its recording and an identity check."""
        call_id = self.answered_call(line=line)
        self.recordings.seal(wav_facts(root, call_id))
        entry = self.entry_of(call_id)
        self.clock.turn(minutes=5)
        version = self.logbook.edit(officer, entry.id, {**FULL, "category": "incident"}, version=entry.version)
        checked = CheckResult(method=Method.KNOWN_VOICE, verdict=Verdict.VERIFIED, note="熟悉其声音")
        self.logbook.check_identity(officer, entry.id, checked)
        self.logbook.repeat_back(officer, entry.id)
        return self.logbook.finalize(officer, entry.id, version=version)


def wav_facts(root: Path, call_id: str, *, samples: int = 800) -> RecordingFacts:
    """Facts of a real stereo WAV, 16-bit PCM at 8 kHz, with noise of its own."""
    path = root / call_id / "recording.wav"
    path.parent.mkdir(parents=True)
    with wave.open(str(path), "wb") as wav:
        wav.setparams((2, 2, 8000, samples, "NONE", ""))
        wav.writeframes(secrets.token_bytes(samples * 4))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    relative = str(path.relative_to(root))
    return RecordingFacts(call_id=call_id, path=relative, sha256=sha256, seconds=samples / 8000, samples=samples)
