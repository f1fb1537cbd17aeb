"""The keeper of the recordings on real files and a real store: everything that goes wrong is found, alarmed once, and
settled when it is right again; nothing goes that may not go."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, select

from config.settings import Settings, load
from duty.domain.calls import CallEventKind, Outcome
from duty.domain.custody import Booked, Reading
from duty.domain.rights import Role
from duty.domain.times import utc_now
from duty.domain.transcripts import Speaker
from duty.services.holds import Holds
from duty.store.database import Store
from duty.store.tables import (
    AlarmRow,
    AuditRow,
    CallEventRow,
    CallRow,
    CustodyRow,
    DifferenceRow,
    EntryRow,
    RecordingRow,
)
from duty.verifier import verify
from telephony.ballast import Ballast
from telephony.custody import Keeper, survey
from telephony.custody_worker import CustodyWorker
from telephony.demo.script import CONVERSATION
from telephony.endpoint import facts_of
from telephony.recorder import Recorder
from telephony.rtp.g711 import Law
from telephony.sealing import salvage
from tests.duty.room import HUB_LINE, Room

VOICE = Law.PCMA.encode(np.concatenate([line.samples() for line in CONVERSATION]))[: 8 * 8000]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "dutyline.db"
    with closing(Store(f"sqlite:///{path}")) as store:
        store.migrate()
    return path


class Shelf:
    """A room with recordings that the recorder made, and their keeper."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.store = store
        self.room = Room(store)
        self.folder = folder
        self.root = folder / "recordings"
        self.root.mkdir()
        self.free = 10**12
        self.keeper = self.kept()

    def settings(self, **own: float) -> Settings:
        base = load()
        values = {"archive_after_days": 0, "verify_mb_per_second": 1000.0, **own}
        return base.model_copy(
            update={
                "data": base.data.model_copy(update={"dir": self.folder}),
                "recordings": base.recordings.model_copy(update=values),
            }
        )

    def kept(self, **own: float) -> Keeper:
        return Keeper(self.settings(**own), self.store, free_bytes=lambda _: self.free)

    def recording(self, *, ago: timedelta = timedelta(hours=1), finalized: bool = True, booked: bool = True) -> Path:
        """A call that ended so long ago, with its sealed recording; its directory."""
        self.room.clock.now = utc_now() - ago
        call_id = self.room.answered_call()
        recorder = Recorder(root=self.root, call_id=call_id, started_at=self.room.clock.now)
        recorder.note(
            "call", line=HUB_LINE, direction="inbound", caller="13800138000", callee=HUB_LINE, sip_call_id="x"
        )
        recorder.note("bridged", channel="officer", position=4000)
        for at in range(0, len(VOICE), 160):
            recorder.write(Speaker.CALLER, position=at, payload=VOICE[at : at + 160], law=Law.PCMA)
            recorder.write(Speaker.OFFICER, position=at, payload=VOICE[::-1][at : at + 160], law=Law.PCMA)
        sealed = recorder.seal()
        if booked:
            self.room.recordings.seal(facts_of(sealed, self.root))
        with self.store.writing() as session:
            session.get_one(RecordingRow, call_id).state = "done" if booked else "open"
            if finalized:  # as one that was written about elsewhere: no draft is left
                session.execute(delete(EntryRow).where(EntryRow.call_id == call_id))
        past = (utc_now() - ago).timestamp()
        for path in (*sealed.directory.iterdir(), sealed.directory):
            os.utime(path, (past, past))
        return sealed.directory

    def row(self, directory: Path) -> RecordingRow:
        with self.store.reading() as session:
            return session.get_one(RecordingRow, directory.name)

    def run(self, keeper: Keeper | None = None) -> None:
        """Everything the keeper finds to do."""
        keeper = keeper or self.keeper
        keeper.reconcile()
        for _ in range(50):
            if not keeper.step():
                return
        raise AssertionError("the keeper does not come to rest")

    def alarms(self, kind: str) -> list[AlarmRow]:
        with self.store.reading() as session:
            return list(session.scalars(select(AlarmRow).where(AlarmRow.kind == kind).order_by(AlarmRow.id)))

    def open(self) -> list[str]:
        with self.store.reading() as session:
            rows = session.scalars(select(DifferenceRow).where(DifferenceRow.settled_at.is_(None)))
            return sorted(row.kind for row in rows)

    def events(self, directory: Path) -> list[str]:
        with self.store.reading() as session:
            query = select(CallEventRow.kind).where(CallEventRow.call_id == directory.name).order_by(CallEventRow.id)
            return list(session.scalars(query))

    def acts(self) -> list[str]:
        with self.store.reading() as session:
            return list(session.scalars(select(CustodyRow.act).order_by(CustodyRow.position)))


