"""词库 and the suggestions on the call page: what is shown, who may, what is kept, what goes into the draft."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.errors import Refused
from duty.domain.vocabulary import Decision, Suggestion, WordClass
from duty.services.suggestions import SuggestionView
from duty.services.words import NewWord
from tests.web.conftest import SignIn
from tests.web.room import Room, draft, transcript, whole_call
from web import wordlist
from web.transcript import runs
from web.words import Piece

CALL = "a" * 32
HEADS = {name: name for name in wordlist.COLUMNS}
CLASSES = {"road": "道路", "area": "乡镇街道"}


def misheard_call(room: Room) -> int:
    """A call whose second transcript has two misheard names; returns its entry's id."""
    entry_id = whole_call(room, CALL)
    heard = transcript()
    second = replace(heard.segments[1], text="您好，我是北郊香党政办值班员张建国。", words=())
    third = replace(heard.segments[2], text="孙里唐村一处仓库发生火灾。", words=())
    changed = replace(heard, model="better", segments=(heard.segments[0], second, third, *heard.segments[3:]))
    marks = (
        Suggestion(segment=1, start_char=5, end_char=8, word="北郊乡", word_class=WordClass.AREA, distance=0.01),
        Suggestion(segment=2, start_char=0, end_char=4, word="孙李唐村", word_class=WordClass.VILLAGE, distance=0.01),
    )
    room.services.versions.ask(room.actor("officer1"), CALL, model="")
    room.services.recordings.claim()
    room.services.recordings.complete(CALL, changed, draft(), suggestions=marks)
    row = room.services.calls.dossier(room.actor("officer1"), CALL).transcripts[-1]
    room.services.versions.choose(room.actor("officer1"), CALL, row.id)
    return entry_id


def marks(page: str) -> list[str]:
    return re.findall(r"/suggestions/(\d+)/accepted", page)


@pytest.mark.rule("6.2-b")
def test_a_suggestion_stands_beside_what_was_heard_and_is_decided(room: Room, officer: TestClient) -> None:
    entry_id = misheard_call(room)
    actor = room.actor("officer1")
    version = room.services.logbook.entry(actor, entry_id).version
    room.services.logbook.edit(actor, entry_id, {"remarks": "北郊香报告"}, version=version)
    page = officer.get(f"/calls/{CALL}").text
    assert "2 处疑似听错" in page
    first, second = marks(page)
    assert re.search(r'suggest-open.*?北郊香.*?疑为“北郊乡”.*?data-key="y"', page, re.S)

    done = officer.post(f"/suggestions/{first}/accepted")
    assert "1 处疑似听错" in done.text
    assert re.search(r'suggest-accepted.*?李晓明.*?北郊香.*?suggest-word">北郊乡<', done.text, re.S)
    assert done.headers["HX-Trigger"] == "duty-words-carried"
    assert room.services.logbook.entry(actor, entry_id).remarks == "北郊乡报告"

    done = officer.post(f"/suggestions/{second}/declined")
    assert "处疑似听错" not in done.text
    assert "HX-Trigger" not in done.headers
    assert re.search(r"suggest-declined.*?孙里唐村", done.text, re.S)
    assert "1 处疑似听错" in officer.post(f"/suggestions/{second}/open").text
    row = room.services.calls.dossier(actor, CALL).transcripts[-1]
    assert row.segments[1].text.startswith("您好，我是北郊香"), "the transcript stays"
    states = [each.state for each in room.services.suggestions.of_transcript(actor, row.id)]
    assert states == [Decision.ACCEPTED, Decision.OPEN]


def test_who_may_not_decide_sees_the_suggestion_without_acts(room: Room, sign_in: SignIn) -> None:
    misheard_call(room)
    reader, stranger = sign_in("supervisor1"), sign_in("beijiao")
    page = reader.get(f"/calls/{CALL}").text
    assert "疑为“北郊乡”" in page
    assert marks(page) == []
    assert 'id="add-selected"' not in page
    suggestion = room.services.suggestions.of_transcript(
        room.actor("officer1"), room.services.calls.dossier(room.actor("officer1"), CALL).transcripts[-1].id
    )[0]
    assert reader.post(f"/suggestions/{suggestion.suggestion_id}/accepted").status_code == 403
    assert stranger.post(f"/suggestions/{suggestion.suggestion_id}/accepted").status_code == 404
    for path in (f"/suggestions/{suggestion.suggestion_id}/perhaps", "/suggestions/99/accepted"):
        assert sign_in("officer1").post(path).status_code == 404


