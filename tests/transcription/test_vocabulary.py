"""What an officer adds serves the next call without a restart: in the engine's hint, the proposals, the fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from duty.domain.rights import Role
from duty.domain.vocabulary import Decision, WordClass, district_word
from duty.services.suggestions import Suggestions
from duty.services.words import NewWord, Words
from duty.store.tables import DraftRow, SuggestionRow, TranscriptRow
from tests.transcription.test_worker import SlowEngine, Works, open_works  # noqa: F401 - the fixture
from transcription.bias import HINT_CHARACTERS, hints
from transcription.engine import Capabilities, Heard, Piece, Samples, unheard
from transcription.lexicon import load_lexicon

LEXICON = load_lexicon()


class Listener(SlowEngine):
    """Always hears the same, and remembers what it was told to expect."""

    capabilities = Capabilities(
        streaming=False, sample_rates=(8000,), languages=("zh",), word_times=False, phrase_bias=True
    )

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, ...]] = []

    def transcribe(
        self, samples: Samples, sample_rate_hz: int, *, phrases: Sequence[str] = (), heard: Heard = unheard
    ) -> list[Piece]:
        self.told.append(tuple(phrases))
        return [Piece(start_s=0.0, end_s=1.0, text="在常杭街与贾家胡同口发生追尾", confidence=0.9)]


def read(works: Works, call_id: str) -> tuple[list[tuple[str, str]], str, str]:
    """Suggestions (heard, word), the proposed place, and the hint kept with the transcript, of a call."""
    with works.room.store.reading() as session:
        row = session.scalars(
            select(TranscriptRow).where(TranscriptRow.call_id == call_id).order_by(TranscriptRow.id.desc())
        ).first()
        assert row is not None
        found = session.scalars(select(SuggestionRow).where(SuggestionRow.transcript_id == row.id)).all()
        text = row.segments[0].text
        draft = session.scalars(select(DraftRow).where(DraftRow.transcript_id == row.id)).one()
        places = [field for field in draft.fields if field["name"] == "place"]
        best = max(places, key=lambda field: float(field["confidence"]), default={"normalised": ""})
        proposed = sorted({(text[each.start_char : each.end_char], each.word) for each in found})
        return proposed, best["normalised"], row.settings["hints"]


@pytest.mark.rule("6.1-d", "10-a")
def test_a_word_added_while_the_worker_runs_serves_the_next_call(
    open_works: Callable[[int], Works],  # noqa: F811
) -> None:
    works = open_works(1)
    works.engine = Listener()
    officer, town = works.room.person(), works.room.person(Role.OFFICER, unit="BS")
    words, suggestions = Words(works.room.store, works.room.clock), Suggestions(works.room.store, works.room.clock)
    works.thread.start()

    def heard() -> tuple[list[tuple[str, str]], str, str]:
        call_id = works.recording()
        works.wait(lambda: works.row(call_id).state == "done", "not transcribed")
        return read(works, call_id)

    found, place, hint = heard()
    assert (found, "长行街" in place, "长行街" in hint) == ([], False, False)

    words.add(town, NewWord(word="常杭街", word_class="road"))
    assert heard()[0] == [], "another unit's word"

    word_id = words.add(officer, NewWord(word="长行街", word_class="road", pinyin="chang2 hang2 jie1", within="龙亭区"))
    words.add(officer, NewWord(word="贾家胡同", word_class="road"))
    found, place, hint = heard()
    assert found == [("常杭街", "长行街")]
    assert hint.split()[:2] == ["贾家胡同", "长行街"], "newest first"
    assert works.engine.told[-1][:2] == ("贾家胡同", "长行街")
    assert place.startswith("龙亭区长行街"), "found by its sound, named as it is written"

    with works.room.store.reading() as session:
        suggestion_id = session.scalars(select(SuggestionRow.id)).all()[0]
    suggestions.decide(officer, suggestion_id, Decision.ACCEPTED)
    assert heard()[2].split()[0] == "长行街", "what was corrected comes first"

    words.withdraw(officer, word_id)
    assert heard()[0] == []


@given(
    corrected=st.lists(st.sampled_from([word.word for word in LEXICON.words]), max_size=12),
    own=st.lists(st.text("甲乙丙丁街村", min_size=2, max_size=20), max_size=20, unique=True),
    caller=st.text("区政府办公室", max_size=30),
)
def test_a_hint_is_short_and_starts_with_the_likeliest(corrected: list[str], own: list[str], caller: str) -> None:
    lexicon = LEXICON.with_words([district_word(word, WordClass.ROAD, own=True) for word in own])
    told = hints(lexicon, corrected=corrected, caller=caller)
    assert sum(len(name) + 1 for name in told) <= HINT_CHARACTERS
    assert len(set(told)) == len(told)
    wanted = list(dict.fromkeys((*corrected, *own)))
    assert told[:1] == tuple(wanted[:1]) or not wanted
    assert [name for name in told if name in wanted] == [name for name in wanted if name in told]


def test_an_own_reading_replaces_that_of_a_shipped_word() -> None:
    own = district_word("三里堡街道", WordClass.AREA, "san1 li3 pu4 jie1 dao4", own=True)
    found = [word for word in LEXICON.with_words([own]).words if word.word == "三里堡街道"]
    assert found == [own]
    assert LEXICON.with_words([own]).areas == LEXICON.areas
