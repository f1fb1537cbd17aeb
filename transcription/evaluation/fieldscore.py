"""Drafts against what a careful officer would have entered: precision, recall and F1 for each field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from duty.domain.drafts import Draft, FieldName
from duty.domain.transcripts import Transcript
from transcription.draft import CallFacts, draft
from transcription.evaluation.corpus import GoldCall
from transcription.fields.figures import FATES
from transcription.fields.homophones import sounds
from transcription.lexicon import Lexicon

FIELDS = ("time", "place", "casualties", "phone", "unit")
_ABOVE = re.compile(r"^(?:河南省)?(?:开封市)?(?:龙亭区)?")
_ROOM = re.compile(r"(?<=..)(?<!政府)(?<![省市区县]委)(?:值班室|调度室)$")
_TAIL = re.compile(
    r"(?:村|社区|附近|门口|路口|(?:[东西南北中]{1,2}|上|下)(?:段|头|侧|边|面|门|口|岸)|对面|旁边|里头?|里面|一带|辖区|院内|"
    r"(?:交叉|交|道)口|[东西南北]{2}角)+$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Counts for one field over many calls: ``right`` values found, ``wrong`` ones proposed, ``missed`` ones not."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    @property
    def precision(self) -> float:
        """Share of what was proposed that is right; 1 where nothing was proposed."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        """Share of what was said that was found; 1 where nothing was said."""
        return self.right / (self.right + self.missed) if self.right + self.missed else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        both = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / both if both else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field of one call that is not as it should be; each side a sorted tuple of values."""

    call_id: str
    field: str
    wanted: tuple[str, ...]
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldReport:
    """Scores by field, how many calls had their class and kind right, and every difference."""

    calls: int
    fields: dict[str, Score]
    classes_right: int
    kinds_right: int
    differences: tuple[Difference, ...]


def measure_fields(
    calls: Sequence[GoldCall], lexicon: Lexicon, heard: Callable[[GoldCall], Transcript] = GoldCall.transcript
) -> FieldReport:
    """Draft every call from its written words, or from what an engine ``heard``, and compare."""
    counts = {name: [0, 0, 0] for name in FIELDS}
    differences: list[Difference] = []
    classes = kinds = 0
    for call in calls:
        made = draft(heard(call), CallFacts(started_at=call.at), lexicon)
        for name in FIELDS:
            wanted, found = _wanted(call, name), _found(made, name)
            right = _matching(name, wanted, found)
            for index, count in enumerate((right, len(found) - right, len(wanted) - right)):
                counts[name][index] += count
            if right != len(wanted) or right != len(found):
                differences.append(
                    Difference(call_id=call.call_id, field=name, wanted=tuple(wanted), found=tuple(found))
                )
        kind = _best(made, FieldName.KIND) or "event"
        for name, wanted_one, found_one in (
            ("class", str(call.event_class), _best(made, FieldName.REPORT_CLASS) or ("9" if kind == "event" else "0")),
            ("kind", call.kind, kind),
        ):
            good = wanted_one == found_one
            classes += good and name == "class"
            kinds += good and name == "kind"
            if not good:
                differences.append(
                    Difference(call_id=call.call_id, field=name, wanted=(wanted_one,), found=(found_one,))
                )
    scores = {name: Score(right=right, wrong=wrong, missed=missed) for name, (right, wrong, missed) in counts.items()}
    return FieldReport(
        calls=len(calls),
        fields=scores,
        classes_right=classes,
        kinds_right=kinds,
        differences=tuple(differences),
    )


def _best(made: Draft, name: FieldName) -> str:
    field = made.field(name)
    return "" if field is None else field.normalised


def _wanted(call: GoldCall, name: str) -> list[str]:
    if name == "time":
        return [call.time.isoformat(timespec="minutes")] if call.time else []
    if name == "casualties":
        return sorted(f"{fate}={count}" for fate, count in call.casualties.items())
    value = {"place": call.place, "phone": call.phone, "unit": call.unit}[name]
    return [value] if value else []


def _found(made: Draft, name: str) -> list[str]:
    if name == "time":
        value = _best(made, FieldName.EVENT_TIME)
        return [datetime.fromisoformat(value).isoformat(timespec="minutes")] if value else []
    if name == "casualties":
        parts = filter(None, _best(made, FieldName.CASUALTIES).split(";"))
        return sorted(f"{FATES.get(fate, fate)}={count}" for fate, _, count in (part.partition("=") for part in parts))
    field = {"place": FieldName.PLACE, "phone": FieldName.CALLER_PHONE, "unit": FieldName.CALLER_UNIT}[name]
    value = _best(made, field)
    return [value] if value else []


def wanted_value(call: GoldCall, name: str) -> str:
    """What ``call`` should have for a field of one value; empty for none."""
    return next(iter(_wanted(call, name)), "")


def same_value(name: str, wanted: str, found: str) -> bool:
    """Whether ``found``, the normalised form of a proposal, is the value ``wanted``."""
    if name == "time":
        found = datetime.fromisoformat(found).isoformat(timespec="minutes")
    return _matching(name, [wanted], [found]) == 1


def _matching(name: str, wanted: Iterable[str], found: Sequence[str]) -> int:
    if name == "place":
        return sum(any(_same_place(one, other) for other in found) for one in wanted)
    if name == "unit":
        return sum(any(_same_place(_ROOM.sub("", one), _ROOM.sub("", other)) for other in found) for one in wanted)
    return len(set(wanted) & set(found))


def _same_place(one: str, other: str) -> bool:
    """The same spot: the names agree but for the city and district before and 村, 附近, 北段 and the like behind; a
    township may stand on one side only. Names that sound alike are one name, digits are said or written, and a crossing
    is as well given by both its roads as by the first."""
    return any(_agree(left, right) for left in _corners(one) for right in _corners(other))


def _corners(value: str) -> list[str]:
    """``value`` and, for a crossing, its first road."""
    found = [value]
    if (crossing := _CROSSING.match(value)) is not None:
        found.append(crossing["first"])
    return found


def _agree(one: str, other: str) -> bool:
    left, right = (_TAIL.sub("", _plain(value)) for value in (one, other))
    return _same_sound(left, right) or any(
        _same_sound(a[-len(b) :], b) and re.fullmatch(r".{2,5}(?:乡|镇|街道)", a[: -len(b)]) is not None
        for a, b in ((left, right), (right, left))
        if len(a) > len(b) > 0
    )


def _same_sound(one: str, other: str) -> bool:
    return len(one) == len(other) and sounds(one) == sounds(other)


def _plain(value: str) -> str:
    return _ABOVE.sub("", value).translate(_DIGITS)


_DIGITS = str.maketrans("0123456789幺洞拐两〇", "零一二三四五六七八九一零七二零")
_CROSSING = re.compile(
    r"(?P<first>.{2,8}?(?:路|街|道|线|高速))(?:与|和|跟|、|到).{2,8}(?:路|街|道|线|口)(?:交叉口|交汇处|交口|路口|口)?$"
)
