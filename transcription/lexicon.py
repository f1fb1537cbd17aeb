"""The district's words, read once at the edge and handed to the pure rules: places, units, titles, events, surnames.

The words that officers add join those that come as data (``with_words``), so that the next call is read with them.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from duty.domain.vocabulary import DistrictWord, WordClass
from duty.services.shipped import gazetteer_tree, shipped_words
from transcription.callwords import CallWords, call_words
from transcription.errors import TranscriptionError
from transcription.fields.homophones import Readings, folded, sounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One named place. ``full`` is the name with what it lies in, as the entry writes it; ``kind`` e.g. village."""

    name: str
    full: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventWord:
    """One way to name an event: the word, the event's standard name and its category."""

    word: str
    event: str
    category: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """Everything the rules look up. ``areas`` are the district's townships and street offices; ``persons`` names that
    officers added; ``words`` all names with class and pinyin, last those that officers added, the newest first;
    ``readings`` how those sound whose characters are mostly read otherwise."""

    city: str
    district: str
    areas: tuple[str, ...]
    places: tuple[Place, ...]
    whole_units: tuple[str, ...]
    unit_ends: tuple[str, ...]
    area_suffixes: tuple[str, ...]
    titles: tuple[str, ...]
    persons: tuple[str, ...]
    events: tuple[EventWord, ...]
    surnames: frozenset[str]
    calls: CallWords
    words: tuple[DistrictWord, ...]
    readings: Readings
    name_ends: dict[str, str]
    """What a name of a place or a unit ends with, and the kind which that shows."""
    name_breaks: frozenset[str]
    """Words that are in no such name."""
    weights: dict[str, dict[str, float]]
    """What speaks for a reading of a time, a place or a unit: learnt from calls, by field and feature."""

    def with_words(self, own: Iterable[DistrictWord]) -> Lexicon:
        """This lexicon with what officers added; of a word that is known already in its class only the reading
        changes."""
        added = {(word.word, word.word_class): word for word in reversed(tuple(own))}
        known = {(word.word, word.word_class) for word in self.words}
        fresh = tuple(word for key, word in reversed(added.items()) if key not in known)
        kept = tuple(word for word in self.words if (word.word, word.word_class) not in added)
        return replace(
            self,
            areas=self.areas + _of(fresh, WordClass.AREA),
            places=self.places + tuple(place for word in fresh for place in _places_of(word, self.district)),
            whole_units=self.whole_units + _of(fresh, WordClass.UNIT),
            titles=self.titles + _of(fresh, WordClass.TITLE),
            persons=self.persons + _of(fresh, WordClass.PERSON),
            words=(every := kept + tuple(reversed(added.values()))),
            readings=_readings(every),
        )


_KINDS = {
    WordClass.AREA: "area",
    WordClass.VILLAGE: "village",
    WordClass.REGION: "elsewhere",
    WordClass.ROAD: "road",
    WordClass.WATER: "water",
    WordClass.SIGHT: "sight",
    WordClass.SCHOOL: "school",
    WordClass.HOSPITAL: "hospital",
}
"""What the rules about places call a class; a class without a kind names no place."""


def load_lexicon(gazetteer: str = "longting") -> Lexicon:
    """The lexicon from the data files in ``config``. Raises TranscriptionError when a file is missing or malformed."""
    try:
        return _build(
            gazetteer_tree(gazetteer),
            shipped_words(gazetteer),
            _toml("vocabulary", "units.toml"),
            _toml("vocabulary", "events.toml"),
            _toml("vocabulary", "name_parts.toml"),
            call_words(_toml("vocabulary", "calls.toml"), _words("elsewhere")),
            json.loads((resources.files("config") / "vocabulary" / "ranking.json").read_text(encoding="utf-8")),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise TranscriptionError(f"词表或地名表无法读取：{error}") from error


def _toml(folder: str, name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("config") / folder / name).read_text(encoding="utf-8"))


def _words(name: str) -> list[str]:
    lines = (resources.files("config") / "vocabulary" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [word for line in lines if not line.startswith("#") for word in line.split()]


def _build(
    gazetteer: dict[str, Any],
    words: tuple[DistrictWord, ...],
    units: dict[str, Any],
    events: dict[str, Any],
    names: dict[str, Any],
    calls: CallWords,
    weights: dict[str, dict[str, float]],
) -> Lexicon:
    surnames = _words("surnames")
    district = gazetteer["district"]
    tree = _places(gazetteer)
    listed = {place.name for place in tree} | {gazetteer["city"]}
    named = [place for word in words if word.word not in listed for place in _places_of(word, district)]
    return Lexicon(
        city=gazetteer["city"],
        district=district,
        areas=tuple(area["name"] for area in gazetteer["area"]),
        places=(*tree, *named),
        whole_units=_of(words, WordClass.UNIT),
        unit_ends=tuple(units["ends"]),
        area_suffixes=tuple(units["area_suffixes"]),
        titles=_of(words, WordClass.TITLE),
        persons=(),
        events=tuple(
            EventWord(word=word, event=row["words"][0], category=row["category"])
            for row in events["event"]
            for word in row["words"]
        ),
        surnames=frozenset(surnames[0]) | frozenset(surnames[1:]),
        calls=calls,
        words=words,
        readings=_readings(words),
        name_ends={end: kind for kind, ends in reversed(names["ends"].items()) for end in ends},
        name_breaks=frozenset(names["words"]["breaks"]),
        weights=weights,
    )


def _readings(words: Iterable[DistrictWord]) -> Readings:
    spoken = ((word.word, tuple(map(folded, word.pinyin))) for word in words)
    return frozenset(each for each in spoken if each[1] != sounds(each[0]))


def _of(words: Iterable[DistrictWord], word_class: WordClass) -> tuple[str, ...]:
    return tuple(word.word for word in words if word.word_class is word_class)


def _places_of(word: DistrictWord, district: str) -> tuple[Place, ...]:
    """The place that a word names; townships of other districts count as elsewhere."""
    kind = _KINDS.get(word.word_class)
    if kind is None:
        return ()
    if kind == "area" and word.within not in ("", district):
        kind = "elsewhere"
    within = "" if word.word.startswith(word.within) else word.within
    return (Place(name=word.word, full=within + word.word, kind=kind),)


def _places(gazetteer: dict[str, Any]) -> list[Place]:
    """The district itself, its townships and their villages, and what lies outside the province."""
    district = gazetteer["district"]
    found = [Place(name=district, full=district, kind="district")]
    for area in gazetteer["area"]:
        names = [area["name"], *area.get("aliases", ())]
        found += [Place(name=name, full=f"{district}{area['name']}", kind="area") for name in names]
        for village in area.get("villages", ()):
            for name in _village_names(village):
                found.append(Place(name=name, full=f"{district}{area['name']}{name}", kind="village"))
    return found + [Place(name=name, full=name, kind="elsewhere") for name in _words("elsewhere")]


def _village_names(village: str) -> list[str]:
    """A village is spoken of as 村 or, since it became one, as 社区; three characters stand alone too."""
    full = [f"{village}村", f"{village}社区"]
    return [*full, village] if len(village) >= 3 else full
