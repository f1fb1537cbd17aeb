"""The walk along every unit's chain, link by link, until the first that is broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from duty.verifier.canon import GENESIS, digest, parsed, written
from duty.verifier.evidence import Evidence
from duty.verifier.guarded import verify_evidence
from duty.verifier.handovers import verify_handovers
from duty.verifier.recordings import verify_recordings
from duty.verifier.report import CUSTODY, EVIDENCE, HANDOVERS, Finding, Report, UnitReport, finding
from duty.verifier.rules import Problem, Story, differs, first_problem
from duty.verifier.secrets import MasterKeys
from duty.verifier.source import Row, Source, opened, rows

Anchor = Mapping[str, tuple[int, str]]

_LINKS = "(SELECT count(*) FROM chain_links l WHERE l.entry_id = e.id AND l.kind = '{}')"
_AMENDMENTS = "(SELECT count(*) FROM amendments a WHERE a.entry_id = e.id)"
_ORPHANS = f"""
SELECT * FROM (
    SELECT e.id AS entry_id, e.year, e.number, e.number_text, CASE
        WHEN e.state = 'draft' AND coalesce(
            cast(e.year AS text), cast(e.number AS text), e.number_text,
            cast(e.finalized_at AS text), cast(e.finalized_by AS text)) IS NOT NULL THEN 'draft_numbered'
        WHEN e.state <> 'draft' AND {_LINKS.format("finalize")} = 0 THEN 'entry_unlinked'
        WHEN {_AMENDMENTS} > {_LINKS.format("amend")} THEN 'amendment_unlinked'
        WHEN e.state = 'voided' AND {_LINKS.format("void")} = 0 THEN 'void_unlinked'
        END AS what
    FROM entries e WHERE e.unit_id = ?) o
