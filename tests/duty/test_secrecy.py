"""Calls under secrecy on both stores: flagged, sealed, opened by those who may, lifted; nothing of their words in any
table meanwhile (requirement 6.5-a)."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from duty.domain.drafts import Draft, DraftField, FieldName, Source
from duty.domain.errors import BrokenState, Forbidden, NotFound, Refused
from duty.domain.rights import Right, Role
from duty.domain.secrecy import ACTIVE, SecrecySource, SecrecyState, SecrecyStep, next_state
from duty.domain.transcripts import Segment, Speaker, Transcript, Word
from duty.domain.vocabulary import Suggestion, WordClass
from duty.services.captions import Captions, show_caption
from duty.services.logbook import EntryFilter, content_of
from duty.services.recordings import Recordings
from duty.services.sealingacts import SealingActs
from duty.services.secrecy import Secrecy
from duty.services.suggestions import keep_suggestions
from duty.store.tables import AlarmRow, AuditRow, Base, CustodyRow, EntryRow, RecordingRow, SecrecyRow, TranscriptRow
from duty.vault.errors import NoMasterKey
from duty.vault.keyfile import MasterKeys, create_ring, replace_ring
from duty.vault.keys import KeyRing, new_master_key
from tests.duty.room import FULL, TOWN_LINE, Room, wav_facts

pytestmark = pytest.mark.rule("6.5-a")
WORDS = "明天有一级警卫任务"
GIST = "来电报告一级警卫任务"


class Vaulted:
    """A room whose calls can be sealed."""

    def __init__(self, room: Room, folder: Path, *, key: bool = True) -> None:
        self.room, self.store, self.root = room, room.store, folder / "recordings"
        self.keys = MasterKeys(folder / "keys" / "master.key")
        if key:
            self.make_key()
        self.secrecy = Secrecy(room.store, room.clock, self.keys, opening=timedelta(minutes=30))
        self.recordings = Recordings(room.store, room.clock, self.keys)
        self.acts = SealingActs(room.store, room.clock, self.keys)

    def make_key(self) -> None:
        assert self.keys.path is not None
        create_ring(self.keys.path, KeyRing(keys=(new_master_key(),)))

    def call(self, *, line: str = "037122595110") -> str:
        """An answered call that has ended, recorded and not yet transcribed."""
        call_id = self.room.answered_call(line=line)
        self.recordings.seal(wav_facts(self.root, call_id))
        return call_id

    def transcribe(self, call_id: str, *, suspected: bool) -> None:
        job = self.recordings.claim()
        assert job is not None
        assert job.call_id == call_id
        self.recordings.complete(call_id, transcript(), draft(), suspected=suspected)

    def state(self, call_id: str) -> str:
        with self.store.reading() as session:
            return session.get_one(SecrecyRow, call_id).state

    def everything(self) -> str:
        """Every row of every table, as text."""
        found = []
        with self.store.reading() as session:
            for table in Base.metadata.sorted_tables:
                found += [str(tuple(row)) for row in session.execute(table.select())]
        return "\n".join(found)

    def told(self, call_id: str) -> list[tuple[int | None, str]]:
        with self.store.reading() as session:
            query = select(AuditRow).where(AuditRow.subject == f"call:{call_id}", AuditRow.action.startswith("secret"))
            rows = session.scalars(query.order_by(AuditRow.id)).all()
            chain = select(CustodyRow.act).where(CustodyRow.call_id == call_id)
            links = session.scalars(chain.order_by(CustodyRow.position)).all()
        assert [row.action for row in rows] == [act for act in links if act.startswith("secret")]
        return [(row.officer_id, row.action) for row in rows]

    def alarms(self, kind: str) -> list[AlarmRow]:
        with self.store.reading() as session:
            return list(session.scalars(select(AlarmRow).where(AlarmRow.kind == kind, AlarmRow.cleared_at.is_(None))))


@pytest.fixture
def vaulted(room: Room, tmp_path: Path) -> Vaulted:
    return Vaulted(room, tmp_path)


def transcript(text: str = WORDS) -> Transcript:
    words = tuple(Word(text=char, start_s=n / 10, end_s=(n + 1) / 10, confidence=0.9) for n, char in enumerate(text))
    return Transcript(
        engine="fake",
        model="fake",
        model_sha256="e" * 64,
        settings={},
        audio_seconds=2.0,
        decode_seconds=0.1,
        segments=(
            Segment(speaker=Speaker.CALLER, start_s=0.0, end_s=1.0, text=text, confidence=0.9, words=words),
            Segment(speaker=Speaker.OFFICER, start_s=1.0, end_s=2.0, text="请不要在电话里说", confidence=0.8),
        ),
    )


def draft() -> Draft:
    field = DraftField(
        name=FieldName.EVENT, value=WORDS, normalised=WORDS, confidence=0.9, source=Source.TRANSCRIPT, spans=()
    )
    return Draft(fields=(field,), gist=GIST)


def test_words_that_suggest_a_secret_are_in_no_table_and_open_to_whoever_may(vaulted: Vaulted) -> None:
    call_id = vaulted.call()
    vaulted.transcribe(call_id, suspected=True)
    everything = vaulted.everything()
    assert WORDS not in everything
    assert GIST not in everything
    assert "警" not in everything
    assert content_of(vaulted.room.entry_of(call_id)).event == ""
    [alarm] = vaulted.alarms("secrecy_suspected")
    assert alarm.call_id == call_id
    leader = vaulted.room.person(Role.LEADER)
    dossier = vaulted.room.review.dossier(leader, call_id)
    assert (dossier.under_secrecy, dossier.transcripts, dossier.draft) == (True, [], None)
    assert vaulted.secrecy.read(leader, call_id) is None
    vaulted.secrecy.open(leader, call_id, reason="核实来电内容")
    opened = vaulted.secrecy.read(leader, call_id)
    assert opened is not None
    [heard] = opened.transcripts
    assert [(segment.speaker, segment.text) for segment in heard.segments] == [
        ("caller", WORDS),
        ("officer", "请不要在电话里说"),
    ]
    assert heard.segments[0].words[0] == ["明", 0.0, 0.1, 0.9]
    assert opened.draft is not None
    assert (opened.draft.gist, opened.draft.fields[0]["value"]) == (GIST, WORDS)
    assert WORDS not in vaulted.everything(), "reading leaves nothing behind"
    vaulted.room.clock.turn(minutes=31)
    assert vaulted.secrecy.read(leader, call_id) is None, "an opening ends by itself"
    assert vaulted.told(call_id) == [
        (None, "secret_mark"),
        (leader.officer_id, "secret_open"),
        (leader.officer_id, "secret_look"),
    ]


def test_who_may_not_is_refused_and_the_refusal_is_told(vaulted: Vaulted) -> None:
    call_id = vaulted.call()
    officer, auditor = vaulted.room.person(Role.OFFICER), vaulted.room.person(Role.AUDITOR)
    vaulted.secrecy.mark(officer, call_id)
    for act in (
        lambda: vaulted.secrecy.open(officer, call_id, reason="想听一听"),
        lambda: vaulted.secrecy.hear(officer, call_id, told=False),
        lambda: vaulted.secrecy.lift(officer, call_id, reason="没有涉密"),
    ):
        with pytest.raises(Forbidden):
            act()
    with pytest.raises(NotFound):
        vaulted.secrecy.open(auditor, call_id, reason="审计检查")
    elsewhere = vaulted.room.person(Role.LEADER, unit="BS")
    with pytest.raises(NotFound):
        vaulted.secrecy.open(elsewhere, call_id, reason="另一单位")
    own = vaulted.call(line=TOWN_LINE)
    vaulted.secrecy.mark(elsewhere, own)
    vaulted.secrecy.open(elsewhere, own, reason="本单位的来电")
    assert (
        vaulted.told(call_id)[:4] == [(officer.officer_id, "secret_mark")] + [(officer.officer_id, "secret_refuse")] * 3
    )
    leader = vaulted.room.person(Role.LEADER)
    with pytest.raises(Refused, match="secrecy_reason_missing"):
        vaulted.secrecy.open(leader, call_id, reason=" ")
    with pytest.raises(Refused, match="secrecy_not_opened"):
        vaulted.secrecy.hear(leader, call_id, told=False)
    with pytest.raises(Refused, match="secrecy_marked"):
        vaulted.secrecy.mark(leader, call_id)
    other = vaulted.room.person(Role.SUPERVISOR)
    vaulted.secrecy.open(leader, call_id, reason="核实来电内容")
    assert vaulted.secrecy.read(other, call_id) is None, "an opening is one person's own"
    vaulted.secrecy.close(leader, call_id)
    assert vaulted.secrecy.read(leader, call_id) is None
    assert {role for role in Role if vaulted.room.person(role).may(Right.OPEN_SECRECY)} == {
        Role.LEADER,
        Role.SUPERVISOR,
        Role.HUB,
    }


def test_what_stands_already_is_sealed_when_a_person_flags_and_comes_back_when_the_flag_was_false(
    vaulted: Vaulted,
) -> None:
    call_id = vaulted.call()
    show_caption(vaulted.store, at=vaulted.room.clock(), call_id=call_id, speaker="caller", text=WORDS, final=True)
    vaulted.transcribe(call_id, suspected=False)
    with vaulted.store.writing() as session:
        [heard] = session.scalars(select(TranscriptRow.id))
        kind = WordClass.SIGHT
        misheard = Suggestion(segment=0, start_char=5, end_char=7, word="警卫", word_class=kind, distance=0.1)
        keep_suggestions(session, heard, [misheard])
    assert WORDS in vaulted.everything()
    officer, leader = vaulted.room.person(Role.OFFICER), vaulted.room.person(Role.LEADER)
    written = content_of(vaulted.room.entry_of(call_id))
    assert written.event == WORDS
    vaulted.secrecy.mark(officer, call_id)
    assert "警" not in vaulted.everything()
    assert Captions(vaulted.store).of_calls(leader, [call_id])[call_id] == []
    show_caption(vaulted.store, at=vaulted.room.clock(), call_id=call_id, speaker="caller", text=WORDS, final=True)
    assert "警" not in vaulted.everything(), "and no caption comes after"
    vaulted.acts.begin(call_id)
    vaulted.acts.book(call_id, [])
    vaulted.acts.wiped(call_id)
    assert vaulted.state(call_id) == "sealed"
    vaulted.secrecy.lift(leader, call_id, reason="误报，属普通通知")
    assert vaulted.state(call_id) == "lifting"
    vaulted.acts.restored(call_id)
    assert vaulted.state(call_id) == "lifted"
    assert content_of(vaulted.room.entry_of(call_id)) == written
    dossier = vaulted.room.review.dossier(leader, call_id)
    assert dossier.transcript is not None
    assert [segment.text for segment in dossier.transcript.segments] == [WORDS, "请不要在电话里说"]
    assert dossier.draft is not None
    assert dossier.draft.gist == GIST
    assert vaulted.secrecy.suspect(call_id, SecrecySource.TRANSCRIPT) is False, "the software does not flag it again"
    view = vaulted.secrecy.view(leader, call_id)
    assert view is not None
    assert (view.active, view.lifted_by, view.lift_reason) == (False, leader.name, "误报，属普通通知")
    vaulted.secrecy.mark(officer, call_id)
    assert "警" not in vaulted.everything()


def test_a_draft_written_after_the_warning_stays_and_what_was_written_before_does_not(vaulted: Vaulted) -> None:
    room, officer = vaulted.room, vaulted.room.person(Role.OFFICER)
    call_id = vaulted.call()
    entry = room.entry_of(call_id)
    version = room.logbook.edit(officer, entry.id, {"event": WORDS}, version=entry.version)
    room.clock.turn(seconds=5)
    assert vaulted.secrecy.suspect(call_id, SecrecySource.CAPTIONS) is True
    assert content_of(room.entry_of(call_id)).event == ""
    room.clock.turn(seconds=5)
    room.logbook.edit(officer, entry.id, {"event": "已转保密渠道办理"}, version=version + 1)
    vaulted.acts.begin(call_id)
    assert content_of(room.entry_of(call_id)).event == "已转保密渠道办理"
    assert WORDS not in vaulted.everything()


def test_without_a_key_words_are_withheld_alarmed_and_sealed_when_there_is_one(room: Room, tmp_path: Path) -> None:
    vaulted = Vaulted(room, tmp_path, key=False)
    plain, suspect = vaulted.call(), vaulted.call()
    leader = room.person(Role.LEADER)
    vaulted.recordings.claim()
    vaulted.recordings.claim()
    vaulted.recordings.complete(plain, transcript(), draft())
    vaulted.recordings.complete(suspect, transcript("机要件三页"), draft(), suspected=True)
    assert "机要件" not in vaulted.everything()
    with vaulted.store.reading() as session:
        assert session.get_one(RecordingRow, suspect).state == "waiting"
    vaulted.secrecy.mark(leader, plain)
    assert room.review.dossier(leader, plain).transcripts == [], "withheld, though it stands there still"
    entry = room.logbook.entry(leader, room.entry_of(plain).id)
    assert (entry.event, room.entry_of(plain).event) == ("", WORDS)
    finished = room.logbook.edit(leader, entry.id, {**FULL, "event": "已转机要渠道"}, version=entry.version)
    with pytest.raises(Refused, match="secrecy_unsealed"):
        room.logbook.finalize(leader, entry.id, version=finished)
    [alarm] = vaulted.alarms("secrecy_no_key")
    assert alarm.data == {"problem": "vault_key_file_unreadable"}
    room.clock.turn(minutes=10)
    assert vaulted.recordings.claim() is None, "what could not be kept is not heard again yet"
    with pytest.raises(NoMasterKey):
        vaulted.acts.begin(suspect)
    vaulted.make_key()
    for call_id in (plain, suspect):
        vaulted.acts.begin(call_id)
        vaulted.acts.book(call_id, [])
        vaulted.acts.wiped(call_id)
    assert vaulted.alarms("secrecy_no_key") == []
    vaulted.transcribe(suspect, suspected=True)
    assert "警" not in vaulted.everything()
    vaulted.secrecy.open(leader, suspect, reason="核实来电内容")
    opened = vaulted.secrecy.read(leader, suspect)
    assert opened is not None
    assert opened.transcripts[-1].segments[0].text == WORDS


def test_an_entry_that_was_numbered_before_the_flag_is_withheld_from_list_and_search(vaulted: Vaulted) -> None:
    room, officer, leader = vaulted.room, vaulted.room.person(Role.OFFICER), vaulted.room.person(Role.LEADER)
    entry = room.recorded_entry(officer, vaulted.root)
    assert entry.call_id is not None
    found = EntryFilter(words="居民楼")
    assert room.logbook.count(officer, found) == 1
    vaulted.secrecy.mark(officer, entry.call_id)
    assert (room.logbook.count(officer, found), room.logbook.register(officer, found)) == (0, [])
    [listed] = room.logbook.register(officer, EntryFilter())
    assert (listed.event, listed.number_text, room.logbook.withheld(listed)) == ("", entry.number_text, True)
    assert room.logbook.entry(leader, entry.id).event == ""
    vaulted.secrecy.open(leader, entry.call_id, reason="核实来电内容")
    assert room.logbook.entry(leader, entry.id).event.startswith("居民楼")
    with vaulted.store.reading() as session:
        assert session.get_one(EntryRow, entry.id).event.startswith("居民楼"), "the chain's own text is not touched"


def test_a_key_is_wrapped_anew_and_the_old_master_key_may_go(vaulted: Vaulted) -> None:
    call_id, path = vaulted.call(), vaulted.keys.path
    vaulted.transcribe(call_id, suspected=True)
    assert path is not None
    old = vaulted.keys.ring()
    replace_ring(path, old.rotated())
    current = vaulted.keys.ring().current.key_id
    assert vaulted.acts.wrapped_before(current) == [call_id]
    assert vaulted.acts.rewrap(call_id).key_id == current
    assert vaulted.acts.wrapped_before(current) == []
    replace_ring(path, vaulted.keys.ring().only_current())
    leader = vaulted.room.person(Role.LEADER)
    vaulted.secrecy.open(leader, call_id, reason="核实来电内容")
    opened = vaulted.secrecy.read(leader, call_id)
    assert opened is not None
    assert opened.transcripts[0].segments[0].text == WORDS
    replace_ring(path, old)
    with pytest.raises(NoMasterKey, match="vault_key_unknown"):
        vaulted.secrecy.read(leader, call_id)


def test_a_call_that_lives_or_is_being_heard_waits(vaulted: Vaulted) -> None:
    room = vaulted.room
    living = room.arrive()
    vaulted.secrecy.suspect(living, SecrecySource.CAPTIONS)
    heard = vaulted.call()
    vaulted.recordings.claim()
    vaulted.secrecy.suspect(heard, SecrecySource.CAPTIONS)
    assert vaulted.acts.next() is None
    with pytest.raises(Refused, match="transcription_running"):
        vaulted.acts.begin(heard)
    vaulted.recordings.complete(heard, transcript(), draft())
    work = vaulted.acts.next()
    assert work is not None
    assert (work.call_id, work.state, work.place) == (heard, SecrecyState.FLAGGED, heard)
    assert vaulted.acts.next(passed_over=[heard]) is None
    assert vaulted.secrecy.suspect("f" * 32, SecrecySource.CAPTIONS) is False
    assert vaulted.secrecy.among([living, heard, "f" * 32]) == {living, heard}


def test_emptying_the_log_gives_way_to_a_reader_and_holds_up_no_writer(vaulted: Vaulted) -> None:
    store = vaulted.store
    vaulted.room.arrive()
    if not store.is_sqlite:
        assert store.scrub()
        return
    with store.engine.connect() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT count(*) FROM calls").one()
        vaulted.room.arrive()
        began = time.monotonic()
        assert store.scrub() is False
        assert time.monotonic() - began < 3
        reader.exec_driver_sql("COMMIT")
    assert store.scrub() is True
    assert store.engine.url.database is not None
    assert Path(f"{store.engine.url.database}-wal").stat().st_size == 0


@given(st.lists(st.sampled_from(SecrecyStep), max_size=12))
def test_only_restoring_leads_out_of_secrecy(steps: list[SecrecyStep]) -> None:
    state = SecrecyState.FLAGGED
    for step in steps:
        try:
            after = next_state(state, step)
        except BrokenState:
            continue
        assert state not in ACTIVE or after in ACTIVE or step is SecrecyStep.RESTORED
        state = after
