"""The life of a transcription job: its state is the recording's row, so nothing is lost with a worker."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from duty.domain.calls import CallEventKind, Outcome, RecordingFacts
from duty.domain.drafts import Draft, DraftField, FieldName, Source, Span
from duty.domain.errors import NotFound
from duty.domain.rights import Role
from duty.domain.transcripts import Segment, Speaker, Transcript, Word
from duty.services.directory import NewContact
from duty.services.recordings import LEASE, LONGEST_BACK_OFF, MAX_ATTEMPTS, Turn, Urgency, back_off
from duty.store.database import Store
from duty.store.tables import AuditRow, EntryRow, RecordingRow, TranscriptRow
from tests.duty.conftest import sweep
from tests.duty.room import FULL, Room

LATER = datetime(2100, 1, 1, tzinfo=UTC)


def facts(call_id: str, **changes: object) -> RecordingFacts:
    values = {"path": f"{call_id}/recording.wav", "sha256": "ab" * 32, "seconds": 30.0, "samples": 240_000, **changes}
    return RecordingFacts(call_id=call_id, **values)


def sealed(room: Room, caller: str = "13800138000") -> str:
    call_id = room.answered_call(caller)
    room.recordings.seal(facts(call_id))
    return call_id


def heard(text: str = "北书店街着火了") -> Transcript:
    words = tuple(Word(text=c, start_s=i / 2, end_s=i / 2 + 0.4, confidence=0.9) for i, c in enumerate(text))
    segment = Segment(speaker=Speaker.CALLER, start_s=0.0, end_s=4.0, text=text, confidence=0.9, words=words)
    return Transcript(
        engine="vosk",
        model="small-cn",
        model_sha256="cd" * 32,
        settings={"rate": "8000"},
        audio_seconds=30.0,
        decode_seconds=3.0,
        segments=(segment,),
    )


def drafted(**values: str) -> Draft:
    span = Span(segment=0, start_char=0, end_char=4, start_s=0.0, end_s=2.0)
    fields = tuple(
        DraftField(
            name=FieldName(name), value=value, normalised="", confidence=0.8, source=Source.TRANSCRIPT, spans=(span,)
        )
        for name, value in values.items()
    )
    return Draft(fields=fields, gist="北书店街着火")


def row_of(room: Room, call_id: str) -> RecordingRow:
    with room.store.reading() as session:
        return session.get_one(RecordingRow, call_id)


@pytest.mark.rule("6.1-d")
def test_a_sealed_recording_becomes_a_job_with_what_is_known(room: Room) -> None:
    room.directory.add(room.person(Role.LEADER), NewContact(organisation="市局", name="王五", numbers=("13800138000",)))
    call_id = room.answered_call()
    assert room.recordings.claim() is None
    assert room.recordings.unsealed(LATER) == [call_id]
    room.recordings.seal(facts(call_id, gaps=(("caller", 160, 320),)))
    room.recordings.seal(facts(call_id, sha256="ff" * 32))  # sealing twice changes nothing
    assert (room.recordings.unsealed(LATER), room.recordings.waiting()) == ([], 1)
    job = room.recordings.claim()
    assert job is not None
    assert (job.call_id, job.sha256, job.attempt) == (call_id, "ab" * 32, 1)
    assert (job.contact_unit, job.contact_name, job.caller_number) == ("市局", "王五", "13800138000")
    assert row_of(room, call_id).gaps == [["caller", 160, 320]]
    assert room.recordings.claim() is None, "a job is taken once"
    assert room.recordings.waiting() == 1


def test_a_damaged_recording_is_alarmed_and_a_salvaged_one_says_so(room: Room) -> None:
    call_id = room.answered_call()
    room.recordings.seal(facts(call_id, damage="interrupted: no end", salvaged=True))
    officer = room.person()
    assert [alarm.kind for alarm in room.alarms.unacknowledged(officer)] == ["recording_damaged"]
    assert room.review.dossier(officer, call_id).events[-1].kind == "salvaged"


def test_a_call_without_media_is_no_job(room: Room) -> None:
    call_id = room.arrive()
    room.happen(call_id, CallEventKind.ENDED, Outcome.CANCELLED)
    room.recordings.none_made(call_id)
    assert (room.recordings.unsealed(LATER), room.recordings.claim(), room.recordings.waiting()) == ([], None, 0)
    with pytest.raises(NotFound):
        room.recordings.none_made("0" * 32)


def test_what_was_asked_for_comes_first_then_calls_and_what_was_imported_last(room: Room) -> None:
    old, asked, middle, imported, new = (sealed(room) for _ in range(5))
    room.recordings.again([asked])
    with room.store.writing() as session:
        session.get_one(RecordingRow, asked).urgency = Urgency.ASKED
        session.get_one(RecordingRow, imported).urgency = Urgency.IMPORT
    assert room.recordings.any_due()
    assert _claimed(room, Turn.NEWEST) == asked
    assert _claimed(room, Turn.NEWEST) == new, "the officer who just hung up does not wait for what is older"
    assert _claimed(room, Turn.LONGEST_WAITING) == old, "and what is older gets its turns"
    assert _claimed(room, Turn.NEWEST) == middle
    assert _claimed(room, Turn.LONGEST_WAITING) == imported
    assert room.recordings.claim() is None
    assert not room.recordings.any_due()


def _claimed(room: Room, turn: Turn) -> str:
    job = room.recordings.claim(turn)
    assert job is not None
    return job.call_id


def test_an_import_makes_way_for_a_call_that_finds_no_worker_and_nothing_else_does(room: Room) -> None:
    imported, call = sealed(room), sealed(room)
    with room.store.writing() as session:
        session.get_one(RecordingRow, imported).urgency = Urgency.IMPORT
    assert _claimed(room, Turn.NEWEST) == call
    assert _claimed(room, Turn.NEWEST) == imported
    assert not room.recordings.progress(imported, 0.1)
    sealed(room)
    assert not room.recordings.progress(imported, 0.2), "a free worker would take it within a second"
    room.clock.turn(seconds=2)
    assert room.recordings.progress(imported, 0.2)
    assert not room.recordings.progress(call, 0.2)


@pytest.mark.rule("6.1-d")
def test_a_dead_workers_job_is_taken_when_its_lease_runs_out(room: Room) -> None:
    call_id = sealed(room)
    room.recordings.claim()
    room.clock.now += LEASE
    assert room.recordings.claim() is None
    room.recordings.progress(call_id, 0.5)  # it lives after all
    room.clock.turn(seconds=1)
    assert room.recordings.claim() is None
    assert row_of(room, call_id).progress == 0.5
    room.clock.now += LEASE
    again = room.recordings.claim()
    assert again is not None
    assert (again.call_id, again.attempt) == (call_id, 2)


@pytest.mark.rule("6.1-d")
def test_a_recording_that_kills_its_workers_is_set_aside(room: Room) -> None:
    poison = sealed(room)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        job = room.recordings.claim()
        assert job is not None
        assert job.attempt == attempt
        room.clock.now += LEASE + timedelta(seconds=1)
    other = sealed(room)
    job = room.recordings.claim()
    assert job is not None
    assert job.call_id == other, "the next recording is not held up"
    assert room.recordings.claim() is None
    assert (row_of(room, poison).state, row_of(room, poison).last_error) == ("set_aside", "worker_died")
    assert [alarm.kind for alarm in room.alarms.unacknowledged(room.person())] == ["transcription_failed"]


def test_failures_pause_longer_each_time_and_end_set_aside(room: Room) -> None:
    call_id = sealed(room)
    for attempt in range(MAX_ATTEMPTS):
        assert room.recordings.claim() is not None
        room.recordings.fail(call_id, "out of memory\x00")
        if attempt < MAX_ATTEMPTS - 1:
            room.clock.now += back_off(attempt + 1) - timedelta(seconds=1)
            assert room.recordings.claim() is None
            room.clock.turn(seconds=1)
    row = row_of(room, call_id)
    assert (row.state, row.attempts, row.last_error) == ("set_aside", MAX_ATTEMPTS, "out of memory\ufffd")
    room.clock.turn(days=1)
    assert room.recordings.claim() is None
    room.recordings.again([call_id])
    job = room.recordings.claim()
    assert job is not None
    assert job.attempt == 1


def test_the_pause_grows_to_its_limit_and_no_further() -> None:
    pauses = [back_off(attempts).total_seconds() for attempts in range(1, 60)]
    assert pauses[:4] == [15, 60, 240, 600]
    assert set(pauses[3:]) == {LONGEST_BACK_OFF.total_seconds()}


def test_a_final_failure_is_set_aside_at_once(room: Room) -> None:
    call_id = sealed(room)
    room.recordings.claim()
    room.recordings.fail(call_id, "sha256", final=True)
    assert row_of(room, call_id).state == "set_aside"


def test_a_worker_that_stops_gives_its_job_back_uncounted(room: Room) -> None:
    call_id = sealed(room)
    for _ in range(MAX_ATTEMPTS * 2):
        job = room.recordings.claim()
        assert job is not None
        assert job.attempt == 1
        room.recordings.give_back(call_id)


def test_the_word_of_a_worker_that_was_overtaken_changes_nothing(room: Room) -> None:
    call_id = sealed(room)
    room.recordings.claim()
    room.recordings.complete(call_id, heard(), drafted())
    room.recordings.fail(call_id, "too late")
    room.recordings.give_back(call_id)
    room.recordings.progress(call_id, 0.1)
    row = row_of(room, call_id)
    assert (row.state, row.progress, row.last_error) == ("done", 1.0, "")


@pytest.mark.rule("6.1-d", "6.2-b")
def test_a_second_result_is_a_further_version(room: Room) -> None:
    call_id = sealed(room)
    room.recordings.claim()
    room.recordings.complete(call_id, heard("第一次"), drafted(place="北书店街"))
    room.recordings.complete(call_id, heard("第二次"), drafted(place="南书店街"))
    dossier = room.review.dossier(room.person(), call_id)
    assert [row.segments[0].text for row in dossier.transcripts] == ["第一次", "第二次"]
    assert dossier.transcript is dossier.transcripts[0], "the first stays the chosen one until an officer chooses"
    assert dossier.draft is not None
    assert dossier.draft.transcript_id == dossier.transcripts[0].id
    assert dossier.draft.fields[0]["spans"][0]["end_s"] == 2.0
    assert dossier.transcripts[0].segments[0].words[0] == ["第", 0.0, 0.4, 0.9]
    assert dossier.entries[0].place == "北书店街", "what stands in the form is not written over"


@pytest.mark.rule("6.1-d")
def test_a_draft_fills_what_is_empty_and_nothing_else(room: Room) -> None:
    officer = room.person()
    call_id = sealed(room)
    entry = room.entry_of(call_id)
    room.logbook.edit(officer, entry.id, {"place": "officer's own"}, version=entry.version)
    room.recordings.claim()
    proposed = drafted(
        place="北书店街", event="着火", category="incident", caller_phone="110", measures=" ", request="\x00"
    )
    room.recordings.complete(call_id, heard(), proposed)
    after = room.entry_of(call_id)
    assert (after.place, after.event, after.caller_phone) == ("officer's own", "着火", "13800138000")
    assert (after.measures, after.request) == ("", "")
    assert after.category == "routine", "the officer has been at the form: the category is theirs"
    assert after.version == entry.version + 2


def test_a_draft_that_fills_nothing_disturbs_nobody(room: Room) -> None:
    call_id = sealed(room)
    before = room.entry_of(call_id).version
    room.recordings.complete(call_id, heard(), drafted(category="weather", place=""))
    assert room.entry_of(call_id).version == before
    other = sealed(room)
    room.recordings.complete(other, heard(), drafted(category="incident"))
    assert room.entry_of(other).category == "incident"


@pytest.mark.rule("6.2-b")
def test_a_numbered_entry_is_not_touched_by_a_later_draft(room: Room) -> None:
    officer = room.person()
    call_id = sealed(room)
    entry = room.entry_of(call_id)
    version = room.logbook.edit(officer, entry.id, FULL, version=entry.version)
    room.logbook.finalize(officer, entry.id, version=version)
    room.recordings.complete(call_id, heard(), drafted(casualties="3人"))
    after = room.logbook.entry(officer, entry.id)
    assert (after.casualties, after.version) == ("", version)


@pytest.mark.rule("7.4-a")
def test_listening_is_audited(room: Room) -> None:
    officer, call_id = room.person(), room.answered_call()
    with pytest.raises(NotFound):
        room.review.listened(officer, call_id)
    room.recordings.seal(facts(call_id))
    assert room.review.listened(officer, call_id).path
    with room.store.reading() as session:
        looked = session.scalars(select(AuditRow).where(AuditRow.action == "listen")).one()
    assert (looked.officer_id, looked.subject) == (officer.officer_id, f"call:{call_id}")


_STEPS = st.sampled_from(["claim", "progress", "complete", "fail", "final", "give_back", "again", "wait", "lease"])


@pytest.mark.rule("6.1-d")
@given(st.lists(_STEPS, max_size=25))
def test_whatever_workers_do_no_recording_is_lost(standing_room: Room, steps: list[str]) -> None:
    room = standing_room
    call_id = sealed(room)
    results = 0
    for step in steps:
        if step == "claim":
            room.recordings.claim()
        elif step == "progress":
            room.recordings.progress(call_id, 0.3)
        elif step == "complete":
            room.recordings.complete(call_id, heard(), drafted())
            results += 1
        elif step in ("fail", "final"):
            room.recordings.fail(call_id, "x", final=step == "final")
        elif step == "give_back":
            room.recordings.give_back(call_id)
        elif step == "again":
            room.recordings.again([call_id])
        else:
            room.clock.now += LEASE * 2 if step == "lease" else timedelta(minutes=10)
        row = row_of(room, call_id)
        assert row.state in ("waiting", "running", "done", "set_aside")
        assert 0 <= row.attempts <= MAX_ATTEMPTS
        assert (row.state == "running") is (row.leased_until is not None)
        assert (row.sha256, row.path) == ("ab" * 32, f"{call_id}/recording.wav")
    with room.store.reading() as session:
        kept = session.scalars(select(TranscriptRow).where(TranscriptRow.call_id == call_id)).all()
        assert len(kept) == results
    # Whatever came before: a worker that does its work brings it to an end.
    room.recordings.again([call_id])
    room.clock.turn(hours=3)
    while (job := room.recordings.claim()) is not None:
        room.recordings.complete(job.call_id, heard(), drafted())
    assert row_of(room, call_id).state in ("done", "set_aside")


@pytest.mark.peer
@pytest.mark.rule("6.2-b")
def test_an_officer_and_a_draft_at_the_same_moment_do_not_overwrite_each_other(swept_postgres: str) -> None:
    """On PostgreSQL both transactions run at once; the draft must wait and then see the officer's words."""
    with closing(Store(swept_postgres)) as store:
        sweep(store)
        room = Room(store)
        call_id = sealed(room)
        entry = room.entry_of(call_id)
        drafting = threading.Thread(
            target=room.recordings.complete, args=(call_id, heard(), drafted(place="北书店街", event="着火"))
        )
        with store.writing() as session:
            row = session.get_one(EntryRow, entry.id, with_for_update={"of": EntryRow})
            drafting.start()
            time.sleep(0.3)
            row.place, row.state = "officer's own", "draft"
        drafting.join(10)
        after = room.entry_of(call_id)
        assert (after.place, after.event) == ("officer's own", "着火")
        with store.writing() as session:
            row = session.get_one(EntryRow, entry.id, with_for_update={"of": EntryRow})
            finishing = threading.Thread(
                target=room.recordings.complete, args=(call_id, heard(), drafted(casualties="3人"))
            )
            finishing.start()
            time.sleep(0.3)
            row.state = "finalized"
        finishing.join(10)
        assert room.entry_of(call_id).casualties == ""


def test_what_nobody_answered_is_kept_and_not_transcribed(room: Room) -> None:
    """Its only voice is our own announcement."""
    call_id = room.arrive()
    room.happen(call_id, CallEventKind.ENDED, Outcome.MISSED)
    room.recordings.seal(facts(call_id))
    assert (row_of(room, call_id).state, room.recordings.claim()) == ("kept", None)
    assert room.review.listened(room.person(), call_id).path