WHERE what IS NOT NULL ORDER BY year, number, entry_id LIMIT 1
"""  # noqa: S608 - composed of the constants above


def verify(
    database: str,
    recordings_root: Path | None = None,
    *,
    expected_head: Anchor | None = None,
    keys: MasterKeys | None = None,
) -> Report:
    """Check every book of ``database`` (SQLite path or URL, ``postgresql://`` URL); never writes to it.

    With ``recordings_root`` every recording's files are read and compared too. ``expected_head`` is an earlier
    report's ``heads``, kept off the machine: without it, somebody who cuts off the end of a chain together with the
    book's head and the entries themselves leaves no trace. By ``keys``, master keys, what is sealed for
    secrecy is opened too; without them it is compared as it lies there. Raises CannotVerify.
    """
    with opened(database) as source:
        anchors = dict(expected_head or {})
        kept, guarded = anchors.pop(CUSTODY, None), anchors.pop(EVIDENCE, None)
        handed = anchors.pop(HANDOVERS, None)
        warnings: list[Finding] = []
        units = [
            _Walk(source, unit, Evidence(source, recordings_root), anchors.pop(unit["code"], None), warnings).report()
            for unit in _units(source)
        ]
        recordings = verify_recordings(source, recordings_root, kept, keys)
        evidence = verify_evidence(source, guarded)
        handovers = verify_handovers(source, handed)
    units += [_vanished(code, position) for code, (position, _) in sorted(anchors.items()) if position]
    return Report(
        units=tuple(units),
        warnings=tuple(warnings),
        recordings=recordings,
        evidence=evidence,
        handovers=handovers,
    )


def _units(source: Source) -> list[Row]:
    """Every unit that has a row, a book, a link or an entry; the code of one without a row is its id."""
    found = rows(
        source,
        "SELECT k.id AS id, u.code AS code, b.position AS head_position, b.hash AS head_hash FROM"
        " (SELECT id FROM units UNION SELECT unit_id FROM books UNION SELECT unit_id FROM chain_links"
        " UNION SELECT unit_id FROM entries) k LEFT JOIN units u ON u.id = k.id LEFT JOIN books b ON b.unit_id = k.id"
        " ORDER BY k.id",
    )
    return [{**row, "code": row["code"] or f"#{row['id']}", "known": row["code"] is not None} for row in found]


def _vanished(code: str, position: int) -> UnitReport:
    broken = finding("anchor_missing", unit=code, position=position)
    return UnitReport(code=code, links=0, entries=0, head_hash=GENESIS, broken=broken)


@dataclass(slots=True)
class _Walk:
    """One unit's walk: what was seen so far."""

    source: Source
    unit: Row
    evidence: Evidence
    anchor: tuple[int, str] | None
    warnings: list[Finding]
    position: int = 0
    previous: str = GENESIS
    story: Story = field(default_factory=Story)

    def report(self) -> UnitReport:
        """Walks to the first break or the end."""
        broken = self._first_broken()
        return UnitReport(
            code=self.unit["code"],
            links=self.position,
            entries=self.story.finalized_count,
            head_hash=self.previous,
            broken=broken,
        )

    def _first_broken(self) -> Finding | None:
        query = "SELECT * FROM chain_links WHERE unit_id = ? ORDER BY position, id"
        for page in self.source.pages(query, self.unit["id"]):
            self.evidence.gather(page)
            for link in page:
                if broken := self._broken_link(link):
                    return broken
                self.position, self.previous = self.position + 1, link["hash"]
        return self._broken_end()

    def _broken_link(self, link: Row) -> Finding | None:
        position = self.position + 1
        if not self.unit["known"]:
            return self._found(position, ("unit_missing", ""), link)
        if link["position"] != position:
            return self._found(position, ("link_missing", ""), self._orphan())
        problem = self._broken_form(link) or first_problem(link, self.unit["code"], self.evidence, self.story)
        if problem is None and self.anchor and self.anchor[0] == position and self.anchor[1] != link["hash"]:
            problem = ("anchor_differs", "")
        for warning in self.evidence.taken_warnings():
            self.warnings.append(self._found(position, warning, link))
        return self._found(position, problem, link) if problem else None

    def _broken_form(self, link: Row) -> Problem | None:
        """The link in itself: its place, its hash, its canonical content."""
        if link["previous"] != self.previous:
            return "previous_differs", ""
        payload = link["payload"]
        try:
            if not isinstance(payload, str) or digest(payload) != link["hash"]:
                return "hash_differs", ""
            content = parsed(payload)
            if written(content) != payload:
                return "payload_not_canonical", ""
        except (ValueError, RecursionError) as error:
            return "payload_malformed", str(error)
        if set(content) != {"position", "previous", "record"} or not isinstance(content["record"], dict):
            return "payload_malformed", "position, previous, record"
        if differs(content["position"], link["position"]) or content["previous"] != link["previous"]:
            return "payload_misplaced", ""
        return None

    def _broken_end(self) -> Finding | None:
        """What only the whole chain can tell: was anything cut off, is anything outside it?"""
        head, last, past = self.unit["head_position"], self.position, self.position + 1
        orphan = self._orphan()
        if head is None and (last or orphan):
            return self._found(1, ("head_missing", ""), orphan)
        if head is not None and head != last:
            behind = isinstance(head, int) and 0 <= head < last
            return self._found(head + 1 if behind else past, ("head_behind" if behind else "links_missing", ""), orphan)
        if head is not None and self.unit["head_hash"] != self.previous:
            return self._found(max(last, 1), ("head_differs", ""), None)
        if self.anchor and self.anchor[0] > last:
            return self._found(past, ("anchor_missing", ""), orphan)
        if orphan:
            return self._found(past, (orphan["what"], ""), orphan)
        return None

    def _orphan(self) -> Row | None:
        """The first entry that claims something no link tells: its number, an amendment, its voiding."""
        return next(iter(rows(self.source, _ORPHANS, self.unit["id"])), None)

    def _found(self, position: int, problem: Problem, about: Row | None) -> Finding:
        what, detail = problem
        row = about or {}
        number = str(row.get("number_text") or self.evidence.number_text(row.get("entry_id")))
        printable = number.encode("utf-8", "replace").decode()
        return finding(what, unit=self.unit["code"], position=position, entry_number=printable, detail=detail)
