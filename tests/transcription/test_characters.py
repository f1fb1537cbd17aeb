"""The measure itself: what counts as misheard, and that both sides are measured alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcription.evaluation.characters import Errors, errors, interval, rate, ratio_interval, value
from transcription.normalise import number


@pytest.mark.parametrize(
    ("said", "heard", "wrong"),
    [
        ("三百二十八万一千一百三十八点四八", "3,281,138.48", 0),
        ("二零零八年来了二十人", "2008年，來了20人。", 0),
        ("百分之五十", "50%", 0),
        ("电话三八二五五零一", "电话3825501", 0),
        ("三百二十", "330", 1),
        ("那很不明智", "", 5),
    ],
)
def test_script_punctuation_and_figures_are_no_errors_and_words_are(said: str, heard: str, wrong: int) -> None:
    assert errors(said, heard).wrong == errors(heard, said).wrong == wrong


@given(st.integers(0, 99_999_999))
def test_every_number_is_read_as_the_rules_of_fields_read_it_back(whole: int) -> None:
    assert number(value(str(whole))) == whole


@given(st.text("火灾烟囱2035", max_size=12), st.text("火灾烟囱2035", max_size=12))
def test_the_distance_is_one(left: str, right: str) -> None:
    assert errors(left, left).wrong == 0
    assert errors(left, right).wrong <= max(len(value(left)) if left.isdigit() else 4 * len(left), 4 * len(right))


def test_the_interval_holds_the_rate_and_equal_engines_have_the_ratio_one() -> None:
    found = [Errors(wrong=n % 4, said=10) for n in range(30)]
    low, high = interval(found)
    assert low < rate(found) < high
    assert ratio_interval(found, found) == (1.0, 1.0)
