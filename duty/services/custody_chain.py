"""The chain of custody over all recordings: each act on one, and each look at a sealed one, is a link that cannot be
taken out again (requirements 6.2-c, 6.5-a)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from duty.domain.chain import Canonical
from duty.domain.times import to_text
from duty.services.chaining import next_link
from duty.store.database import hold
from duty.store.tables import CustodyRow

_LOCK = 0x6475_7479_0001


def append_link(session: Session, act: str, call_id: str, *, at: datetime, facts: Mapping[str, Canonical]) -> None:
    """The next link, in the running transaction."""
    hold(session, _LOCK)
    link = next_link(
        session,
        CustodyRow,
        {"act": act, "call": call_id, "at": to_text(at), **facts},
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