@pytest.fixture
def shelf(template: Path, tmp_path: Path) -> Iterator[Shelf]:
    shutil.copy(template, tmp_path / "dutyline.db")
    with closing(Store(f"sqlite:///{tmp_path / 'dutyline.db'}")) as store:
        made = Shelf(tmp_path, store)
        yield made
        made.keeper.close()


def test_a_true_book_has_no_difference_and_is_read_through(shelf: Shelf) -> None:
    directory = shelf.recording()
    shelf.run()
    assert (shelf.open(), shelf.alarms("recording_differs")) == ([], [])
    assert shelf.row(directory).verified_at is not None
    assert survey(shelf.settings(), shelf.store, deep=True, heard=lambda _: None) == []


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def relink(directory: Path) -> None:
    """Somebody who knows the form alters the raw sound, makes a new chain for it and seals it anew."""
    (directory / "sealed.json").unlink()
    flip(directory / "caller.alaw", 5000)
    lines = (directory / "events.jsonl").read_bytes().splitlines()
    events = [json.loads(line) for line in lines]
    import hashlib

    from telephony.recording_chain import Chain

    raw = {name: (directory / f"{name}.alaw").read_bytes() for name in ("caller", "officer")}
    for event in events:
        event.pop("previous", None)
        if event["event"] == "segment":
            data = raw[event["channel"]][event["start"] : event["start"] + event["samples"]]
            event["sha256"] = hashlib.sha256(data).hexdigest()
    (directory / "events.jsonl").write_bytes(Chain().lines(events)[0])
    wav = (directory / "recording.wav").read_bytes()
    salvage(directory)
    (directory / "recording.wav").write_bytes(wav)


FAULTS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "the WAV is gone": (lambda at: (at / "recording.wav").unlink(), ["file_missing"]),
    "all is gone": (shutil.rmtree, ["file_missing"]),
    "the WAV is cut": (lambda at: os.truncate(at / "recording.wav", 9000), ["file_altered", "file_length"]),
    "one bit of the WAV": (lambda at: flip(at / "recording.wav", 60_000), ["file_altered"]),
    "one bit of a raw channel": (lambda at: flip(at / "officer.alaw", 31_000), ["chain_altered"]),
    "a line of the sidecar": (lambda at: flip(at / "events.jsonl", 300), ["chain_altered"]),
    "a raw channel is gone": (lambda at: (at / "caller.alaw").unlink(), ["chain_altered", "raw_missing"]),
    "the manifest is gone": (lambda at: (at / "sealed.json").unlink(), ["manifest_missing"]),
    "a chain made anew": (relink, ["chain_differs", "manifest_differs"]),
    "something that is no recording": (lambda at: (at / "note.txt").write_text("x"), ["stray"]),
}


