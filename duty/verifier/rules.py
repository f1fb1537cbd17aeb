"""What each kind of link must agree with: its entry, the number before it, its identity checks, its call, its WAV."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

from duty.verifier.canon import as_moment, instant, nfc, parsed
from duty.verifier.evidence import Evidence, wav_problem
from duty.verifier.source import Row, loaded

Problem = tuple[str, str]
"""A code of report.WORDS and its detail."""

_CHINA = timezone(timedelta(hours=8))
_GRACE = timedelta(minutes=1)
"""Two processes read their clocks before they take turns at writing: instants this close prove no order."""

_SUBJECT = {"kind", "entry", "year", "number", "number_text", "by", "by_id", "at"}
_FORMS = {
    "finalize": _SUBJECT | {"unit", "content", "repeated_back_at", "identity", "call"},
    "amend": _SUBJECT | {"changes", "reason"},
    "void": _SUBJECT | {"reason"},
}
_CONTENT = (
    "event_time",
    "place",
    "event",
    "caller_unit",
    "caller_name",
    "caller_title",
    "caller_phone",
    "casualties",
    "measures",
    "request",
    "category",
    "remarks",
)


@dataclass(slots=True)
class Story:
    """What the links walked so far tell of their unit's entries: the finalized ones with their number of amendments,
    the voided ones, and each year's last number."""

    finalized: dict[Any, int] = field(default_factory=dict)
    voided: set[Any] = field(default_factory=set)
    last_number: dict[int, int] = field(default_factory=dict)

    @property
    def finalized_count(self) -> int:
        """Numbered entries."""
        return len(self.finalized)


def first_problem(link: Row, unit_code: str, evidence: Evidence, story: Story) -> Problem | None:
    """The first thing a well-formed link disagrees with, or None; the story then includes it."""
    record = parsed(link["payload"])["record"]
    kind = record.get("kind")
    if not isinstance(kind, str) or link["kind"] != kind or kind not in _FORMS:
        return "kind_differs", ""
    if set(record) != _FORMS[kind]:
        return "record_form", ", ".join(sorted(set(record) ^ _FORMS[kind]))
    entry = evidence.entries.get(link["entry_id"])
    if entry is None or entry["unit_id"] != link["unit_id"]:
        return "entry_missing", ""
    problem = _subject_problem(record, link, entry)
    if problem is not None:
        return problem
    if kind == "finalize":
        return _finalize_problem(record, entry, unit_code, evidence, story)
    if entry["id"] not in story.finalized:
        return "not_finalized", ""
    if entry["id"] in story.voided:
        return "already_void", ""
    if kind == "void":
        story.voided.add(entry["id"])
        return None if entry["state"] == "voided" else ("entry_differs", "state")
    return _amend_problem(record, entry, evidence, story)


def _subject_problem(record: dict[str, Any], link: Row, entry: Row) -> Problem | None:
    if differs(record["entry"], link["entry_id"]):
        return "link_differs", "entry"
    if differs(record["at"], instant(link["at"])):
        return "link_differs", "at"
    for name in ("year", "number", "number_text"):
        if differs(record[name], entry[name]):
            return "entry_differs", name
    return None


def _finalize_problem(
    record: dict[str, Any], entry: Row, unit_code: str, evidence: Evidence, story: Story
) -> Problem | None:
    if entry["id"] in story.finalized:
        return "finalized_twice", ""
    problem = (
        _number_problem(record, story)
        or _entry_problem(record, entry, unit_code)
        or _identity_problem(record, evidence.checks.get(entry["id"], []))
        or _call_problem(record, entry, evidence)
    )
    if problem is None:
        story.finalized[entry["id"]] = 0
    return problem


def _number_problem(record: dict[str, Any], story: Story) -> Problem | None:
    year, number, moment = record["year"], record["number"], as_moment(record["at"])
    if moment is None or differs(year, moment.astimezone(_CHINA).year):
        return "year_differs", ""
    due = story.last_number.get(year, 0) + 1
    if differs(number, due):
        return "number_gap", str(due)
    story.last_number[year] = due
    return None


