"""Making a word of the district from what was typed or read: checked, its pinyin proposed where none is given.

Apart from the values, because the dictionary of readings is large and the line needs none.
"""

from __future__ import annotations

import re

from duty.domain.errors import Refused
from duty.domain.pinyin import parsed, proposed
from duty.domain.vocabulary import DistrictWord, WordClass

MAX_WORD_CHARS = 20
_WORD = re.compile(rf"[\u4e00-\u9fff]{{2,{MAX_WORD_CHARS}}}")


def district_word(word: str, word_class: str, pinyin: str = "", *, within: str = "", own: bool = False) -> DistrictWord:
    """A checked word; without ``pinyin`` the dictionary's is taken.

    Raises Refused: not 2 to 20 Chinese characters, an unknown class, pinyin that is none or has another length.
    """
    word = word.strip()
    if not _WORD.fullmatch(word):
        raise Refused("word_malformed", word=word[: MAX_WORD_CHARS + 1])
    if word_class not in set(WordClass):
        raise Refused("word_class_unknown", word_class=word_class[:40])
    syllables = parsed(pinyin) if pinyin.strip() else proposed(word)
    if len(syllables) != len(word):
        raise Refused("pinyin_length", word=word, wanted=len(word), found=len(syllables))
    return DistrictWord(word=word, word_class=WordClass(word_class), pinyin=syllables, within=within.strip(), own=own)
