"""The vocabulary of a unit's next call: what comes as data and what officers have added until now. Asked anew before
each call, built anew only when somebody changed a word.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from duty.services.words import Words
from transcription.bias import hints
from transcription.cues import Cues, load_cues
from transcription.lexicon import Lexicon, load_lexicon
from transcription.suggestions import Suggester

_KEPT = 16
"""Vocabularies of so many units are kept built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallVocabulary:
    """What one call is heard and read with; ``hints`` are the names that its engine prefers, the likeliest
    first."""

    lexicon: Lexicon
    suggester: Suggester
    hints: tuple[str, ...]


class Vocabulary:
    """The vocabularies of calls; used from several threads."""

    def __init__(self, words: Words, lexicon: Lexicon | None = None, cues: Cues | None = None) -> None:
        self._words = words
        self._lexicon = lexicon or load_lexicon()
        self._cues = cues or load_cues()
        self._built: OrderedDict[int, tuple[tuple[int, int], Lexicon, Suggester]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, call_id: str) -> CallVocabulary:
        """The vocabulary for a call as it is now. Raises NotFound, SQLAlchemyError where the store fails."""
        unit_id, caller = self._words.of_call(call_id)
        lexicon, suggester = self._of_unit(unit_id)
        told = hints(lexicon, corrected=self._words.often_corrected(unit_id), caller=caller)
        return CallVocabulary(lexicon=lexicon, suggester=suggester, hints=told)

    def _of_unit(self, unit_id: int) -> tuple[Lexicon, Suggester]:
        version = self._words.version()
        with self._lock:
            known = self._built.get(unit_id)
            if known is None or known[0] != version:
                lexicon = self._lexicon.with_words(self._words.of_unit(unit_id))
                known = version, lexicon, Suggester(lexicon, self._cues)
            self._built[unit_id] = known
            self._built.move_to_end(unit_id)
            while len(self._built) > _KEPT:
                self._built.popitem(last=False)
        return known[1], known[2]
