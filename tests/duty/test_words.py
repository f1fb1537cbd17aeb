"""词库: officers' words are checked, scoped to units, edited and withdrawn, never deleted; decisions leave traces."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from duty.domain.errors import Forbidden, NotFound, Refused
from duty.domain.rights import Actor, Role
from duty.domain.transcripts import Segment, Speaker, Transcript
from duty.domain.vocabulary import Decision, Suggestion, WordClass
from duty.services.sealedtexts import seal_texts
from duty.services.suggestions import Suggestions, keep_suggestions
from duty.services.words import MAX_IMPORT, NewWord, WordFilter, Words
from duty.store.tables import AuditRow, CallRow, DistrictWordRow, EventRow, SegmentRow, TranscriptRow
from tests.duty.room import TOWN_LINE, Room


@pytest.fixture
def words(room: Room) -> Words:
    return Words(room.store, room.clock, shipped=lambda: ())


def listed(words: Words, actor: Actor, source: str = "own", text: str = "") -> list[str]:
    return [view.word for view in words.listing(actor, WordFilter(source=source, words=text))]


def audit(room: Room) -> list[tuple[str, dict[str, object]]]:
    with room.store.reading() as session:
        query = select(AuditRow).where(AuditRow.subject.startswith("word:") | AuditRow.subject.startswith("sugg"))
        return [(row.action, row.data) for row in session.scalars(query.order_by(AuditRow.id))]


@pytest.mark.rule("10-a")
def test_a_word_is_added_edited_withdrawn_and_never_gone(room: Room, words: Words) -> None:
    officer = room.person()
    word_id = words.add(officer, NewWord(word="长行街", word_class="road", within="龙亭区"))
    (view,) = words.listing(officer, WordFilter())
    assert (view.pinyin.split()[-1], view.unit, view.by, view.at) == (
        "jie1",
        "龙亭区人民政府办公室",
        officer.name,
        room.clock(),
    )
    room.clock.turn(minutes=1)
    words.edit(officer, word_id, NewWord(word="长行街", word_class="road", pinyin="cháng háng jiē"))
    (view,) = words.listing(officer, WordFilter())
    assert (view.pinyin, view.spoken, view.at) == ("chang2 hang2 jie1", "cháng háng jiē", room.clock())
    words.withdraw(officer, word_id)
    words.withdraw(officer, word_id)
    assert (listed(words, officer), listed(words, officer, "withdrawn")) == ([], ["长行街"])
    assert words.of_unit(officer.unit_id) == ()
    words.withdraw(officer, word_id, again=True)
    assert [word.pinyin[1] for word in words.of_unit(officer.unit_id)] == ["hang2"]
    acts = audit(room)
    assert [action for action, _ in acts] == ["add_word", "edit_word", "withdraw_word", "restore_word"]
    assert acts[1][1]["was_within"] == "龙亭区"
    assert acts[1][1]["scope"] == f"unit:{officer.unit_id}"
    with room.store.reading() as session:
        assert session.scalars(select(DistrictWordRow.revision)).all() == [4]
        assert len(session.scalars(select(EventRow).where(EventRow.kind == "words.changed")).all()) == 4


@pytest.mark.rule("3-a", "10-a")
def test_a_unit_has_its_own_words_and_only_the_hub_gives_shared_ones(room: Room, words: Words) -> None:
    town, hub = room.person(unit="BS"), room.person(Role.HUB)
    own = words.add(town, NewWord(word="前进巷", word_class="road"))
    shared = words.add(hub, NewWord(word="后营街", word_class="road", shared=True))
    words.add(hub, NewWord(word="中营街", word_class="road"))
    assert set(listed(words, town)) == {"前进巷", "后营街"}
    assert set(listed(words, hub)) == {"前进巷", "后营街", "中营街"}
    assert [word.word for word in words.of_unit(town.unit_id)] == ["前进巷", "后营街"]
    for refused in (
        lambda: words.add(town, NewWord(word="新营街", word_class="road", shared=True)),
        lambda: words.edit(town, own, NewWord(word="前进巷", word_class="road", shared=True)),
        lambda: words.edit(town, shared, NewWord(word="后营街", word_class="road", shared=True)),
        lambda: words.withdraw(town, shared),
        lambda: words.add(room.person(Role.SUPERVISOR), NewWord(word="新营街", word_class="road")),
        lambda: words.listing(room.person(Role.AUDITOR), WordFilter()),
    ):
        with pytest.raises(Forbidden):
            refused()
    with pytest.raises(NotFound):
        words.withdraw(room.person(unit="LT"), own)
    with pytest.raises(NotFound):
        words.withdraw(hub, 999)
    words.withdraw(hub, own)
    assert listed(words, town) == ["后营街"]
    assert {view.word: view.may_edit for view in words.listing(town, WordFilter())} == {"后营街": False}


@pytest.mark.parametrize(
    ("new", "code"),
    [
        (NewWord(word="=1+1", word_class="road"), "word_malformed"),
        (NewWord(word="前进巷", word_class="street"), "word_class_unknown"),
        (NewWord(word="前进巷", word_class="road", pinyin="qian jin"), "pinyin_length"),
        (NewWord(word="前进巷", word_class="road", pinyin="qian jin xxx"), "pinyin_malformed"),
        (NewWord(word="前进巷", word_class="road", within="区" * 41), "word_within_long"),
        (NewWord(word="前进巷", word_class="road", within="\x00"), "text_unreadable"),
        (NewWord(word="旧有街", word_class="road"), "word_known"),
    ],
)
def test_what_is_refused(room: Room, words: Words, new: NewWord, code: str) -> None:
    officer = room.person()
    words.add(officer, NewWord(word="旧有街", word_class="road"))
    with pytest.raises(Refused) as refused:
        words.add(officer, new)
    assert refused.value.code == code


@pytest.mark.rule("10-a")
def test_a_list_is_imported_line_by_line(room: Room, words: Words) -> None:
    officer = room.person()
    words.add(officer, NewWord(word="旧有街", word_class="road"))
    gone = words.add(officer, NewWord(word="停用街", word_class="road"))
    words.withdraw(officer, gone)
    rows = [
        NewWord(word="旧有街", word_class="road"),
        NewWord(word="旧有街", word_class="road", within="龙亭区"),
        NewWord(word="停用街", word_class="road"),
        NewWord(word="新街口", word_class="road"),
        NewWord(word="A", word_class="road"),
        NewWord(word="共用街", word_class="road", shared=True),
    ]
    done = words.take_in(officer, rows)
    assert (done.added, done.changed, done.known) == (1, 2, 1)
    assert [(line, error.code) for line, error in done.faults] == [(5, "word_malformed"), (6, "word_shared_forbidden")]
    assert set(listed(words, officer)) == {"旧有街", "停用街", "新街口"}
    again = words.take_in(officer, rows[1:4])
    assert (again.added, again.changed, again.known) == (0, 0, 3)
    with pytest.raises(Refused, match="import_too_long"):
        words.take_in(officer, rows * MAX_IMPORT)
    with pytest.raises(Forbidden):
        words.take_in(room.person(Role.SUPERVISOR), rows)


def test_every_change_is_another_version(room: Room, words: Words) -> None:
    officer, seen = room.person(), [words.version()]
    word_id = words.add(officer, NewWord(word="前进巷", word_class="road"))
    seen.append(words.version())
    words.edit(officer, word_id, NewWord(word="前进巷", word_class="road", pinyin="qian2 jin4 xiang4"))
    seen.append(words.version())
    words.withdraw(officer, word_id)
    seen.append(words.version())
    words.take_in(officer, [NewWord(word="后退巷", word_class="road")])
    seen.append(words.version())
    assert len(set(seen)) == len(seen)


def test_the_shipped_words_can_be_found(room: Room) -> None:
    words = Words(room.store, room.clock)
    found = words.listing(room.person(), WordFilter(source="shipped", words="北郊", word_class=WordClass.AREA))
    assert [(view.word, view.spoken, view.may_edit, view.word_id) for view in found] == [
        ("北郊乡", "běi jiāo xiāng", False, 0)
    ]


def suggested(room: Room, *, line: str = "", text: str = "我是北郊香的") -> tuple[str, int]:
    """A call with one transcript, which has one suggestion; its id and the transcript's."""
    call_id = room.answered_call(line=line) if line else room.answered_call()
    heard = Transcript(
        engine="test",
        model="m",
        model_sha256="",
        settings={},
        audio_seconds=1,
        decode_seconds=1,
        segments=(Segment(speaker=Speaker.CALLER, start_s=0, end_s=1, text=text, confidence=0.8),),
    )
    with room.store.writing() as session:
        row = TranscriptRow(
            call_id=call_id,
            created_at=room.clock(),
            engine=heard.engine,
            model=heard.model,
            model_sha256="",
            settings={},
            audio_seconds=1,
            decode_seconds=1,
            segments=[SegmentRow(ordinal=0, speaker="caller", start_s=0, end_s=1, text=text, confidence=0.8, words=[])],
        )
        session.add(row)
        session.flush()
        place = Suggestion(segment=0, start_char=2, end_char=5, word="北郊乡", word_class=WordClass.AREA, distance=0.01)
        keep_suggestions(session, row.id, [place])
        return call_id, row.id


