"""What a superior wants done and by when: the suggestion of a directive (拟办) from a call that hands one down."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from duty.domain.transcripts import Speaker
from transcription.fields.reading import Turn
from transcription.fields.times import CHINA, said_times
from transcription.normalise import number

_ORDER = re.compile(
    r"请(?!问|讲|稍|记|您?稍|等|说|放心)|要求|务必|必须|立即|马上|尽快|抓紧|不得|一是|二是|三是|让[^，。]{1,8}(?:核|查|报|办|去|把)|"
    r"(?:反馈|落实|核查|核实|排查|整改|上报|报送|督促|复查|催)|报(?:过来|上来|我|市|区|到)|(?:之|以)?前[^，。]{0,6}(?:报|完成|反馈|交|送|传)|"
    r"(?:小时|分钟)[^，。]{0,4}(?:报|一报|一次)"
)
_BEFORE = re.compile(r"^(?:之|以)?(?:前|底)|^[^，。]{0,2}(?:报|把|截止)")
_WITHIN = re.compile(
    r"(?P<count>半|[一二两三四五六七八九十0-9]{1,3})个?(?P<half>半)?(?P<unit>小时|钟头|分钟)(?:之|以)?内"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Clauses (turn, start, end) in which something is ordered, and the first deadline said in them, if any."""

    clauses: tuple[tuple[Turn, int, int], ...]
    due: datetime | None


def ordered(turns: Sequence[Turn], called_at: datetime) -> Order | None:
    """What the caller orders; None where nothing is. ``called_at`` is timezone-aware, and so is the deadline."""
    clauses = [
        (turn, start, end)
        for turn in turns
        if turn.speaker is Speaker.CALLER
        for start, end in turn.clauses()
        if _ORDER.search(turn.text[start:end])
    ]
    if not clauses:
        return None
    dues = [due for turn, start, end in clauses for due in _deadlines(turn.text, start, end, called_at)]
    return Order(clauses=tuple(clauses), due=min(dues, default=None))


def _deadlines(text: str, start: int, end: int, called_at: datetime) -> list[datetime]:
    now = called_at.astimezone(CHINA)
    found = []
    for match in _WITHIN.finditer(text, start, end):
        count = 0.5 if match["count"] == "半" else (number(match["count"]) or 0) + (0.5 if match["half"] else 0)
        found.append(now + timedelta(minutes=count * (1 if match["unit"] == "分钟" else 60)))
    for said in said_times(text, called_at):
        if start <= said.start and said.end <= end and _BEFORE.match(text[said.end : end]):
            moment = said.moment
            while moment < now and "day" not in said.given:
                moment += timedelta(hours=24 if "part" in said.given or moment.hour > 12 else 12)
            found.append(moment)
    return [moment for moment in found if moment >= now]