def _entry_problem(record: dict[str, Any], entry: Row, unit_code: str) -> Problem | None:
    """The columns of the entry against what was signed; ``by`` is the name then, and names change."""
    if entry["state"] not in ("finalized", "voided"):
        return "entry_differs", "state"
    columns = {
        "unit": unit_code,
        "by_id": entry["finalized_by"],
        "at": instant(entry["finalized_at"]),
        "repeated_back_at": instant(entry["repeated_back_at"]),
    }
    for name, value in columns.items():
        if differs(record[name], value):
            return "entry_differs", name
    content = record["content"]
    if not isinstance(content, dict) or set(content) != set(_CONTENT):
        return "record_form", "content"
    return next((("entry_differs", name) for name in _CONTENT if differs(content[name], entry[name])), None)


def _identity_problem(record: dict[str, Any], checks: list[Row]) -> Problem | None:
    rebuilt = [
        {
            "method": check["method"],
            "verdict": check["verdict"],
            "note": check["note"],
            "number_called": check["number_called"],
            "call": check["call_id"],
            "by_id": check["officer_id"],
            "at": instant(check["at"]),
        }
        for check in checks
    ]
    return ("identity_differs", "") if differs(record["identity"], rebuilt) else None


def _call_problem(record: dict[str, Any], entry: Row, evidence: Evidence) -> Problem | None:
    told = record["call"]
    if told is None or entry["call_id"] is None:
        return None if told is entry["call_id"] else ("call_differs", "id")
    call = evidence.calls.get(entry["call_id"])
    if call is None:
        return "call_missing", ""
    number = call["caller_number"] if call["direction"] == "inbound" else call["callee_number"]
    rebuilt = {
        "id": call["id"],
        "direction": call["direction"],
        "number": number,
        "arrived_at": instant(call["arrived_at"]),
        "answered_at": instant(call["answered_at"]),
    }
    if not isinstance(told, dict) or set(told) != {*rebuilt, "recording_sha256"}:
        return "record_form", "call"
    if told["answered_at"] is None and _later(call["answered_at"], record["at"]):
        rebuilt["answered_at"] = None
    for name, value in rebuilt.items():
        if differs(told[name], value):
            return "call_differs", name
    return _recording_problem(told["recording_sha256"], record["at"], call["id"], evidence)


def _recording_problem(told: object, at: object, call_id: object, evidence: Evidence) -> Problem | None:
    row = evidence.recordings.get(call_id, {"sha256": "", "path": "", "samples": 0, "sealed_at": None})
    if told == "" and row["sha256"] != "" and _later(row["sealed_at"], at):
        evidence.warn("recording_after_finalize")
    elif told != row["sha256"]:
        return "recording_row_differs", ""
    if row["sha256"] == "" or evidence.recordings_root is None:
        return None
    gone = row.get("wav_released_at") is not None or row.get("removed_at") is not None
    if gone or row["call_id"] in evidence.locked:
        return None  # by what right, and what stands for it, the custody chain has to tell
    if not isinstance(row["path"], str) or not row["path"] or "\0" in row["path"]:
        return "recording_missing", "path"
    return wav_problem(Path(evidence.recordings_root) / row["path"], row["sha256"], row["samples"])


def _amend_problem(record: dict[str, Any], entry: Row, evidence: Evidence, story: Story) -> Problem | None:
    nth = story.finalized[entry["id"]]
    amendments = evidence.amendments.get(entry["id"], [])
    if nth >= len(amendments):
        return "amendment_differs", ""
    row = amendments[nth]
    pairs = (
        (record["changes"], loaded(row["changes"])),
        (record["reason"], row["reason"]),
        (record["by_id"], row["officer_id"]),
        (record["at"], instant(row["at"])),
    )
    if any(differs(told, kept) for told, kept in pairs):
        return "amendment_differs", ""
    story.finalized[entry["id"]] = nth + 1
    return None


def _later(kept: object, at: object) -> bool:
    """True when ``kept`` may have come after ``at``, so that a link written at ``at`` could not know of it."""
    moment, signed = as_moment(kept), as_moment(at)
    return moment is not None and signed is not None and signed - moment <= _GRACE


def differs(told: object, kept: object) -> bool:
    """True unless both are the same value of one kind, text compared in NFC; ``1`` is neither ``True`` nor 1.0."""
    if isinstance(told, str) and isinstance(kept, str):
        return nfc(told) != nfc(kept)
    if isinstance(told, list) and isinstance(kept, list):
        return len(told) != len(kept) or any(differs(a, b) for a, b in zip(told, kept, strict=True))
    if isinstance(told, dict) and isinstance(kept, dict):
        return told.keys() != kept.keys() or any(differs(value, kept[key]) for key, value in told.items())
    return type(told) is not type(kept) or told != kept
