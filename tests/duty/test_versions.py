"""Versions of a transcript: asked for by right, chosen by an officer, and never over an officer's words."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from duty.domain.errors import Forbidden, NotFound, Refused
from duty.domain.rights import Role
from duty.services.versions import SpeechModel, Versions
from duty.store.tables import AuditRow, RecordingRow
from tests.duty.room import TOWN_LINE, Room
from tests.duty.test_recordings import drafted, heard, row_of, sealed

BASE = SpeechModel(name="whisper-base", engine="whisper", language="zh", sha256="ab" * 32, current=True)
OTHER = SpeechModel(name="vosk-cn", engine="vosk", language="zh", sha256="cd" * 32)


@pytest.fixture
def versions(room: Room) -> Versions:
    made = Versions(room.store, room.clock)
    made.tell_models([OTHER, BASE])
    return made


def _two_versions(room: Room, versions: Versions) -> tuple[str, int, int]:
    call_id = sealed(room)
    room.recordings.claim()
    room.recordings.complete(call_id, heard("甲"), drafted(place="北书店街", event="着火", category="incident"))
    versions.ask(room.person(), call_id, model="vosk-cn")
    job = room.recordings.claim()
    assert job is not None
    assert job.wanted_model == "vosk-cn"
    room.recordings.complete(call_id, heard("乙"), drafted(place="南书店街", casualties="三人受伤"))
    first, second = room.review.dossier(room.person(), call_id).transcripts
    return call_id, first.id, second.id


@pytest.mark.rule("6.2-b")
def test_an_untouched_entry_follows_the_chosen_version_and_its_proposals_too(room: Room, versions: Versions) -> None:
    officer = room.person()
    call_id, first, second = _two_versions(room, versions)
    assert (room.entry_of(call_id).place, room.entry_of(call_id).casualties) == ("北书店街", "")
    versions.choose(officer, call_id, second)
    after = room.entry_of(call_id)
    assert (after.place, after.event, after.casualties, after.category) == ("南书店街", "", "三人受伤", "routine")
    dossier = room.review.dossier(officer, call_id)
    assert dossier.transcript is not None
    assert dossier.draft is not None
    assert (dossier.transcript.id, dossier.draft.transcript_id) == (second, second)
    versions.choose(officer, call_id, first)
    back = room.entry_of(call_id)
    assert (back.place, back.event, back.casualties, back.category) == ("北书店街", "着火", "", "incident")
    with room.store.reading() as session:
        noted = session.scalars(select(AuditRow).where(AuditRow.action == "choose_transcript").order_by(AuditRow.id))
        assert [(row.officer_id, row.data["transcript"], row.data["before"]) for row in noted] == [
            (officer.officer_id, second, first),
            (officer.officer_id, first, second),
        ]
        asked = session.scalars(select(AuditRow).where(AuditRow.action == "transcribe_again")).one()
        assert (asked.subject, asked.data) == (f"call:{call_id}", {"model": "vosk-cn"})


@pytest.mark.rule("6.2-b")
def test_an_entry_that_an_officer_touched_keeps_every_word(room: Room, versions: Versions) -> None:
    officer = room.person()
    call_id, _, second = _two_versions(room, versions)
    entry = room.entry_of(call_id)
    version = room.logbook.edit(officer, entry.id, {"event": ""}, version=entry.version)
    versions.choose(officer, call_id, second)
    after = room.entry_of(call_id)
    assert (after.place, after.event, after.casualties, after.version) == ("北书店街", "", "", version)
    assert room.review.dossier(officer, call_id).transcript is not None


@pytest.mark.rule("7.4-a")
def test_only_who_may_write_asks_and_chooses(room: Room, versions: Versions) -> None:
    call_id, _, second = _two_versions(room, versions)
    supervisor, stranger = room.person(Role.SUPERVISOR), room.person(Role.OFFICER, unit="BS")
    for person, error in ((supervisor, Forbidden), (stranger, NotFound)):
        with pytest.raises(error):
            versions.ask(person, call_id)
        with pytest.raises(error):
            versions.choose(person, call_id, second)
    officer = room.person()
    with pytest.raises(Refused, match="model_not_installed"):
        versions.ask(officer, call_id, model="no-such")
    other = room.answered_call(line=TOWN_LINE)
    with pytest.raises(NotFound):
        versions.choose(officer, other, second)
    assert [model.name for model in versions.models()] == ["whisper-base", "vosk-cn"]


def test_what_is_being_heard_is_not_asked_for_again(room: Room, versions: Versions) -> None:
    call_id = sealed(room)
    room.recordings.claim()
    versions.ask(room.person(), call_id, model="vosk-cn")
    row: RecordingRow = row_of(room, call_id)
    assert (row.state, row.wanted_model) == ("running", "")
