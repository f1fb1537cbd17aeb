"""The district's words: what ships is whole and right by the dictionary; what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain import pinyin
from duty.domain.errors import Refused
from duty.domain.vocabulary import WordClass
from duty.domain.wordcheck import district_word
from duty.services.shipped import BadWordFile, shipped_words

LOCAL = {"荥": "xing2"}
"""Readings of place names that the dictionary lacks."""


def bare(syllable: str) -> str:
    return syllable.rstrip("12345")


@pytest.mark.rule("6.1-d", "10-a")
def test_the_shipped_words_cover_the_district_and_are_read_as_the_dictionary_reads() -> None:
    words = shipped_words()
    by_class = {kind: [word for word in words if word.word_class is kind] for kind in WordClass}
    own = {word.word for word in by_class[WordClass.AREA] if word.within == "龙亭区"}
    offices = "北书店 午朝门 大兴 北道门 城西 梁苑 杏花营 金耀 金明池 西湖"
    assert {*(f"{name}街道" for name in offices.split()), "北郊乡", "柳园口乡", "水稻乡"} <= own
    regions = {word.word for word in by_class[WordClass.REGION]}
    assert {
        "鼓楼区",
        "顺河回族区",
        "禹王台区",
        "祥符区",
        "杞县",
        "通许县",
        "尉氏县",
        "兰考县",
        "中牟县",
        "封丘县",
    } <= regions
    assert not by_class[WordClass.PERSON], "no person's name is shipped"
    for kind in set(WordClass) - {WordClass.PERSON, WordClass.TERM}:
        assert len(by_class[kind]) >= 15, kind
    for word in words:
        for char, syllable in zip(word.word, word.pinyin, strict=True):
            known = {bare(reading) for reading in pinyin.readings(char)} | {bare(LOCAL.get(char, ""))}
            assert bare(syllable) in known, (word.word, char, syllable)


@pytest.mark.parametrize(
    ("word", "syllables"),
    [
        ("尉氏县", "wei4 shi4 xian4"),
        ("中牟县", "zhong1 mu4 xian4"),
        ("单砦村", "shan4 zhai4 cun1"),
        ("副乡长", "fu4 xiang1 zhang3"),
        ("涡河", "guo1 he2"),
        ("繁塔街道", "po2 ta3 jie1 dao4"),
    ],
)
def test_polyphones_of_the_shipped_words(word: str, syllables: str) -> None:
    assert {" ".join(each.pinyin) for each in shipped_words() if each.word == word} == {syllables}


@pytest.mark.parametrize(
    ("written", "syllables"),
    [
        ("zhong1 shan1 lu4", ("zhong1", "shan1", "lu4")),
        ("Zhōng shān lù", ("zhong1", "shan1", "lu4")),
        ("zhong shan lu", ("zhong", "shan", "lu")),
        ("lǜ nü3 lv4", ("lv4", "nv3", "lv4")),
        ("xi'an", ("xi", "an")),
        ("", ()),
    ],
)
def test_pinyin_as_people_type_it(written: str, syllables: tuple[str, ...]) -> None:
    assert pinyin.parsed(written) == syllables


@pytest.mark.parametrize(
    ("word", "kind", "spoken", "code"),
    [
        ("北", "area", "", "word_malformed"),
        ("北" * 21, "area", "", "word_malformed"),
        ("=cmd", "area", "", "word_malformed"),
        ("北郊A乡", "area", "", "word_malformed"),
        ("北郊乡", "town", "", "word_class_unknown"),
        ("北郊乡", "area", "bei3 jiao1", "pinyin_length"),
        ("北郊乡", "area", "bei3 jiao1 xianggg", "pinyin_malformed"),
        ("北郊乡", "area", "bei3 jiao11 xiang1", "pinyin_malformed"),
        ("北郊乡", "area", "bei3 <b> xiang1", "pinyin_malformed"),
    ],
)
def test_what_is_no_word_is_refused(word: str, kind: str, spoken: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        district_word(word, kind, spoken)
    assert refused.value.code == code


@given(st.text(max_size=24), st.text(max_size=40))
def test_any_text_is_a_word_with_a_syllable_a_character_or_refused(word: str, spoken: str) -> None:
    try:
        made = district_word(word, "road", spoken)
    except Refused:
        return
    assert len(made.word) == len(made.pinyin)
    assert pinyin.parsed(" ".join(made.pinyin)) == made.pinyin
    assert pinyin.parsed(pinyin.shown(made.pinyin)) == made.pinyin


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[", "own.toml：无法读取"),
        ('class = "road"\n[[part]]\nwords = ["中山路"]', r"own.toml：每个 \[\[part\]\]"),
        ('class = "road"\ncolour = 1', "own.toml：未知的项 colour"),
        ('class = "street"\n[[part]]\n[part.words]\n"中山路" = ""', "own.toml：“中山路”类别不存在"),
        ('class = "road"\n[[part]]\n[part.words]\n"中山路" = "zhong1 shan1"', "“中山路”拼音应有 3 个音节，现有 2 个"),
        ('class = "road"\n[[part]]\n[part.words]\n"中山路" = "zhong1 shan1 lu9"', "“中山路”拼音写法不对：lu9"),
        ('class = "road"\n[[part]]\n[part.words]\n"路" = ""', "“路”应为 2 至 20 个汉字"),
        (
            'class = "road"\n[[part]]\n[part.words]\n"中山路" = ""\n[[part]]\n[part.words]\n"中山路" = ""',
            "“中山路”重复",
        ),
    ],
)
def test_a_word_file_at_fault_is_named(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadWordFile, match=fault):
        shipped_words(folder=tmp_path)


def test_a_units_own_file_adds_its_words(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(
        'class = "road"\n[[part]]\nwithin = "甲区"\n[part.words]\n"长行街" = "chang2 hang2 jie1"'
    )
    (found,) = [word for word in shipped_words(folder=tmp_path) if word.word_class is WordClass.ROAD]
    assert (found.word, found.within, found.pinyin) == ("长行街", "甲区", ("chang2", "hang2", "jie1"))
