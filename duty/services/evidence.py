"""What a forward was refused by: each raw message with what the guard said of it, in a hash chain of its own, and who
may look at it (requirements 6.1-e, 6.2-c, 7.4-a).

A row and its link are one transaction. ``dutyline verify`` walks the chain: an altered message, an altered row, a row
that is gone and a refusal in a call's events without its message are found.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from duty.domain.chain import Canonical, forge
from duty.domain.errors import NotFound
from duty.domain.rights import Actor, Right
from duty.domain.texts import signalled
from duty.domain.times import Clock, to_text
from duty.services.audit import note
from duty.services.chaining import next_link
from duty.store.database import Store, hold
from duty.store.tables import EvidenceLinkRow, EvidenceRow

_LOCK = 0x6576_6964
SOURCE_CHARS, LINE_CHARS = 80, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvidence:
    """A message to keep. ``way`` and ``target`` are the guard's words on it, empty where it refused nothing;
    ``call_id`` None outside any call, ``unit_id`` None where no line of ours is concerned."""

    call_id: str | None
    unit_id: int | None
    line_number: str
    at: datetime
    source: str
    raw: bytes
    way: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceView:
    """One kept message without its bytes; ``position`` is that of its link."""

    evidence_id: int
    position: int
    call_id: str | None
    line_number: str
    way: str
    target: str
    at: datetime
    source: str
    sha256: str
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceLook:
    """A message as somebody looks at it. ``whole``: its bytes still are what its link was made over."""

    view: EvidenceView
    raw: bytes
    whole: bool


def keep(session: Session, new: NewEvidence) -> None:
    """Write the message and its link in the running transaction."""
    hold(session, _LOCK)
    row = EvidenceRow(
        call_id=new.call_id,
        unit_id=new.unit_id,
        line_number=signalled(new.line_number, LINE_CHARS),
        way=new.way,
        target=signalled(new.target),
        at=new.at,
        source=signalled(new.source, SOURCE_CHARS),
        sha256=hashlib.sha256(new.raw).hexdigest(),
        raw=new.raw,
    )
    session.add(row)
    session.flush()
    link = next_link(session, EvidenceLinkRow, _record(row))
    session.add(
        EvidenceLinkRow(
            position=link.position,
            evidence_id=row.id,
            payload=link.payload,
            previous=link.previous,
            hash=link.hash,
        )
    )
    session.flush()


def _record(row: EvidenceRow) -> dict[str, Canonical]:
    return {
        "evidence": row.id,
        "call": row.call_id,
        "unit": row.unit_id,
        "line": row.line_number,
        "way": row.way,
        "target": row.target,
        "at": to_text(row.at),
        "source": row.source,
        "sha256": row.sha256,
    }


class EvidenceRoom:
    """Looking at what was kept. A list shows no message; whoever opens one is in the audit log."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def page(self, actor: Actor, *, limit: int, offset: int = 0, call_id: str | None = None) -> list[EvidenceView]:
        """Newest first, of the units the person sees, of one call where ``call_id`` is given. Raises Forbidden."""
        query = self._visible(actor, call_id).order_by(EvidenceRow.id.desc()).limit(limit).offset(offset)
        with self._store.reading() as session:
            return [_view(row, link) for row, link in session.execute(query)]

    def count(self, actor: Actor) -> int:
        """How many there are in all. Raises Forbidden."""
        with self._store.reading() as session:
            return session.scalar(select(func.count()).select_from(self._visible(actor, None).subquery())) or 0

    def look(self, actor: Actor, evidence_id: int, *, taken_away: bool = False) -> EvidenceLook:
        """The message itself; that it was looked at, or ``taken_away`` as a file, is in the audit log first.

        Raises Forbidden without the right; NotFound, also for the evidence of a unit the person may not see.
        """
        actor.require(Right.SEE_EVIDENCE)
        with self._store.writing() as session:
            found = session.execute(self._visible(actor, None).where(EvidenceRow.id == evidence_id)).first()
            if found is None:
                raise NotFound("evidence_not_found")
            row, link = found
            note(
                session,
                at=self._clock(),
                actor=actor,
                action="take_evidence" if taken_away else "see_evidence",
                subject=f"evidence:{row.id}",
                data={"call": row.call_id or "", "way": row.way, "sha256": row.sha256},
            )
            view = _view(row, link)
            whole = hashlib.sha256(row.raw).hexdigest() == row.sha256 and _is_over(link, row)
            return EvidenceLook(view=view, raw=row.raw, whole=whole)

    def _visible(self, actor: Actor, call_id: str | None) -> Select[EvidenceRow, EvidenceLinkRow]:
        scope = actor.unit_scope(Right.SEE_EVIDENCE)
        query = select(EvidenceRow, EvidenceLinkRow).outerjoin(
            EvidenceLinkRow, EvidenceLinkRow.evidence_id == EvidenceRow.id
        )
        if scope is not None:
            query = query.where(EvidenceRow.unit_id == scope)
        return query if call_id is None else query.where(EvidenceRow.call_id == call_id)


def _is_over(link: EvidenceLinkRow | None, row: EvidenceRow) -> bool:
    """The link holds what the row says: made anew from the row it has the same hash."""
    return link is not None and (
        forge(position=link.position, previous=link.previous, record=_record(row)).hash == link.hash
    )


def _view(row: EvidenceRow, link: EvidenceLinkRow | None) -> EvidenceView:
    return EvidenceView(
        evidence_id=row.id,
        position=link.position if link else 0,
        call_id=row.call_id,
        line_number=row.line_number,
        way=row.way,
        target=row.target,
        at=row.at,
        source=row.source,
        sha256=row.sha256,
        hash=link.hash if link else "",
    )
