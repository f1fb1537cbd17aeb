"""The chain of custody over all recordings: each act on one, and each look at a sealed one, is a link that cannot be
taken out again (requirements 6.2-c, 6.5-a)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from duty.domain.chain import GENESIS, Canonical, forge
from duty.domain.times import to_text
from duty.store.tables import CustodyRow

_LOCK = 0x6475_7479_0001
"""Of PostgreSQL: two processes append, and only one link can follow another. SQLite has one writer anyway."""


def append_link(session: Session, act: str, call_id: str, *, at: datetime, facts: Mapping[str, Canonical]) -> None:
    """The next link, in the running transaction."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    last = session.scalars(select(CustodyRow).order_by(CustodyRow.position.desc()).limit(1)).first()
    link = forge(
        position=last.position + 1 if last else 1,
        previous=last.hash if last else GENESIS,
        record={"act": act, "call": call_id, "at": to_text(at), **facts},
    )
    session.add(
        CustodyRow(
            position=link.position,
            call_id=call_id,
            at=at,
            act=act,
            payload=link.payload,
            previous=link.previous,
            hash=link.hash,
        )
    )
    session.flush()
