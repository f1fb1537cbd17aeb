"""Even text, and every character still where it came from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcription.normalise import normalise, number, phone_numbers, punctuated

SPOKEN = "零一二三四五六七八九"


@pytest.mark.parametrize(
    ("heard", "even"),
    [
        ("今天 下午 三点", "今天下午三点"),
        ("您好,我是張建國.", "您好，我是张建国。"),
        ("大約 3.5 公里", "大约3.5公里"),
        ("１２３ 号", "123号"),
        ("call back at 15:20", "call back at 15:20"),
        ("", ""),
    ],
)
def test_script_spaces_and_punctuation(heard: str, even: str) -> None:
    assert normalise(heard).text == even


@given(st.text(alphabet="今天下午 發生火災,.?!：。0１23ab\t\n", max_size=60))
def test_every_character_points_at_its_original(text: str) -> None:
    mapped = normalise(text)
    assert len(mapped.origin) == len(mapped.text)
    assert list(mapped.origin) == sorted(set(mapped.origin))
    assert all(0 <= at < len(text) for at in mapped.origin)
    for char, at in zip(mapped.text, mapped.origin, strict=True):
        if text[at] in "今天下午ab023":
            assert char == text[at]
    assert normalise(mapped.text).text == mapped.text


@given(st.text(max_size=80))
def test_any_text_is_taken(text: str) -> None:
    assert len(punctuated(text)) == len(text)
    assert len(normalise(text).text) == len(normalise(text).origin)
    for found in phone_numbers(normalise(text).text):
        assert 7 <= len(found.digits) <= 13


@given(digits=st.text("0123456789", min_size=7, max_size=11), breaks=st.sets(st.integers(1, 10)), mixed=st.booleans())
def test_a_number_said_digit_by_digit_comes_back(digits: str, breaks: set[int], mixed: bool) -> None:
    spoken = "".join(
        ("，" if i in breaks else "") + (d if mixed and i % 2 else SPOKEN[int(d)]) for i, d in enumerate(digits)
    )
    found = phone_numbers(f"我的电话是{spoken}。")
    assert [number.digits for number in found] == [digits]


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("幺三八洞洞幺三五拐九两", ["13800135792"]),
        ("零三七一，六六二二三三四四", ["037166223344"]),
        ("137-0378-6621", ["13703786621"]),
        ("一百二十六人", []),
        ("二零二六年", []),
        ("省道二一五线", []),
        ("3.20", []),
    ],
)
def test_only_telephone_numbers_become_digits(said: str, digits: list[str]) -> None:
    assert [found.digits for found in phone_numbers(said)] == digits


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("二十三", 23),
        ("十", 10),
        ("一百二十六", 126),
        ("两百", 200),
        ("两百五", 250),
        ("三千零五", 3005),
        ("一万二千", 12000),
        ("126", 126),
        ("二〇二六", 2026),
        ("零", 0),
        ("", None),
        ("人", None),
        ("3.5", None),
    ],
)
def test_numbers(text: str, value: int | None) -> None:
    assert number(text) == value
