"""The walk along the chain of handovers: each link whole, its row as signed, and the unit's book as it was then."""

from __future__ import annotations

from typing import Any

from duty.verifier.canon import GENESIS, digest, instant, parsed, written
from duty.verifier.report import Finding, HandoverReport, finding
from duty.verifier.rules import differs
from duty.verifier.source import Row, Source, loaded, rows

Problem = tuple[str, str]

_PLAIN = ("notes", "documents", "given_by", "taken_by", "excuse", "excused_by")
_TIMES = ("given_at", "taken_at", "excused_at")
_JSON = ("sheet", "excused_entries")
_FORM = {"handover", "unit", *_PLAIN, *_TIMES, *_JSON}
_LINKS = (
    "SELECT l.position, l.handover_id, l.payload, l.previous, l.hash, h.id AS id, h.unit_id, h.state, h.sheet, h.notes,"
    " h.documents, h.given_by, h.given_at, h.taken_by, h.taken_at, h.excuse, h.excused_by, h.excused_at,"
    " h.excused_entries FROM handover_links l LEFT JOIN handovers h ON h.id = l.handover_id ORDER BY l.position"
)
_UNLINKED = (
    "SELECT h.id FROM handovers h LEFT JOIN handover_links l ON l.handover_id = h.id"
    " WHERE l.position IS NULL AND (h.state = 'taken' OR h.taken_at IS NOT NULL) ORDER BY h.id LIMIT 1"
)
_BOOK = "SELECT hash FROM chain_links WHERE unit_id = ? AND position = ?"


def verify_handovers(source: Source, anchor: tuple[int, str] | None) -> HandoverReport:
    """Every link, its row and the book it names, until the first wrong thing."""
    position, previous, broken = 0, GENESIS, None
    for link in (link for page in list(source.pages(_LINKS)) for link in page):
        problem = _link_problem(link, position + 1, previous) or _row_problem(link) or _book_problem(source, link)
        if problem is None and anchor and anchor[0] == position + 1 and anchor[1] != link["hash"]:
            problem = ("handover_anchor_differs", "")
        if problem is not None:
            broken = _found(problem, position + 1)
            break
        position, previous = position + 1, link["hash"]
    if broken is None and anchor and anchor[0] > position:
        broken = _found(("handover_anchor_missing", ""), position + 1)
    if broken is None:
        lost = next(iter(rows(source, _UNLINKED)), None)
        broken = _found(("handover_unlinked", str(lost["id"])), position + 1) if lost else None
    return HandoverReport(links=position, head_hash=previous, broken=broken)


def _link_problem(link: Row, position: int, previous: str) -> Problem | None:
    if link["position"] != position:
        return "handover_link_missing", ""
    if link["previous"] != previous:
        return "handover_previous_differs", ""
    payload = link["payload"]
    try:
        if not isinstance(payload, str) or digest(payload) != link["hash"]:
            return "handover_hash_differs", ""
        content = parsed(payload)
        if written(content) != payload:
            return "handover_malformed", "payload"
    except (ValueError, RecursionError):
        return "handover_malformed", "payload"
    record = content.get("record")
    if not isinstance(record, dict) or set(record) != _FORM or content.get("previous") != previous:
        return "handover_malformed", "record"
    if content.get("position") != position or differs(record["handover"], link["handover_id"]):
        return "handover_malformed", "position"
    return None


def _row_problem(link: Row) -> Problem | None:
    """The row is there and says what was signed."""
    if link["id"] is None:
        return "handover_deleted", str(link["handover_id"])
    record = parsed(link["payload"])["record"]
    told: dict[str, Any] = {"unit": link["unit_id"]}
    told |= {name: link[name] for name in _PLAIN}
    told |= {name: instant(link[name]) for name in _TIMES}
    told |= {name: loaded(link[name]) for name in _JSON}
    wrong = next((name for name, value in told.items() if differs(record[name], value)), None)
    if wrong is not None:
        return "handover_row_differs", wrong
    return None if link["state"] == "taken" else ("handover_row_differs", "state")


def _book_problem(source: Source, link: Row) -> Problem | None:
    """The unit's book at the position that the sheet names has the hash that the sheet names."""
    record = parsed(link["payload"])["record"]
    book = record["sheet"].get("book") if isinstance(record["sheet"], dict) else None
    if not isinstance(book, dict) or set(book) != {"position", "hash"}:
        return "handover_malformed", "book"
    if book["position"] == 0:
        return None if book["hash"] == GENESIS else ("handover_book_differs", "")
    found = rows(source, _BOOK, record["unit"], book["position"])
    return None if len(found) == 1 and found[0]["hash"] == book["hash"] else ("handover_book_differs", "")


def _found(problem: Problem, position: int) -> Finding:
    return finding(problem[0], unit="", position=position, detail=problem[1])
