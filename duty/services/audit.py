"""Who did or looked at what: written in the transaction of the act itself (requirement 7.4-a)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from duty.domain.happenings import Json
from duty.domain.rights import Actor
from duty.store.tables import AuditRow


def note(
    session: Session,
    *,
    at: datetime,
    actor: Actor | None,
    action: str,
    subject: str,
    data: Mapping[str, Json] | None = None,
) -> None:
    """Add one line to the audit log. ``subject`` names the thing, e.g. ``entry:12``; ``actor`` None is the system."""
    session.add(
        AuditRow(
            at=at,
            officer_id=actor.officer_id if actor else None,
            unit_id=actor.unit_id if actor else None,
            action=action,
            subject=subject,
            data=dict(data or {}),
        )
    )