@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_is_done_to_the_files_is_found_alarmed_once_and_settled(shelf: Shelf, fault: str) -> None:
    shelf.recording()
    directory = shelf.recording()
    saved = shelf.folder / "saved"
    shutil.copytree(directory, saved)
    spoil, expected = FAULTS[fault]
    spoil(directory)
    shelf.run()
    assert shelf.open() == expected
    assert len(shelf.alarms("recording_differs")) == len(expected)
    surveyed = survey(shelf.settings(), shelf.store, deep=True, heard=lambda _: None)
    assert sorted({each.kind.value for each in surveyed}) == expected
    with shelf.store.writing() as session:
        session.get_one(RecordingRow, directory.name).verified_at = None
    shelf.run()
    assert len(shelf.alarms("recording_differs")) == len(expected), "not told twice"
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(saved, directory)
    with shelf.store.writing() as session:
        session.get_one(RecordingRow, directory.name).verified_at = None
    shelf.run()
    assert shelf.open() == []
    assert [alarm.cleared_at is not None for alarm in shelf.alarms("recording_differs")] == [True] * len(expected)


def test_a_disk_that_is_not_there_is_one_alarm(shelf: Shelf) -> None:
    for _ in range(23):
        shelf.room.clock.now = utc_now() - timedelta(hours=2)
        call_id = shelf.room.answered_call()
        with shelf.store.writing() as session:
            row = session.get_one(RecordingRow, call_id)
            row.state, row.path, row.samples = "done", f"2026/11/23/{call_id}/recording.wav", 800
    shelf.keeper.reconcile()
    assert [alarm.subject for alarm in shelf.alarms("recording_differs")] == ["many"]
    assert len(shelf.open()) == 23


@pytest.mark.rule("6.1-d")
def test_a_recording_that_no_row_names_is_taken_into_the_book(shelf: Shelf) -> None:
    """The database was restored from a copy that is older than the call."""
    directory = shelf.recording()
    with shelf.store.writing() as session:
        session.query(CallEventRow).delete()
        session.query(EntryRow).delete()
        session.query(RecordingRow).delete()
        session.query(CallRow).delete()
    shelf.run()
    shelf.keeper.reconcile()
    assert shelf.open() == []
    with shelf.store.reading() as session:
        call = session.get_one(CallRow, directory.name)
        assert (call.caller_number, call.direction, call.outcome, call.end_reason) == (
            "13800138000", "inbound", "interrupted", "adopted",
        )  # fmt: skip
        assert call.answered_at is not None
        assert call.answered_at - call.arrived_at == timedelta(seconds=0.5)
        assert call.ended_at is not None
        assert call.ended_at - call.arrived_at == timedelta(seconds=8)
        assert session.scalars(select(EntryRow.state).where(EntryRow.call_id == call.id)).all() == ["draft"]
    assert shelf.row(directory).state == "waiting"
    assert "adopted" in shelf.events(directory)


def test_what_is_on_its_way_into_the_book_is_not_adopted(shelf: Shelf) -> None:
    directory = shelf.recording()
    with shelf.store.writing() as session:
        session.query(RecordingRow).delete()
    (shelf.folder / "spool").mkdir()
    spool = shelf.folder / "spool" / "book.spool"
    spool.write_text(f'{{"kind": "WriteCall", "call_id": "{directory.name}"}}\n')
    shelf.keeper.reconcile()
    assert shelf.open() == ["row_missing"]
    spool.write_text('{"kind": "WriteCall", "call_id": "another"}\n')
    shelf.keeper.reconcile()
    assert shelf.open() == []
    assert shelf.row(directory).state == "waiting"


def test_a_recording_that_nobody_can_read_stays_and_is_told(shelf: Shelf) -> None:
    directory = shelf.root / "2026" / "11" / "23" / ("f" * 32)
    directory.mkdir(parents=True)
    (directory / "recording.wav").write_bytes(b"no sound at all")
    past = (utc_now() - timedelta(hours=1)).timestamp()
    for path in (directory / "recording.wav", directory):
        os.utime(path, (past, past))
    shelf.run()
    assert shelf.open() == ["orphan"]
    assert (directory / "recording.wav").read_bytes() == b"no sound at all"


