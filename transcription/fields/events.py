"""What happened: the event's word and category, and the sentence that says it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from transcription.fields.homophones import heard
from transcription.lexicon import Lexicon

_OPENERS = ("发生", "出现", "引发", "一起", "突发")
_DENIED = re.compile(r"(?:没有|未|无|避免|防止|预防|防范|严防)[^，。；]{0,4}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidEvent:
    """An event said at ``start:end`` of a text, written ``word``, its standard name and category; ``sure`` 0..1."""

    start: int
    end: int
    word: str
    event: str
    category: str
    sure: float


def said_events(text: str, lexicon: Lexicon) -> list[SaidEvent]:
    """Events in ``text``, left to right; denied ones (没有发生火灾) and rehearsals are left out.

    By sound a two-character word counts only after 发生 and its like, where nothing else can stand.
    """
    words = {entry.word: entry for entry in lexicon.events}
    opened = {opener + word: word for word in words for opener in _OPENERS}
    found = []
    for start, end, name, as_is in heard(text, [*words, *opened], shortest=4):
        word = words[opened.get(name, name)]
        begin = end - len(word.word)
        if _DENIED.search(text[:start]) or text.startswith("演练", end):
            continue
        sure = (0.95 if name in opened else 0.85) if as_is else 0.75
        found.append(
            SaidEvent(start=begin, end=end, word=word.word, event=word.event, category=word.category, sure=sure)
        )
    return found