@pytest.mark.rule("6.2-b", "7.4-a")
def test_a_suggestion_is_decided_redecided_and_the_transcript_stays(room: Room, words: Words) -> None:
    suggestions, officer = Suggestions(room.store, room.clock), room.person()
    call_id, transcript_id = suggested(room)
    (view,) = suggestions.of_transcript(officer, transcript_id)
    assert (view.heard, view.word, view.state, view.decided_by) == ("北郊香", "北郊乡", Decision.OPEN, "")
    assert words.often_corrected(officer.unit_id) == ()
    done = suggestions.decide(officer, view.suggestion_id, Decision.ACCEPTED)
    assert (done.call_id, done.heard, done.word) == (call_id, "北郊香", "北郊乡")
    suggestions.decide(officer, view.suggestion_id, Decision.ACCEPTED)
    assert words.often_corrected(officer.unit_id) == ("北郊乡",)
    (view,) = suggestions.of_transcript(officer, transcript_id)
    assert (view.state, view.decided_by, view.decided_at) == (Decision.ACCEPTED, officer.name, room.clock())
    suggestions.decide(officer, view.suggestion_id, Decision.DECLINED)
    assert words.often_corrected(officer.unit_id) == ()
    assert [(action, data["was"], data["decision"]) for action, data in audit(room)] == [
        ("decide_suggestion", "open", "accepted"),
        ("decide_suggestion", "accepted", "declined"),
    ]
    with room.store.reading() as session:
        assert session.scalars(select(SegmentRow.text)).all() == ["我是北郊香的"]


