"""The list of what a unit measures its engines by: a tab-separated file with a line per recording.

``file`` (relative to the list) and ``text`` (what is said) must be there; ``set`` or ``corpus`` groups the figures. Any
of the columns ``at``, ``time``, ``place``, ``unit``, ``phone`` and the fates of people (``dead``, ``injured``…) gives
what a careful officer would enter, and the fields are measured too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from duty.domain.times import SHANGHAI, utc_now
from transcription.errors import TranscriptionError
from transcription.evaluation.corpus import GoldCall
from transcription.fields.figures import FATES

_FATES = tuple(FATES.values())
_GOLD = ("time", "place", "unit", "phone", *_FATES)
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One recording. ``gold`` is None where the list gives no fields."""

    path: Path
    text: str
    group: str
    gold: GoldCall | None = None


def read_manifest(path: Path) -> list[Line]:
    """The lines of the list at ``path``. Raises TranscriptionError that names every line at fault (the first ten)."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TranscriptionError(f"清单无法读取：{path.name}（{error}）") from error
    if not rows:
        raise TranscriptionError(f"清单没有内容：{path.name}（首行为列名，至少有 file 和 text 两列，以制表符分隔）")
    if missing := {"file", "text"} - set(rows[0]):
        raise TranscriptionError(f"清单缺少列 {'、'.join(sorted(missing))}：{path.name}（首行为列名，以制表符分隔）")
    lines: list[Line] = []
    faults: list[str] = []
    for number, row in enumerate(rows, 2):
        try:
            lines.append(_line(path.parent, row))
        except (ValueError, TypeError, AttributeError) as error:
            faults.append(f"第 {number} 行：{error}")
    if faults:
        more = f"；另有 {len(faults) - _MOST_NAMED} 行" if len(faults) > _MOST_NAMED else ""
        raise TranscriptionError(f"清单 {path.name} 有误：{'；'.join(faults[:_MOST_NAMED])}{more}")
    return lines


def groups(lines: Iterable[Line]) -> list[str]:
    """The names of the sets, as they come."""
    return list(dict.fromkeys(line.group for line in lines))


def _line(folder: Path, row: dict[str, str]) -> Line:
    name, text = (row["file"] or "").strip(), (row["text"] or "").strip()
    if not name or not text:
        raise ValueError("file 或 text 为空")
    path = folder / name
    if not path.is_file():
        raise ValueError(f"没有文件 {name}")
    group = (row.get("set") or row.get("corpus") or "").strip() or folder.name
    return Line(path=path, text=text, group=group, gold=_gold(name, row))


def _gold(name: str, row: dict[str, str]) -> GoldCall | None:
    given = {key: (row.get(key) or "").strip() for key in ("at", *_GOLD)}
    if not any(given[key] for key in _GOLD):
        return None
    return GoldCall(
        call_id=name,
        at=_moment(given["at"]) if given["at"] else utc_now().astimezone(SHANGHAI),
        lines=(),
        kind="event",
        event_class=9,
        time=_moment(given["time"]) if given["time"] else None,
        place=given["place"],
        unit=given["unit"],
        phone=given["phone"],
        casualties={fate: int(given[fate]) for fate in _FATES if given[fate]},
    )


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"时间 {text} 应写作 2026-11-25 03:20") from None
    return found if found.tzinfo else found.replace(tzinfo=SHANGHAI)
