"""The distance of readings is a metric, and puts what engines and Henan speakers confuse close together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.pinyin import _known, proposed
from transcription.sounding import GAP, distance, sound_of, syllable_distance

SYLLABLE = st.builds(str.__add__, st.sampled_from(sorted(_known())), st.sampled_from(["", *"12345"]))
READING = st.lists(SYLLABLE, max_size=6)


@given(SYLLABLE, SYLLABLE, SYLLABLE)
def test_the_distance_of_syllables_is_a_metric_below_one(one: str, two: str, three: str) -> None:
    assert syllable_distance(one, one) == (0 if sound_of(one) else 1)
    assert syllable_distance(one, two) == syllable_distance(two, one)
    assert 0 <= syllable_distance(one, two) <= 1
    assert syllable_distance(one, three) <= syllable_distance(one, two) + syllable_distance(two, three) + 1e-9


@given(READING, READING, READING)
def test_the_distance_of_readings_is_a_metric_within_its_bounds(
    one: list[str], two: list[str], three: list[str]
) -> None:
    apart = distance(one, two)
    assert apart == pytest.approx(distance(two, one))
    assert abs(len(one) - len(two)) * GAP - 1e-9 <= apart <= max(len(one), len(two)) + 1e-9
    assert distance(one, three) <= apart + distance(two, three) + 1e-9
    if all(sound_of(each) for each in one):
        assert distance(one, one) == 0
        if sorted(one) != sorted(two):
            assert apart > 0


@pytest.mark.parametrize(
    ("said", "heard", "other"),
    [
        ("北郊乡", "北郊香", "东郊乡"),
        ("北郊乡", "北交相", "南郊乡"),
        ("水稻乡", "髓到香", "柳园口乡"),  # sh/s
        ("水稻乡", "肥稻乡", "汪屯乡"),  # 水 as fei: sh/f
        ("柳园口", "牛元口", "黑岗口"),  # l/n
        ("中山路", "宗三路", "中意湖"),  # zh/z, sh/s
        ("孙李唐", "孙立谈", "三里堡"),  # n/ng
        ("黄河大堤", "房河大堤", "黄汴河"),  # h/f
        ("集英街", "子英街", "马道街"),  # j/z: 尖团音
    ],
)
def test_what_is_confused_lies_closer_than_another_name(said: str, heard: str, other: str) -> None:
    near, far = distance(proposed(said), proposed(heard)), distance(proposed(said), proposed(other))
    assert near < 0.2 * len(said)
    assert near < far / 2


def test_a_tone_counts_little_and_a_lost_syllable_much() -> None:
    assert distance(("bei3", "jiao1"), ("bei4", "jiao4")) < 0.15
    assert distance(("bei3", "jiao1"), ("bei", "jiao")) < distance(("bei3", "jiao1"), ("bei4", "jiao4"))
    assert distance(("bei3", "jiao1", "xiang1"), ("bei3", "xiang1")) == pytest.approx(GAP)