@pytest.mark.rule("6.2-c")
def test_the_archive_copy_is_made_once_and_the_wav_goes_only_when_it_is_old_enough(shelf: Shelf) -> None:
    old, young = shelf.recording(ago=timedelta(days=40)), shelf.recording(ago=timedelta(days=5))
    _age(shelf, old, days=40)
    _age(shelf, young, days=5)
    keeper = shelf.kept(archive_after_days=3, release_wav_after_days=30)
    shelf.run(keeper)
    keeper.close()
    for directory in (old, young):
        row = shelf.row(directory)
        assert row.archive_path == f"{directory.relative_to(shelf.root)}/recording.opus"
        assert (shelf.root / row.archive_path).stat().st_size == row.archive_bytes
        assert row.archive_similarity is not None
        assert row.archive_similarity > 0.95
    assert shelf.row(old).wav_released_at is not None
    assert not (old / "recording.wav").exists()
    assert len(shelf.row(old).sha256) == 64, "what the WAV was stays in the book"
    assert shelf.row(young).wav_released_at is None
    assert (young / "recording.wav").exists()
    assert sorted(shelf.acts()) == ["archive", "archive", "release_wav"]
    assert shelf.events(old)[-2:] == ["archived", "wav_released"]
    shelf.run()
    assert shelf.open() == []
    with shelf.store.reading() as session:
        audited = session.scalars(select(AuditRow.action).where(AuditRow.subject == f"call:{old.name}")).all()
        assert audited == ["recording_archive", "recording_release_wav"]


def _age(shelf: Shelf, directory: Path, *, days: int) -> None:
    with shelf.store.writing() as session:
        moment: datetime = utc_now() - timedelta(days=days)
        row = session.get_one(RecordingRow, directory.name)
        row.sealed_at = moment
        session.get_one(CallRow, directory.name).ended_at = moment


def test_a_copy_that_cannot_be_made_releases_nothing_and_is_told(shelf: Shelf) -> None:
    directory = shelf.recording()
    _age(shelf, directory, days=40)
    flip(directory / "recording.wav", 70_000)
    keeper = shelf.kept(archive_after_days=3, release_wav_after_days=4)
    shelf.run(keeper)
    keeper.close()
    assert shelf.row(directory).archive_path == ""
    assert (directory / "recording.wav").exists()
    assert [alarm.subject for alarm in shelf.alarms("archive_failed")] == [directory.name]


def test_a_copy_that_was_cut_is_one_difference_however_often_one_looks(shelf: Shelf) -> None:
    directory = shelf.recording()
    _age(shelf, directory, days=40)
    keeper = shelf.kept(archive_after_days=3)
    shelf.run(keeper)
    whole = (directory / "recording.opus").read_bytes()
    os.truncate(directory / "recording.opus", 900)
    for _ in range(3):
        keeper.reconcile()
        assert shelf.open() == ["archive_length"]
    (directory / "recording.opus").write_bytes(whole)
    keeper.reconcile()
    keeper.close()
    assert shelf.open() == []


def test_a_copy_that_was_altered_does_not_let_the_wav_go(shelf: Shelf) -> None:
    directory = shelf.recording()
    _age(shelf, directory, days=40)
    keeper = shelf.kept(archive_after_days=3)
    shelf.run(keeper)
    keeper.close()
    flip(directory / "recording.opus", 900)
    keeper = shelf.kept(archive_after_days=3, release_wav_after_days=4)
    shelf.run(keeper)
    keeper.close()
    assert shelf.row(directory).wav_released_at is None
    assert (directory / "recording.wav").exists()


