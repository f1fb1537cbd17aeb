"""The walk along the chain of evidence, and whether everything it tells of is still there: each message with its bytes,
each row's words, and for each refusal in a call's events the message that was refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from duty.verifier.canon import GENESIS, digest, instant, nfc, parsed, written
from duty.verifier.report import EvidenceReport, Finding, finding
from duty.verifier.source import Row, Source, loaded, rows

Problem = tuple[str, str]

_FORM = ("evidence", "call", "unit", "line", "way", "target", "at", "source", "sha256")
_LINKS = (
    "SELECT l.position, l.evidence_id, l.payload, l.previous, l.hash, e.id AS id, e.call_id, e.unit_id, e.line_number,"
    " e.way, e.target, e.at, e.source, e.sha256, e.raw FROM evidence_links l"
    " LEFT JOIN evidence e ON e.id = l.evidence_id ORDER BY l.position"
)
_UNLINKED = (
    "SELECT e.id, e.call_id FROM evidence e LEFT JOIN evidence_links l ON l.evidence_id = e.id"
    " WHERE l.position IS NULL ORDER BY e.id LIMIT 1"
)
_EVENTS = "SELECT call_id, at, data FROM call_events WHERE kind = 'forward_blocked' ORDER BY call_id, at, id"
_REFUSALS = (
    "SELECT call_id, at, way, target FROM evidence WHERE call_id IS NOT NULL AND way <> '' ORDER BY call_id, at, id"
)

Refusal = tuple[str, str, str, str]
"""A refusal's call, instant, way and target."""


def verify_evidence(source: Source, anchor: tuple[int, str] | None) -> EvidenceReport:
    """Every link and its row until the first wrong thing, then the events against the rows."""
    position, previous, broken = 0, GENESIS, None
    for link in _pages(source, _LINKS):
        problem = _link_problem(link, position + 1, previous) or _row_problem(link)
        if problem is None and anchor and anchor[0] == position + 1 and anchor[1] != link["hash"]:
            problem = ("evidence_anchor_differs", "")
        if problem is not None:
            broken = _found(problem, position + 1, link["call_id"])
            break
        position, previous = position + 1, link["hash"]
    if broken is None:
        broken = _end_problem(source, position, anchor)
    return EvidenceReport(links=position, head_hash=previous, broken=broken)


def _end_problem(source: Source, position: int, anchor: tuple[int, str] | None) -> Finding | None:
    """What only the whole chain can tell: was its end cut off, is anything outside it?"""
    if anchor and anchor[0] > position:
        return _found(("evidence_anchor_missing", ""), position + 1, None)
    for row in rows(source, _UNLINKED):
        return _found(("evidence_unlinked", str(row["id"])), position + 1, row["call_id"])
    events, refusals = _events(source), _refusals(source)
    event, refusal = next(events, None), next(refusals, None)
    while event is not None or refusal is not None:
        if event != refusal:
            lost = event is None or (refusal is not None and refusal < event)
            first = refusal if lost else event
            return _found(("evidence_event_differs" if lost else "evidence_missing", ""), 0, first and first[0])
        event, refusal = next(events, None), next(refusals, None)
    return None


def _pages(source: Source, query: str) -> Iterator[Row]:
    for page in source.pages(query):
        yield from page


def _sorted(found: Iterator[Refusal]) -> Iterator[Refusal]:
    """In order also where two stand at one instant: those are few, a call's are kept together."""
    held: list[Refusal] = []
    for one in found:
        if held and held[0][0] != one[0]:
            yield from sorted(held)
            held = []
        held.append(one)
    yield from sorted(held)


def _events(source: Source) -> Iterator[Refusal]:
    def told() -> Iterator[Refusal]:
        for row in _pages(source, _EVENTS):
            data = loaded(row["data"])
            facts = data if isinstance(data, dict) else {}
            yield str(row["call_id"]), instant(row["at"]) or "", str(facts.get("way")), str(facts.get("target"))

    return _sorted(told())


def _refusals(source: Source) -> Iterator[Refusal]:
    def told() -> Iterator[Refusal]:
        for row in _pages(source, _REFUSALS):
            yield str(row["call_id"]), instant(row["at"]) or "", str(row["way"]), str(row["target"])

    return _sorted(told())


def _link_problem(link: Row, position: int, previous: str) -> Problem | None:
    if link["position"] != position:
        return "evidence_link_missing", ""
    if link["previous"] != previous:
        return "evidence_previous_differs", ""
    payload = link["payload"]
    try:
        if not isinstance(payload, str) or digest(payload) != link["hash"]:
            return "evidence_hash_differs", ""
        content = parsed(payload)
        if written(content) != payload:
            return "evidence_malformed", "payload"
    except (ValueError, RecursionError):
        return "evidence_malformed", "payload"
    record = content.get("record")
    if not isinstance(record, dict) or set(record) != set(_FORM) or content.get("previous") != previous:
        return "evidence_malformed", "record"
    if content.get("position") != position or record["evidence"] != link["evidence_id"]:
        return "evidence_malformed", "position"
    return None


def _row_problem(link: Row) -> Problem | None:
    """The row is there, says what its link says, and its bytes are those that were hashed."""
    if link["id"] is None:
        return "evidence_deleted", str(link["evidence_id"])
    record = parsed(link["payload"])["record"]
    told: dict[str, Any] = {
        "evidence": link["id"],
        "call": link["call_id"],
        "unit": link["unit_id"],
        "line": link["line_number"],
        "way": link["way"],
        "target": link["target"],
        "at": instant(link["at"]),
        "source": link["source"],
        "sha256": link["sha256"],
    }
    for name in _FORM:
        value = told[name]
        if record[name] != (nfc(value) if isinstance(value, str) else value):
            return "evidence_row_differs", name
    raw = link["raw"]
    if not isinstance(raw, bytes | memoryview) or hashlib.sha256(raw).hexdigest() != record["sha256"]:
        return "evidence_altered", ""
    return None


def _found(problem: Problem, position: int, call: object) -> Finding:
    return finding(problem[0], unit="", position=position, detail=problem[1], call=str(call or ""))