@pytest.mark.rule("3-a")
def test_only_who_may_write_the_draft_decides(room: Room) -> None:
    suggestions = Suggestions(room.store, room.clock)
    _, transcript_id = suggested(room, line=TOWN_LINE)
    (view,) = suggestions.of_transcript(room.person(Role.SUPERVISOR), transcript_id)
    with pytest.raises(Forbidden):
        suggestions.decide(room.person(Role.SUPERVISOR), view.suggestion_id, Decision.ACCEPTED)
    stranger = room.person(unit="LT")
    assert suggestions.of_transcript(stranger, transcript_id) == []
    for number in (view.suggestion_id, 999):
        with pytest.raises(NotFound):
            suggestions.decide(stranger, number, Decision.ACCEPTED)


@pytest.mark.rule("6.5-a")
def test_a_call_under_secrecy_keeps_no_suggestion(room: Room) -> None:
    suggestions, officer = Suggestions(room.store, room.clock), room.person()
    call_id, transcript_id = suggested(room)
    (view,) = suggestions.of_transcript(officer, transcript_id)
    with room.store.writing() as session:
        seal_texts(session, session.get_one(CallRow, call_id), bytes(32), warned_at=room.clock())
    assert suggestions.of_transcript(officer, transcript_id) == []
    with pytest.raises(NotFound):
        suggestions.decide(officer, view.suggestion_id, Decision.ACCEPTED)