@pytest.mark.rule("6.2-c")
@pytest.mark.rule("6.4-a")
def test_a_short_disk_is_freed_of_what_is_safe_oldest_first(shelf: Shelf) -> None:
    expired = shelf.recording(ago=timedelta(days=1200))
    archived = shelf.recording(ago=timedelta(days=60))
    plain = shelf.recording(ago=timedelta(days=50))
    unfinished = shelf.recording(ago=timedelta(days=1300), finalized=False)
    for directory, days in ((expired, 1200), (archived, 60), (plain, 50), (unfinished, 1300)):
        _age(shelf, directory, days=days)
    keeper = shelf.kept(archive_after_days=55)
    shelf.run(keeper)  # the two oldest have their copies
    before = shelf.acts()
    assert before.count("archive") == 3
    shelf.free = 400_000_000
    steps: list[tuple[str, str]] = []
    keeper.reconcile()
    keeper._make_room()
    keeper.close()
    with shelf.store.reading() as session:
        for link in session.scalars(select(CustodyRow).order_by(CustodyRow.position)).all()[len(before) :]:
            steps.append((link.act, link.call_id))
    assert steps == [
        ("release_raw", expired.name),
        ("release_raw", archived.name),
        ("release_raw", plain.name),
        ("release_wav", expired.name),
        ("release_wav", archived.name),
        ("remove", expired.name),
    ]
    assert [path.name for path in expired.iterdir()] == ["sealed.json"]
    assert sorted(path.name for path in plain.iterdir()) == [
        "events.jsonl",
        "peaks.json",
        "recording.wav",
        "sealed.json",
    ]
    assert (unfinished / "recording.wav").exists()
    assert (unfinished / "caller.alaw").exists()
    assert [alarm.cleared_at for alarm in shelf.alarms("disk_nothing_to_free")] == [None]
    shelf.free = 10**12
    shelf.run()
    assert shelf.open() == []


