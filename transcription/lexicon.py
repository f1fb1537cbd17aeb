"""The district's words, read once at the edge and handed to the pure rules: places, units, titles, events, surnames."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from transcription.callwords import CallWords, call_words
from transcription.errors import TranscriptionError


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
    """Everything the rules look up. ``areas`` are townships and street offices."""

    city: str
    district: str
    areas: tuple[str, ...]
    places: tuple[Place, ...]
    whole_units: tuple[str, ...]
    unit_ends: tuple[str, ...]
    area_suffixes: tuple[str, ...]
    titles: tuple[str, ...]
    events: tuple[EventWord, ...]
    surnames: frozenset[str]
    calls: CallWords

    @property
    def phrases(self) -> tuple[str, ...]:
        """Local names worth biasing an engine towards, the townships first."""
        return (*sorted(self.areas, key=lambda area: not area.endswith(("乡", "镇"))), "党政办")


def load_lexicon(gazetteer: str = "longting") -> Lexicon:
    """The lexicon from the data files in ``config``. Raises TranscriptionError when a file is missing or malformed."""
    try:
        return _build(
            _toml("gazetteer", f"{gazetteer}.toml"),
            _toml("vocabulary", "units.toml"),
            _toml("vocabulary", "events.toml"),
            call_words(_toml("vocabulary", "calls.toml"), _words("elsewhere")),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise TranscriptionError(f"词表或地名表无法读取：{error}") from error


def _toml(folder: str, name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("config") / folder / name).read_text(encoding="utf-8"))


def _words(name: str) -> list[str]:
    lines = (resources.files("config") / "vocabulary" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [word for line in lines if not line.startswith("#") for word in line.split()]


def _build(gazetteer: dict[str, Any], units: dict[str, Any], events: dict[str, Any], calls: CallWords) -> Lexicon:
    surnames = _words("surnames")
    return Lexicon(
        city=gazetteer["city"],
        district=gazetteer["district"],
        areas=tuple(area["name"] for area in gazetteer["area"]),
        places=tuple(_places(gazetteer)),
        whole_units=tuple(units["whole"]),
        unit_ends=tuple(units["ends"]),
        area_suffixes=tuple(units["area_suffixes"]),
        titles=tuple(units["titles"]),
        events=tuple(
            EventWord(word=word, event=row["words"][0], category=row["category"])
            for row in events["event"]
            for word in row["words"]
        ),
        surnames=frozenset(surnames[0]) | frozenset(surnames[1:]),
        calls=calls,
    )


def _places(gazetteer: dict[str, Any]) -> list[Place]:
    district = gazetteer["district"]
    found = [Place(name=district, full=district, kind="district")]
    for area in gazetteer["area"]:
        names = [area["name"], *area.get("aliases", ())]
        found += [Place(name=name, full=f"{district}{area['name']}", kind="area") for name in names]
        for village in area.get("villages", ()):
            for name in _village_names(village):
                found.append(Place(name=name, full=f"{district}{area['name']}{name}", kind="village"))
    found += [
        Place(name=name, full=name, kind="elsewhere") for name in (*_words("elsewhere"), *gazetteer["neighbours"])
    ]
    for group in gazetteer["place"]:
        found += [Place(name=name, full=f"{district}{name}", kind=group["kind"]) for name in group["names"]]
    return found


def _village_names(village: str) -> list[str]:
    """A village is spoken of as 村 or, since it became one, as 社区; three characters stand alone too."""
    full = [f"{village}村", f"{village}社区"]
    return [*full, village] if len(village) >= 3 else full