@pytest.mark.rule("10-a")
def test_a_word_is_added_corrected_and_withdrawn_on_the_screen(room: Room, officer: TestClient) -> None:
    assert "没有符合条件的词语" in officer.get("/vocabulary").text
    likely = officer.get("/vocabulary/pinyin", params={"word": "长行街"}).text
    assert 'name="pinyin" value="zhang3' in likely or 'name="pinyin" value="chang2' in likely
    assert re.search(r'data-reading="hang2" data-at="1"', likely)
    assert "应为 2 至 20 个汉字" in officer.get("/vocabulary/pinyin", params={"word": "长X"}).text
    assert "alert" not in officer.get("/vocabulary/pinyin", params={"word": ""}).text
    sent = {"word": "长行街", "class": "road", "pinyin": "chang2 hang2 jie1", "within": "龙亭区"}
    assert officer.post("/vocabulary", data=sent).headers["HX-Redirect"] == "/vocabulary"
    refused = officer.post("/vocabulary", data=sent, headers={"HX-Request": "true"})
    assert refused.status_code == 422
    assert "已经有了" in refused.text
    assert "您没有“维护词库”的权限" in officer.post("/vocabulary", data={**sent, "shared": "on"}).text
    page = officer.get("/vocabulary").text
    assert "cháng háng jiē" in page
    (word_id,) = re.findall(r"/vocabulary/(\d+)/edit", page)
    form = officer.get(f"/vocabulary/{word_id}/edit").text
    assert 'value="chang2 hang2 jie1"' in form
    officer.post(f"/vocabulary/{word_id}", data={**sent, "within": "开封市"})
    assert "开封市" in officer.get("/vocabulary").text
    officer.post(f"/vocabulary/{word_id}/withdraw")
    assert "长行街" not in officer.get("/vocabulary").text
    assert "长行街" in officer.get("/vocabulary?source=withdrawn").text
    officer.post(f"/vocabulary/{word_id}/restore")
    assert "长行街" in officer.get("/vocabulary?words=长行").text
    assert "长行街" not in officer.get("/vocabulary?class=area").text
    stay = officer.post("/vocabulary", data={"word": "前进巷", "class": "road", "stay": "on"})
    assert "“前进巷”已加入词库，下一次通话起生效。" in stay.text


def test_the_shipped_words_are_shown_by_class_and_page(officer: TestClient) -> None:
    page = officer.get("/vocabulary?source=shipped").text
    assert "北郊乡" in officer.get("/vocabulary?source=shipped&class=area&words=北郊").text
    assert re.search(r"乡镇街道 \d+", page)
    assert "/edit" not in page
    assert "page=2" in page
    assert officer.get("/vocabulary?source=nothing&class=nothing&page=zero").status_code == 200


@pytest.mark.rule("3-a")
def test_rights_of_the_vocabulary(room: Room, sign_in: SignIn) -> None:
    reader = sign_in("supervisor1")
    assert 'id="new-word"' not in reader.get("/vocabulary").text
    assert reader.post("/vocabulary", data={"word": "前进巷", "class": "road"}).status_code == 403
    assert sign_in("auditor1").get("/vocabulary").status_code == 403
    hub = sign_in("hub1")
    assert 'name="shared"' in hub.get("/vocabulary").text
    hub.post("/vocabulary", data={"word": "前进巷", "class": "road", "shared": "on"})
    town = sign_in("beijiao")
    page = town.get("/vocabulary").text
    assert "前进巷" in page
    assert "/edit" not in page


@pytest.mark.rule("10-a")
def test_a_list_goes_out_and_comes_back(room: Room, officer: TestClient) -> None:
    actor = room.actor("officer1")
    room.services.words.add(actor, NewWord(word="前进巷", word_class="road", within="龙亭区"))
    out = officer.get("/vocabulary/export.csv")
    assert out.content.startswith(b"\xef\xbb\xbf")
    text = out.content.decode("utf-8-sig")
    assert text.splitlines()[0] == "词语,类别,拼音,所在地,范围"
    text = text.replace("龙亭区,", "开封市,") + "后退巷,道路,,,\r\n坏X,道路,,,\r\n好词语,没有的类,,,\r\n"
    for encoding, counts in (
        ("gb18030", "新增 1 个，更新 1 个，未变 0 个"),
        ("utf-8", "新增 0 个，更新 0 个，未变 2 个"),
    ):
        done = officer.post("/vocabulary/import", files={"file": ("own.csv", text.encode(encoding))})
        assert counts in done.text
        assert "第 4 行：词语应为 2 至 20 个汉字" in done.text
        assert "第 5 行：没有这个类别" in done.text
    for raw in (b"", b"\xff\xff\xff", "甲,乙\n".encode(), b'"'):
        answer = officer.post("/vocabulary/import", files={"file": ("own.csv", raw)}, headers={"HX-Request": "true"})
        assert answer.status_code == 422, raw
        assert "可先导出一份作样式" in answer.text


@given(st.binary(max_size=80))
def test_any_bytes_are_a_list_or_refused(raw: bytes) -> None:
    try:
        found = wordlist.read(raw, HEADS, CLASSES, "全区")
    except Refused:
        return
    assert all(each.word == each.word.strip() for each in found)


def view(start: int, end: int) -> SuggestionView:
    return SuggestionView(
        suggestion_id=1,
        segment=0,
        start_char=start,
        end_char=end,
        heard="",
        word="",
        word_class=WordClass.AREA,
        state=Decision.OPEN,
        decided_by="",
        decided_at=None,
    )


@given(
    st.lists(st.text("甲乙，", min_size=1, max_size=4), max_size=6),
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), max_size=4),
)
def test_marks_never_change_the_text(texts: list[str], places: list[tuple[int, int]]) -> None:
    pieces = [Piece(text=text, start_s=float(at), end_s=at + 1.0) for at, text in enumerate(texts)]
    found = runs(pieces, [view(start, start + size) for start, size in places])
    assert "".join(piece.text for run in found for piece in run.pieces) == "".join(texts)
    assert all(run.pieces for run in found)