def test_a_hold_placed_while_the_recording_is_read_keeps_it_and_the_keeper_goes_on(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, free = shelf.recording(ago=timedelta(days=2)), shelf.recording(ago=timedelta(days=1))
    read = CustodyWorker.read

    def and_hold(worker: CustodyWorker, root: Path, row: Booked, *, hurry: bool = False) -> Reading:
        if row.call_id == held.name:
            Holds(shelf.store, utc_now).place(shelf.room.person(Role.LEADER), held.name, reason="调查")
        return read(worker, root, row, hurry=hurry)

    monkeypatch.setattr(CustodyWorker, "read", and_hold)
    readings = iter([400_000_000, 600_000_000])
    keeper = Keeper(shelf.settings(), shelf.store, free_bytes=lambda _: next(readings))
    assert keeper._make_room()
    keeper.close()
    assert (held / "caller.alaw").exists()
    assert not (free / "caller.alaw").exists()


def test_freeing_stops_as_soon_as_there_is_room(shelf: Shelf) -> None:
    first, second = shelf.recording(ago=timedelta(days=2)), shelf.recording(ago=timedelta(days=1))
    readings = iter([400_000_000, 600_000_000])
    keeper = Keeper(shelf.settings(), shelf.store, free_bytes=lambda _: next(readings))
    assert keeper._make_room()
    keeper.close()
    assert not (first / "caller.alaw").exists()
    assert (second / "caller.alaw").exists()
    assert shelf.alarms("disk_nothing_to_free") == []


@pytest.mark.rule("6.2-c")
def test_killed_between_row_and_file_the_next_look_finishes(shelf: Shelf) -> None:
    directory = shelf.recording()
    with shelf.store.writing() as session:
        session.get_one(RecordingRow, directory.name).raw_released_at = utc_now()
    shelf.keeper.reconcile()
    assert not (directory / "caller.alaw").exists()
    shelf.keeper.reconcile()
    assert shelf.open() == []


@pytest.mark.rule("6.2-c")
def test_a_folder_among_the_files_stays_and_is_told_and_stops_nothing(shelf: Shelf) -> None:
    first, second = (shelf.recording(ago=timedelta(days=days)) for days in (1300, 1200))
    for directory, days in ((first, 1300), (second, 1200)):
        _age(shelf, directory, days=days)
    for name in ("caller.copy", "aside"):
        (first / name).mkdir()
        (first / name / "note.txt").write_text("x")
    shelf.free = 400_000_000
    assert not shelf.keeper._make_room(), "both are gone, and still it is short"
    shelf.keeper.reconcile()
    assert [sorted(path.name for path in each.iterdir()) for each in (first, second)] == [
        ["aside", "caller.copy", "sealed.json"],
        ["sealed.json"],
    ]
    assert shelf.open() == ["stray", "stray"]
    assert (first / "aside" / "note.txt").exists()


def test_a_file_that_the_disk_does_not_let_go_is_told_and_stops_nothing(shelf: Shelf) -> None:
    if os.geteuid() != 0:
        pytest.skip("such a file needs root")
    first, second = (shelf.recording(ago=timedelta(days=days)) for days in (1300, 1200))
    for directory, days in ((first, 1300), (second, 1200)):
        _age(shelf, directory, days=days)
    file = first / "caller.alaw"
    if subprocess.run(["mount", "--bind", file, file], check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        shelf.free = 400_000_000
        shelf.keeper._make_room()
        assert [path.name for path in second.iterdir()] == ["sealed.json"]
        assert sorted(path.name for path in first.iterdir()) == ["caller.alaw", "sealed.json"]
        shelf.keeper.reconcile()
        assert shelf.open() == ["not_removed"]
    finally:
        subprocess.run(["umount", "-l", file], check=True)
    shelf.keeper.reconcile()
    shelf.keeper.reconcile()
    assert shelf.open() == []
    assert [path.name for path in first.iterdir()] == ["sealed.json"]


@pytest.mark.rule("6.1-d")
def test_a_directory_into_which_nobody_can_look_is_told_and_the_others_are_compared(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [shelf.recording(ago=timedelta(days=number)) for number in (50, 40, 30)]
    _, one, gone = (directory.relative_to(shelf.root) for directory in days)
    (shelf.root / gone / "recording.wav").unlink()
    broken = {str(days[0].parent), str(shelf.root / one)}
    scandir = os.scandir

    def failing(path: Path) -> object:
        if str(path) in broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return scandir(path)

    monkeypatch.setattr("telephony.custody_files.os.scandir", failing)
    shelf.keeper.reconcile()
    assert shelf.open() == ["file_missing", "unreadable", "unreadable"]
    broken.clear()
    shelf.keeper.reconcile()
    assert shelf.open() == ["file_missing"]


def test_a_call_that_lives_is_left_alone(shelf: Shelf) -> None:
    call_id = shelf.room.arrive()
    shelf.room.happen(call_id, CallEventKind.ANSWERED, extension="1001")
    recorder = Recorder(root=shelf.root, call_id=call_id, started_at=utc_now())
    recorder.write(Speaker.CALLER, position=0, payload=VOICE[:160], law=Law.PCMA)
    recorder.tick(0.0)
    shelf.run()
    assert shelf.open() == []
    shelf.room.clock.now = utc_now() - timedelta(hours=1)
    shelf.room.happen(call_id, CallEventKind.ENDED, Outcome.ANSWERED)
    shelf.run()
    assert shelf.open() == ["not_sealed"]


def verdict(shelf: Shelf, root: Path | None = None) -> tuple[str, str] | None:
    broken = verify(shelf.store.url, root or shelf.root).first_broken
    return (broken.what, broken.call) if broken else None


VERIFIED = {
    **{name: (FAULTS[name][0], code) for name, code in (
        ("the WAV is gone", "recording_missing"),
        ("the WAV is cut", "recording_altered"),
        ("one bit of the WAV", "recording_altered"),
        ("one bit of a raw channel", "chain_altered"),
        ("a line of the sidecar", "chain_altered"),
        ("a raw channel is gone", "chain_altered"),
        ("a chain made anew", "chain_differs"),
    )},
    "the sidecar is gone": (lambda at: (at / "events.jsonl").unlink(), "chain_missing"),
    "the copy is gone": (lambda at: (at / "recording.opus").unlink(), "archive_missing"),
    "one bit of the copy": (lambda at: flip(at / "recording.opus", 2000), "archive_altered"),
}  # fmt: skip


@pytest.mark.rule("6.2-c")
def test_the_independent_verifier_reads_every_recording_and_names_the_first_wrong_one(shelf: Shelf) -> None:
    directories = [shelf.recording(ago=timedelta(days=20 - number)) for number in range(3)]
    for directory in directories:
        _age(shelf, directory, days=20)
    keeper = shelf.kept(archive_after_days=3)
    shelf.run(keeper)
    keeper.close()
    report = verify(shelf.store.url, shelf.root)
    assert report.first_broken is None
    assert (report.recordings.good, report.recordings.custody) == (3, 3)
    saved = shelf.folder / "saved"
    shutil.copytree(directories[1], saved)
    for name, (spoil, code) in VERIFIED.items():
        spoil(directories[1])
        assert verdict(shelf) == (code, directories[1].name), name
        shutil.rmtree(directories[1])
        shutil.copytree(saved, directories[1])
    assert verdict(shelf) is None


@pytest.mark.rule("6.2-c")
@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE recordings SET wav_released_at = archived_at", "custody_row_differs"),
        ("UPDATE recordings SET removed_at = archived_at", "custody_row_differs"),
        ("UPDATE recordings SET sha256 = 'x'", "custody_row_differs"),
        ("UPDATE recordings SET archive_sha256 = 'x'", "custody_row_differs"),
        ("UPDATE recordings SET archive_path = '', archive_sha256 = ''", "custody_row_differs"),
        ("DELETE FROM recordings", "custody_row_differs"),
        ("UPDATE custody SET act = 'remove'", "custody_malformed"),
        ("UPDATE custody SET payload = replace(payload, 'days', 'year')", "custody_hash_differs"),
        ("UPDATE custody SET previous = hash", "custody_previous_differs"),
        ("UPDATE custody SET position = 2", "custody_missing"),
        ("DELETE FROM custody", "custody_row_differs"),
    ],
)
def test_whoever_writes_past_the_keeper_is_caught(shelf: Shelf, statement: str, code: str) -> None:
    directory = shelf.recording()
    _age(shelf, directory, days=20)
    keeper = shelf.kept(archive_after_days=3)
    shelf.run(keeper)
    keeper.close()
    assert verdict(shelf) is None
    with shelf.store.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        connection.exec_driver_sql(statement)
    found = verdict(shelf)
    assert found is not None
    assert found[0] == code


def test_an_anchor_kept_elsewhere_catches_a_custody_chain_that_was_cut(shelf: Shelf) -> None:
    directory = shelf.recording()
    _age(shelf, directory, days=20)
    keeper = shelf.kept(archive_after_days=3)
    shelf.run(keeper)
    keeper.close()
    heads = verify(shelf.store.url, shelf.root).heads
    assert verify(shelf.store.url, shelf.root, expected_head=heads).first_broken is None
    with shelf.store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM custody")
        connection.exec_driver_sql("UPDATE recordings SET archive_path = '', archive_sha256 = ''")
    assert verdict(shelf) is None
    broken = verify(shelf.store.url, shelf.root, expected_head=heads).first_broken
    assert broken is not None
    assert broken.what == "custody_anchor_missing"


@pytest.mark.rule("6.2-c")
def test_what_was_removed_before_a_year_is_named(shelf: Shelf) -> None:
    """Somebody sets the clock of the machine forward, and back again: the chain has kept when it was."""
    directory = shelf.recording(ago=timedelta(days=1200))
    _age(shelf, directory, days=1200)
    shelf.free = 400_000_000
    shelf.keeper._make_room()
    assert [path.name for path in directory.iterdir()] == ["sealed.json"]
    assert verdict(shelf) is None
    with shelf.store.writing() as session:
        call = session.get_one(CallRow, directory.name)
        call.ended_at = utc_now() - timedelta(days=200)
    assert verdict(shelf) == ("recording_removed_early", directory.name)


def test_room_is_kept_for_the_moment_when_there_is_none(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "run" / "ballast", mark=400_000)
    ballast.take(800_000)
    assert not (tmp_path / "run").exists(), "it would itself make the disk short"
    ballast.take(2_000_000)
    assert (tmp_path / "run" / "ballast").stat().st_size == 100_000
    ballast.drop(300_000)
    assert (tmp_path / "run" / "ballast").exists(), "the book can still be written"
    ballast.drop(50_000)
    assert not (tmp_path / "run" / "ballast").exists()
