"""What the words say: time, place, event, people; each value with the words behind it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.drafts import Draft, FieldName, Source
from duty.domain.transcripts import Segment, Speaker, Transcript, Word
from tests.transcription.telephone import rows
from transcription.draft import CallFacts, draft
from transcription.fields.events import said_events
from transcription.fields.figures import said_figures
from transcription.fields.orders import ordered
from transcription.fields.people import introduction
from transcription.fields.places import said_places
from transcription.fields.reading import turns
from transcription.fields.times import CHINA, said_times
from transcription.lexicon import Lexicon, load_lexicon

CALLED_AT = datetime(2026, 3, 5, 15, 40, tzinfo=CHINA)
LEXICON = load_lexicon()


def transcript(lines: list[tuple[Speaker, str]], *, words: bool = False) -> Transcript:
    """``lines`` as segments, five characters a second and half a second apart."""
    segments, at = [], 0.0
    for speaker, text in lines:
        end = at + len(text) / 5
        single = tuple(
            Word(text=char, start_s=at + i / 5, end_s=at + (i + 1) / 5, confidence=0.9) for i, char in enumerate(text)
        )
        segments.append(
            Segment(speaker=speaker, start_s=at, end_s=end, text=text, confidence=0.9, words=single if words else ())
        )
        at = end + 0.5
    return Transcript(
        engine="test",
        model="written",
        model_sha256="",
        settings={},
        audio_seconds=at,
        decode_seconds=0.0,
        segments=tuple(segments),
    )


def drafted(*said: str, facts: CallFacts | None = None, words: bool = False) -> Draft:
    lines = [(Speaker.CALLER, text) for text in said]
    return draft(transcript(lines, words=words), facts or CallFacts(started_at=CALLED_AT), LEXICON)


def value(found: Draft, name: FieldName) -> str:
    field = found.field(name)
    return "" if field is None else field.normalised


@pytest.fixture(scope="module")
def demo(speech: Path) -> list[tuple[Speaker, str]]:
    return [(Speaker(name.split("_")[1]), text) for name, text in rows(speech / "demo" / "texts.tsv")]


@pytest.mark.rule("6.1-d", "6.2-b")
@pytest.mark.parametrize("words", [False, True])
def test_the_demo_conversation_fills_the_entry(demo: list[tuple[Speaker, str]], lexicon: Lexicon, words: bool) -> None:
    heard = transcript(demo, words=words)
    found = draft(heard, CallFacts(started_at=CALLED_AT, caller_number="037122334455"), lexicon)
    assert value(found, FieldName.EVENT_TIME) == "2026-03-05T15:20:00+08:00"
    assert value(found, FieldName.PLACE) == "龙亭区北郊乡孙李唐村"
    assert value(found, FieldName.EVENT) == "火灾"
    assert value(found, FieldName.CATEGORY) == "incident"
    assert value(found, FieldName.CALLER_UNIT) == "北郊乡党政办"
    assert value(found, FieldName.CALLER_TITLE) == "值班员"
    assert value(found, FieldName.CALLER_NAME) == "张建国"
    assert value(found, FieldName.CALLER_PHONE) == "13703786621"
    assert value(found, FieldName.CASUALTIES) == "死亡=0;受伤=2"
    assert "明火已经扑灭" in value(found, FieldName.MEASURES)
    place = found.field(FieldName.PLACE)
    assert place is not None
    span = place.spans[0]
    assert heard.segments[span.segment].text[span.start_char : span.end_char] == place.value == "孙李唐村"
    start = heard.segments[2].start_s
    assert (span.start_s, span.end_s) == (pytest.approx(start + 12 / 5), pytest.approx(start + 16 / 5))
    for part in (
        "3月5日15时40分",
        "北郊乡党政办值班员张建国来电",
        "孙李唐村一处仓库发生火灾",
        "2人受伤",
        "13703786621",
    ):
        assert found.gist.count(part) == 1


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("今天下午三点二十分左右", "2026-03-05T15:20"),
        ("今天下午3.20分", "2026-03-05T15:20"),
        ("昨晚十一点半", "2026-03-04T23:30"),
        ("昨天夜里十二点", "2026-03-05T00:00"),
        ("今天凌晨两点", "2026-03-05T02:00"),
        ("凌晨十二点一刻", "2026-03-05T00:15"),
        ("中午十二点四十", "2026-03-05T12:40"),
        ("三月四号上午九点十五分", "2026-03-04T09:15"),
        ("12月30日20时05分", "2025-12-30T20:05"),
        ("15时20分", "2026-03-05T15:20"),
        ("三点二十分", "2026-03-05T15:20"),
        ("四点二十分", "2026-03-05T04:20"),
        ("下午四点", "2026-03-04T16:00"),
        ("半小时前", "2026-03-05T15:10"),
        ("大约十分钟以前", "2026-03-05T15:30"),
        ("两个半小时前", "2026-03-05T13:10"),
        ("明天上午九点", "2026-03-06T09:00"),
        ("刚刚", "2026-03-05T15:40"),
        ("今天24时", "2026-03-06T00:00"),
    ],
)
def test_times(said: str, moment: str) -> None:
    for at in (CALLED_AT, CALLED_AT.astimezone(UTC)):
        found = said_times(f"，{said}，发生火灾", at)
        assert [time.moment.isoformat(timespec="minutes") for time in found] == [f"{moment}+08:00"]


@pytest.mark.parametrize(
    "said", ["零点八米", "今天二十五点", "二月三十日八点", "3.20", "两点五倍", "三点八七分七十", "过火面积两百平方米"]
)
def test_what_is_no_time(said: str) -> None:
    assert [t for t in said_times(said, CALLED_AT) if t.end - t.start == len(said)] == []


@given(minutes=st.integers(0, 60 * 24 - 1), call=st.integers(0, 60 * 24 * 400))
def test_a_time_of_today_said_in_full_is_that_time(minutes: int, call: int) -> None:
    called = CALLED_AT + timedelta(minutes=call)
    hour, minute = divmod(minutes, 60)
    found = said_times(f"今天{hour}时{minute:02d}分", called)
    assert [t.moment for t in found] == [called.replace(hour=hour, minute=minute)]


@pytest.mark.parametrize(
    ("said", "full"),
    [
        ("孙李唐村一处仓库发生火灾", "龙亭区北郊乡孙李唐村"),
        ("孙立堂村一处仓库发生火灾", "龙亭区北郊乡孙李唐村"),
        ("在水稻乡花生庄村发现管涌", "龙亭区水稻乡花生庄村"),
        ("柳园口乡刘店村有人落水", "龙亭区柳园口乡刘店村"),
        ("柳河乡大沟村发生山体滑坡", "柳河乡大沟村"),
        ("省道二一五线交通中断", "省道二一五线"),
        ("清明上河园门口人群聚集", "龙亭区清明上河园"),
        ("位于东京大道发生追尾", "龙亭区东京大道"),
    ],
)
def test_places(said: str, full: str) -> None:
    assert full in [place.full for place in said_places(said, LEXICON)]


@pytest.mark.parametrize("said", ["已经送到人民医院", "龙亭区政府值班室", "请各乡镇街道办事处", "我们马上赶到现场"])
def test_offices_and_destinations_are_no_scenes(said: str) -> None:
    assert said_places(said, LEXICON) == []


@pytest.mark.parametrize(
    ("said", "unit", "title", "name"),
    [
        ("我是北郊乡党政办值班员张建国，有一个情况", "北郊乡党政办", "值班员", "张建国"),
        ("我是北交相党政办值班员张建国。", "北郊乡党政办", "值班员", "张建国"),
        ("我是青石镇值班员王建国现在报告一起突发事件", "青石镇", "值班员", "王建国"),
        ("这里是市政府总值班室，请讲", "市政府总值班室", "", ""),
        ("我是梁苑街道办事处的李伟", "梁苑街道办事处", "", "李伟"),
        ("我叫欧阳明华", "", "", "欧阳明华"),
        ("我是水稻乡副乡长赵刚", "水稻乡", "副乡长", "赵刚"),
        ("我是区应急管理局王主任", "区应急管理局", "主任", "王"),
    ],
)
def test_introductions(said: str, unit: str, title: str, name: str) -> None:
    found = introduction(f"您好，{said}", LEXICON)
    assert found is not None
    heard = [part.value if part else "" for part in (found.unit, found.title, found.name)]
    assert heard == [unit, title, name]


@pytest.mark.parametrize("said", ["我是说现在雨很大", "这里是不是值班", "你好", "我是想问一下"])
def test_what_is_no_introduction(said: str) -> None:
    assert introduction(said, LEXICON) is None


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (["目前有两人受伤，没有人员死亡"], {"受伤": 2, "死亡": 0}),
        (["有三人被困，一人受伤"], {"被困": 3, "受伤": 1}),
        (["造成12名群众轻伤"], {"受伤": 12}),
        (["死亡一人，失踪两人"], {"死亡": 1, "失踪": 2}),
        (["未造成人员伤亡"], {"死亡": 0, "受伤": 0}),
        (["已经转移一百二十六人"], {"转移": 126}),
        (["被困四个人，不对不对，是三个人"], {"被困": 3}),
        (["有五个人受伤，其中一个重伤"], {"受伤": 5}),
        (["有两位老人被砸伤，其他没有人员伤亡"], {"受伤": 2}),
        (["死亡人数从一人上升到两人"], {"死亡": 2}),
        (["三人受伤", "更正，是四个人受伤"], {"受伤": 4}),
        (["被困四人全部救出"], {"被困": 0}),
        (["木有伤着人"], {"受伤": 0}),
        (["有没有被困的还不清楚"], {}),
        (["烧死了三千多只鸡"], {}),
    ],
)
def test_casualties(said: list[str], counts: dict[str, int]) -> None:
    spoken = turns(transcript([(Speaker.CALLER, text) for text in said]))
    assert {fate: found.count for fate, found in said_figures(spoken).items()} == counts


@pytest.mark.parametrize(
    ("question", "answer", "counts"),
    [
        ("有没有人员伤亡？", "没有", {"死亡": 0, "受伤": 0}),
        ("有没有人员受伤？", "没有没有", {"受伤": 0}),
        ("转移了多少人？", "大概九十个人", {"转移": 90}),
        ("有多少人？", "", {}),
        ("有没有人员伤亡？", "还不知道", {}),
    ],
)
def test_casualties_in_an_answer(question: str, answer: str, counts: dict[str, int]) -> None:
    spoken = turns(transcript([(Speaker.OFFICER, question), (Speaker.CALLER, answer)]))
    assert {fate: found.count for fate, found in said_figures(spoken).items()} == counts


def test_a_later_figure_corrects_an_earlier_one() -> None:
    assert value(drafted("有两人受伤。", "刚核实，有三人受伤。"), FieldName.CASUALTIES) == "受伤=3"


@pytest.mark.parametrize(
    ("said", "event"),
    [
        ("仓库发生活载", "火灾"),
        ("发生山体滑坡", "山体滑坡"),
        ("有人落水", "溺水"),
        ("没有发生火灾", ""),
        ("或在路上", ""),
    ],
)
def test_events(said: str, event: str) -> None:
    found = said_events(said, LEXICON)
    assert [e.event for e in found] == ([event] if event else [])


def test_a_number_said_over_pauses_has_a_span_in_every_segment() -> None:
    field = drafted("我的电话一三七", "零三七八", "六六二一。").field(FieldName.CALLER_PHONE)
    assert field is not None
    assert field.value == "13703786621"
    assert [(s.segment, s.start_char, s.end_char) for s in field.spans] == [(0, 4, 7), (1, 0, 4), (2, 0, 4)]


def test_the_directory_and_the_line_stand_in_where_the_words_are_silent() -> None:
    facts = CallFacts(started_at=CALLED_AT, caller_number="037122334455", contact_unit="水稻乡", contact_name="赵刚")
    silent = draft(transcript([]), facts, LEXICON)
    assert {(f.name, f.value, f.source) for f in silent.fields} == {
        (FieldName.CALLER_PHONE, "037122334455", Source.SIGNALLING),
        (FieldName.CALLER_UNIT, "水稻乡", Source.DIRECTORY),
        (FieldName.CALLER_NAME, "赵刚", Source.DIRECTORY),
    }
    assert "水稻乡赵刚来电" in silent.gist
    assert "请听录音" in silent.gist
    said = drafted("我是北郊乡党政办值班员张建国。", facts=facts)
    assert value(said, FieldName.CALLER_UNIT) == "北郊乡党政办"


def test_a_call_about_nothing_known_is_quoted() -> None:
    found = drafted("想咨询一下社保卡怎么办理")
    assert "想咨询一下社保卡怎么办理" in found.gist
    assert "身份待核" in found.gist


ANY = st.lists(
    st.tuples(
        st.sampled_from(list(Speaker)),
        st.one_of(
            st.text(max_size=40),
            st.text("今昨天下午三点二十分零一二发生火灾我是北郊乡张村人受伤，。 没有请求", max_size=40),
        ),
    ),
    max_size=6,
)


@given(lines=ANY, words=st.booleans())
def test_any_words_give_a_draft_whose_spans_lie_in_them(lines: list[tuple[Speaker, str]], words: bool) -> None:
    heard = transcript(lines, words=words)
    found = draft(heard, CallFacts(started_at=CALLED_AT), LEXICON)
    assert found.gist
    for field in found.fields:
        assert 0 <= field.confidence <= 1
        assert field.value
        assert field.spans
        for span in field.spans:
            segment = heard.segments[span.segment]
            assert 0 <= span.start_char < span.end_char <= len(segment.text)
            assert segment.start_s - 1e-9 <= span.start_s <= span.end_s <= segment.end_s + 1e-9


def test_a_directive_is_suggested_with_its_deadline_and_a_level_with_its_figures() -> None:
    found = drafted("市政府总值班室，王市长批示，请你区立即核查，今天下午五点前把情况报过来")
    directive = found.field(FieldName.DIRECTIVE)
    assert directive is not None
    assert directive.normalised == "2026-03-05T17:00+08:00"
    assert directive.speaker == "caller"
    assert "请你区立即核查" in directive.value
    hurt = drafted("我是北郊乡政府，下午三点孙李唐村发生车祸，死亡三人，受伤两人")
    assert value(hurt, FieldName.LEVEL) == "较大"
    assert drafted("孙李唐村发生火灾，没有人员伤亡").field(FieldName.LEVEL) is None


@pytest.mark.parametrize("said", ["半小时内报过来", "请三十分钟以内反馈"])
def test_a_span_of_time_is_a_deadline(said: str) -> None:
    order = ordered(turns(transcript([(Speaker.CALLER, said)])), CALLED_AT)
    assert order is not None
    assert order.due == CALLED_AT + timedelta(minutes=30)
