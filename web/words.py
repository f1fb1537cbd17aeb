"""Turning values into the words of the screens: times, lengths, happenings of a call. Pure but for the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from duty.domain.times import local
from web.catalogue import Catalogue

HIGH, MIDDLE = 0.8, 0.5
LINE_HZ = 8000
GAPS_SHOWN = 8
_DETAILS = (
    "extension",
    "status",
    "cause",
    "way",
    "target",
    "digit",
    "parties",
    "label",
    "source",
    "reason",
    "position",
)


def moment(instant: datetime | None) -> str:
    """``2026年11月23日 16:05:08`` in Shanghai."""
    return f"{local(instant):%Y年%m月%d日 %H:%M:%S}" if instant else ""


def minute(instant: datetime | None) -> str:
    """``2026-11-23 16:05`` in Shanghai, for lists."""
    return f"{local(instant):%Y-%m-%d %H:%M}" if instant else ""


def hour(instant: datetime | None) -> str:
    """``16:05`` in Shanghai, where the day stands beside it."""
    return f"{local(instant):%H:%M}" if instant else ""


def clock(instant: datetime | None) -> str:
    """``16:05:08`` in Shanghai."""
    return f"{local(instant):%H:%M:%S}" if instant else ""


def official(instant: datetime | None) -> str:
    """``2026年11月23日16时05分``, as documents write it."""
    if instant is None:
        return ""
    shown = local(instant)
    return f"{shown.year}年{shown.month}月{shown.day}日{shown.hour}时{shown.minute:02d}分"


def iso(instant: datetime | None) -> str:
    """For scripts."""
    return instant.isoformat() if instant else ""


def length(seconds: float | None) -> str:
    """``3分05秒``; an empty text for nothing."""
    if seconds is None:
        return ""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}小时{minutes:02d}分{rest:02d}秒"
    return f"{minutes}分{rest:02d}秒" if minutes else f"{rest}秒"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelGaps:
    """Where one side's voice is missing within the call: how often, how long in all, and the longest stretches in s, in
    their order."""

    speaker: str
    count: int
    seconds: float
    shown: tuple[tuple[float, float], ...]


def gaps(noted: Sequence[Sequence[Any]], samples: int) -> list[ChannelGaps]:
    """The gaps of a recording of ``samples`` at 8 kHz, as ``[speaker, first sample, samples]``. What is missing before
    a side's first sound and after its last is no loss: it had not begun or had hung up."""
    found = []
    for speaker in ("caller", "officer"):
        within = [
            (start, length) for of, start, length in noted if of == speaker and start > 0 and start + length < samples
        ]
        if within:
            longest = sorted(sorted(within, key=lambda gap: -gap[1])[:GAPS_SHOWN])
            found.append(
                ChannelGaps(
                    speaker=speaker,
                    count=len(within),
                    seconds=sum(length for _, length in within) / LINE_HZ,
                    shown=tuple((start / LINE_HZ, (start + length) / LINE_HZ) for start, length in longest),
                )
            )
    return found


def between(start: datetime | None, end: datetime | None) -> str:
    """The time from ``start`` to ``end`` in words."""
    return length((end - start).total_seconds()) if start and end else ""


def position(seconds: float) -> str:
    """``03:05``, a place in a recording."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"


def confidence(value: float) -> str:
    """``high``, ``middle`` or ``low``: an officer judges three steps, not per cents."""
    return "high" if value >= HIGH else "middle" if value >= MIDDLE else "low"


def person(contact: Any) -> str:
    """A contact in one line."""
    return " ".join(part for part in (contact.organisation, contact.name, contact.title) if part)


def happening(t: Catalogue, kind: str, data: Mapping[str, Any]) -> str:
    """One event of a call in a sentence; details another process wrote follow in brackets."""
    sentence = t.known(f"call_event.{kind}", kind)
    details = [_detail(t, name, data[name]) for name in _DETAILS if data.get(name) not in (None, "")]
    return f"{sentence}（{'，'.join(details)}）" if details else sentence


def reason(t: Catalogue, code: str) -> str:
    """Why a call ended, as telephony codes it: ``no_answer``, ``phone_486``, ``forward_refer``, ``bad_answer: why``."""
    head, _, rest = code.partition(":")
    if head.startswith("phone_") and head[6:].isdigit():
        return t("reason_phone", status=head[6:])
    if head.startswith("network_") and head[8:].isdigit():
        return t("reason_network", status=head[8:])
    if head.startswith("forward_"):
        return t("reason_forward", way=t.known(f"way.{head[8:]}", head[8:]))
    shown = t.known(f"reason.{head}", head)
    return f"{shown}：{rest.strip()}" if rest else shown


def _detail(t: Catalogue, name: str, value: Any) -> str:
    shown = str(value)
    if name == "cause" and (known := t.known(f"cause.{value}", "")):
        return known
    if name == "way":
        shown = t.known(f"way.{value}", shown)
    elif name == "reason":
        shown = reason(t, shown)
    return t(f"detail.{name}", value=shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A run of a segment's text; with times where it can be heard by itself. Seconds from the recording's start."""

    text: str
    start_s: float | None = None
    end_s: float | None = None


def pieces(text: str, words: Sequence[Sequence[Any]], start_s: float, end_s: float) -> list[Piece]:
    """A segment cut at its words, the punctuation between them kept; the whole of it where no word has a time.

    Each word is ``[text, start_s, end_s, confidence]``. A word that the text does not contain is left out: the text
    shown is never changed.
    """
    found: list[Piece] = []
    at = 0
    for word, begins, ends, *_ in words:
        place = text.find(word, at) if word else -1
        if place < 0:
            continue
        if place > at:
            found.append(Piece(text=text[at:place]))
        found.append(Piece(text=word, start_s=float(begins), end_s=float(ends)))
        at = place + len(word)
    if not found:
        return [Piece(text=text, start_s=start_s, end_s=end_s)]
    if at < len(text):
        found.append(Piece(text=text[at:]))
    return found
