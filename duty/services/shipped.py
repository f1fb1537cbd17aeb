"""The words of the district that come as data: one file a class in ``config/vocabulary/names``, the townships and
villages in ``config/gazetteer``. Whoever runs the service extends them there, or puts a file of their own beside them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from duty.domain.errors import Refused
from duty.domain.vocabulary import DistrictWord, WordClass
from duty.domain.wordcheck import district_word


class BadWordFile(ValueError):
    """A word file is missing or wrong; the message names the file, the word and what is wrong with it."""


_FAULTS = {
    "word_malformed": "应为 2 至 20 个汉字",
    "word_class_unknown": "类别不存在",
    "pinyin_malformed": "拼音写法不对：{syllable}",
    "pinyin_length": "拼音应有 {wanted} 个音节，现有 {found} 个",
}


def shipped_words(gazetteer: str = "longting", folder: Traversable | None = None) -> tuple[DistrictWord, ...]:
    """Every shipped word, ``folder`` holding the files by class; each word of a class once.

    Raises BadWordFile naming the file and the word at fault.
    """
    names = folder or resources.files("config") / "vocabulary" / "names"
    found: dict[tuple[str, str], DistrictWord] = {}
    files = sorted((each for each in names.iterdir() if each.name.endswith(".toml")), key=lambda each: each.name)
    for file in files:
        for word in _named(file):
            if (key := (word.word, word.word_class)) in found:
                raise BadWordFile(f"{file.name}：“{word.word}”重复")
            found[key] = word
    for word in _placed(gazetteer):
        found.setdefault((word.word, word.word_class), word)
    return tuple(found.values())


def gazetteer_tree(name: str) -> dict[str, Any]:
    """The gazetteer file ``name``. Raises BadWordFile."""
    return _tree(resources.files("config") / "gazetteer" / f"{name}.toml")


def _tree(file: Traversable) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadWordFile(f"{file.name}：无法读取（{error}）") from error


def _named(file: Traversable) -> Iterator[DistrictWord]:
    tree = _tree(file)
    if unknown := set(tree) - {"class", "part"}:
        raise BadWordFile(f"{file.name}：未知的项 {'、'.join(sorted(unknown))}")
    parts = tree.get("part", [])
    if not isinstance(parts, list) or not all(isinstance(part.get("words"), dict) for part in parts):
        raise BadWordFile(f"{file.name}：每个 [[part]] 应有 [part.words]")
    for part in parts:
        for word, pinyin in part["words"].items():
            yield _checked(file.name, word, str(tree.get("class", "")), str(pinyin), str(part.get("within", "")))


def _placed(name: str) -> Iterator[DistrictWord]:
    """Townships and street offices with their other names, and villages, of the gazetteer; ``pinyin`` there holds what
    the dictionary reads otherwise."""
    tree, file = gazetteer_tree(name), f"{name}.toml"
    try:
        district, special = tree["district"], tree.get("pinyin", {})
        for area in tree["area"]:
            for spoken in (area["name"], *area.get("aliases", ())):
                yield _checked(file, spoken, WordClass.AREA, special.get(spoken, ""), district)
            for village in area.get("villages", ()):
                pinyin = special.get(village, "")
                for end, sound in (("村", " cun1"), ("社区", " she4 qu1")):
                    spoken = pinyin + sound if pinyin else ""
                    yield _checked(file, village + end, WordClass.VILLAGE, spoken, district + area["name"])
    except (KeyError, TypeError, AttributeError) as error:
        raise BadWordFile(f"{file}：不完整（{error}）") from error


def _checked(file: str, word: str, word_class: str, pinyin: str, within: str) -> DistrictWord:
    try:
        return district_word(word, word_class, pinyin, within=within)
    except Refused as error:
        raise BadWordFile(f"{file}：“{word}”{_FAULTS[error.code].format(**error.details)}") from error
