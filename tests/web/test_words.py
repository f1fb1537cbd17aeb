"""Values in words, segments cut at their words, and three-way joining: pure, so tried with many inputs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from web import catalogue, words
from web.merge import three_way
from web.screens.filters import number, paging
from web.screens.signin import _inside
from web.sse import resume_point

T = catalogue.load()
FIELDS = st.dictionaries(st.sampled_from("abcd"), st.text(alphabet="xy \n", max_size=3), min_size=4, max_size=4)


def test_times_are_shanghais() -> None:
    instant = datetime(2026, 12, 31, 16, 5, 8, tzinfo=UTC)
    assert words.moment(instant) == "2027年01月01日 00:05:08"
    assert words.official(instant) == "2027年1月1日0时05分"
    assert words.minute(instant) == "2027-01-01 00:05"
    assert words.moment(None) == ""


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0秒"), (59.6, "1分00秒"), (185, "3分05秒"), (3725, "1小时02分05秒")]
)
def test_lengths(seconds: float, shown: str) -> None:
    assert words.length(seconds) == shown


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("no_answer", "无人接听"),
        ("phone_486", "话机拒绝（SIP 486）"),
        ("forward_refer", "企图转移被阻止：话机请求转接（REFER）"),
        ("bad_answer: no audio", "对方应答不合规：no audio"),
        ("Busy Here", "Busy Here"),
    ],
)
def test_reasons(code: str, shown: str) -> None:
    assert words.reason(T, code) == shown


def test_a_happening_in_a_sentence() -> None:
    said = words.happening(T, "forward_blocked", {"way": "redirect", "target": "13800000000", "odd": 1})
    assert said == "呼叫转移被阻止（话机设置了呼叫转移（3xx），目标 13800000000）"
    assert words.happening(T, "never_heard_of", {}) == "never_heard_of"


@pytest.mark.parametrize(("cause", "shown"), [(1, "空号"), (17, "对方忙"), (27, "对方线路故障"), (999, "原因码 999")])
def test_a_cause_in_words_an_officer_understands(cause: int, shown: str) -> None:
    said = words.happening(T, "ended", {"reason": "network_404", "cause": cause})
    assert said == f"通话结束（{shown}，网络侧未接通（SIP 404））"


@given(
    st.text(max_size=30),
    st.lists(st.tuples(st.text(max_size=4), st.floats(0, 9), st.floats(0, 9), st.just(1.0)), max_size=8),
)
def test_pieces_never_change_the_text(text: str, heard: list[tuple[str, float, float, float]]) -> None:
    assert "".join(piece.text for piece in words.pieces(text, heard, 0.0, 9.0)) == text


@given(base=FIELDS, mine=FIELDS, stored=FIELDS)
def test_joining_loses_nobodys_words(base: dict[str, str], mine: dict[str, str], stored: dict[str, str]) -> None:
    merge = three_way(base, mine, stored)
    assert not set(merge.changes) & set(merge.taken)
    assert not set(merge.conflicts) & (set(merge.changes) | set(merge.taken))
    result = {**stored, **merge.changes}
    for name, value in mine.items():
        if value.strip() != base[name].strip() and name not in merge.conflicts:
            assert result[name].strip() == value.strip(), "what I typed is written"
        if stored[name].strip() != base[name].strip() and name not in merge.conflicts:
            assert result[name].strip() == stored[name].strip(), "what they wrote stays"


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/calls", "/calls"),
        ("", "/"),
        ("//x", "/"),
        ("http://x", "/"),
        ("/\\x", "/"),
        ("/a\nb", "/"),
        ("javascript:x", "/"),
    ],
)
def test_after_signing_in_one_stays_here(wanted: str, target: str) -> None:
    assert _inside(wanted) == target


@pytest.mark.parametrize(
    ("header", "address", "point"),
    [
        ("7", "3", 7),
        (None, "3", 3),
        ("x", "3", 3),
        ("", "", None),
        ("-1", None, None),
        ("9" * 30, None, None),
        ("²", None, None),
    ],
)
def test_where_a_stream_resumes(header: str | None, address: str | None, point: int | None) -> None:
    assert resume_point(header, address) == point


@given(st.text(max_size=12))
def test_any_page_number_is_a_page(text: str) -> None:
    assert 1 <= number(text) <= 100_000


def test_paging_keeps_the_filter() -> None:
    found = paging("/calls", {"words": "火 灾", "page": "2", "since": ""}, page=2, size=50, total=101)
    assert found.pages == 3
    assert found.address(3) == "/calls?words=%E7%81%AB+%E7%81%BE&page=3"
