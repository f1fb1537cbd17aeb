"""查岗密码: the PIN by which an officer proves at the desk phone to be there (requirement 6.6-b).

Only its hash is kept. A PIN alone says who pressed it, so no two people of a unit may have the same; that a PIN is
taken is not told apart from that it is too simple, and one can try only a few times a day.
"""

from __future__ import annotations

from datetime import timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from duty.domain.errors import Refused
from duty.domain.linechecks import check_pin
from duty.domain.rights import Actor
from duty.domain.times import Clock
from duty.services.accounts import Accounts
from duty.services.audit import note
from duty.store.database import Store
from duty.store.tables import AuditRow, LineRow, OfficerRow

MAX_CHANGES = 5
CHANGES_WITHIN = timedelta(days=1)
_TRIED = "try_pin"


class Pins:
    """Setting a PIN, and whose it is. ``accounts`` check the password before a PIN is set."""

    def __init__(
        self, store: Store, clock: Clock, *, accounts: Accounts | None = None, hasher: PasswordHasher | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._accounts = accounts
        self._hasher = hasher or PasswordHasher()

    def is_set(self, actor: Actor) -> bool:
        """Whether the person has a PIN."""
        with self._store.reading() as session:
            return bool(session.get_one(OfficerRow, actor.officer_id).pin_hash)

    def set(self, actor: Actor, pin: str, *, password: str) -> None:
        """Give oneself a PIN of 4 to 8 digits. Raises BadCredential, Refused."""
        if self._accounts is None:
            raise Refused("refused")
        self._accounts.confirm(actor, password)
        self._count_try(actor)
        check_pin(pin)
        if self._owner(actor.unit_id, pin, besides=actor.officer_id) is not None:
            raise Refused("pin_unusable")
        made = self._hasher.hash(pin)
        with self._store.writing() as session:
            session.get_one(OfficerRow, actor.officer_id).pin_hash = made
            note(session, at=self._clock(), actor=actor, action="set_pin", subject=f"officer:{actor.officer_id}")

    def whose(self, line_number: str, pin: str) -> int | None:
        """The active officer of the line's unit who has this PIN; None for nobody. Takes a while for each officer."""
        with self._store.reading() as session:
            unit_id = session.scalars(select(LineRow.unit_id).where(LineRow.number == line_number)).first()
        return None if unit_id is None else self._owner(unit_id, pin)

    def _owner(self, unit_id: int, pin: str, *, besides: int | None = None) -> int | None:
        with self._store.reading() as session:
            known = _hashes(session, unit_id)
        return next((officer for officer, kept in known if officer != besides and self._matches(kept, pin)), None)

    def _matches(self, kept: str, pin: str) -> bool:
        try:
            return self._hasher.verify(kept, pin)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False

    def _count_try(self, actor: Actor) -> None:
        now, subject = self._clock(), f"officer:{actor.officer_id}"
        query = select(func.count()).where(
            AuditRow.action == _TRIED, AuditRow.subject == subject, AuditRow.at > now - CHANGES_WITHIN
        )
        with self._store.writing() as session:
            if (session.scalar(query) or 0) >= MAX_CHANGES:
                raise Refused("pin_changed_often", limit=MAX_CHANGES)
            note(session, at=now, actor=actor, action=_TRIED, subject=subject)


def _hashes(session: Session, unit_id: int) -> list[tuple[int, str]]:
    query = (
        select(OfficerRow.id, OfficerRow.pin_hash)
        .where(OfficerRow.unit_id == unit_id, OfficerRow.active.is_(True), OfficerRow.pin_hash != "")
        .order_by(OfficerRow.id)
    )
    return [(officer_id, kept) for officer_id, kept in session.execute(query)]
