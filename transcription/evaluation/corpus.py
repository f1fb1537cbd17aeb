"""Written duty calls with the fields a careful officer would enter: read, checked, and made into transcripts.

The calls are data (TOML, one ``[[call]]`` each), so that a unit can add its own; ``tests/corpus/README.md`` says how.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from duty.domain.transcripts import Segment, Speaker, Transcript, Word
from transcription.errors import TranscriptionError
from transcription.fields.figures import FATES

Part = Literal["dev", "test"]

SEED = "longting-2026"
"""The split into development and test calls hangs on this and on each call's id, never on the order of files."""
TEST_SHARE = 0.4
_SPEAKERS = {"C": Speaker.CALLER, "O": Speaker.OFFICER}
_CHARS_A_SECOND = 5.0
_PAUSE_S = 0.4
_KNOWN = {"id", "at", "said", "kind", "class", "type", "time", "place", "unit", "phone", *FATES.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldCall:
    """One written call. ``lines`` are (speaker, text) in order; ``event_class`` is 0 for what need not be reported,
    else 1..9 as in regulation 七（二）; ``time`` is local, to the minute; ``casualties`` by English name of the fate
    (dead, injured…), 0 for a plain denial. Empty text and None where the call does not say."""

    call_id: str
    at: datetime
    lines: tuple[tuple[Speaker, str], ...]
    kind: str
    event_class: int
    time: datetime | None
    place: str
    unit: str
    phone: str
    casualties: dict[str, int]

    @property
    def part(self) -> Part:
        """Whether rules may be made by looking at this call, or it is kept to measure them."""
        digest = hashlib.sha256(f"{SEED}:{self.call_id}".encode()).digest()
        return "test" if digest[0] / 256 < TEST_SHARE else "dev"

    def transcript(self, *, confidence: float = 0.9) -> Transcript:
        """The call as an engine would hand it over: five characters a second, a word a character, a pause between
        turns."""
        segments, now = [], 0.0
        for speaker, text in self.lines:
            words = tuple(
                Word(
                    text=char,
                    start_s=now + index / _CHARS_A_SECOND,
                    end_s=now + (index + 1) / _CHARS_A_SECOND,
                    confidence=confidence,
                )
                for index, char in enumerate(text)
                if not char.isspace()
            )
            end = now + len(text) / _CHARS_A_SECOND
            segments.append(
                Segment(speaker=speaker, start_s=now, end_s=end, text=text, confidence=confidence, words=words)
            )
            now = end + _PAUSE_S
        return Transcript(
            engine="written",
            model="corpus",
            model_sha256="",
            settings={},
            audio_seconds=now,
            decode_seconds=0.0,
            segments=tuple(segments),
        )


def read_corpus(paths: Iterable[Path]) -> list[GoldCall]:
    """All calls of the TOML files in ``paths``. Raises TranscriptionError naming the file and the call at fault."""
    calls: list[GoldCall] = []
    seen: set[str] = set()
    for path in sorted(paths):
        try:
            rows = list(tomllib.loads(path.read_text(encoding="utf-8"))["call"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise TranscriptionError(f"语料文件 {path.name} 无法读取：{error}") from error
        for row in rows:
            call = _call(row, path.name)
            if call.call_id in seen:
                raise TranscriptionError(f"{path.name}：编号 {call.call_id} 重复")
            seen.add(call.call_id)
            calls.append(call)
    return calls


def _call(row: dict[str, Any], file: str) -> GoldCall:
    name = f"{file}：{row.get('id', '?')}"
    if unknown := set(row) - _KNOWN:
        raise TranscriptionError(f"{name} 有未知字段：{'、'.join(sorted(unknown))}")
    try:
        at = row["at"]
        time = datetime.fromisoformat(row["time"]).replace(tzinfo=at.tzinfo) if "time" in row else None
        return GoldCall(
            call_id=row["id"],
            at=at,
            lines=tuple(_lines(row["said"])),
            kind=row["kind"],
            event_class=row["class"],
            time=time,
            place=row.get("place", ""),
            unit=row.get("unit", ""),
            phone=row.get("phone", ""),
            casualties={fate: row[fate] for fate in FATES.values() if fate in row},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TranscriptionError(f"{name} 不完整：{error}") from error


def _lines(said: str) -> Iterable[tuple[Speaker, str]]:
    for line in filter(None, map(str.strip, said.splitlines())):
        letter, _, text = line.partition(" ")
        yield _SPEAKERS[letter], text
