"""How far into a spool the book has come, kept in the same transaction as the lines taken over, so that after any kill
no line is taken twice."""

from __future__ import annotations

from sqlalchemy import delete, insert, select, update

from duty.store.database import Store
from duty.store.tables import SpoolMarkRow


class SpoolMarks:
    """The marks of one store. There is one spool at a time; a new one's mark replaces the old one's."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def position(self, spool: str) -> int:
        """Bytes of ``spool`` that are in the book; 0 for one that the book has never seen."""
        with self._store.reading() as session:
            return session.scalar(select(SpoolMarkRow.position).where(SpoolMarkRow.spool == spool)) or 0

    def move(self, spool: str, position: int) -> None:
        """Everything before ``position`` is in the book when the running transaction is committed."""
        with self._store.writing() as session:
            moved = session.connection().execute(
                update(SpoolMarkRow).where(SpoolMarkRow.spool == spool).values(position=position)
            )
            if not moved.rowcount:
                session.execute(delete(SpoolMarkRow))
                session.execute(insert(SpoolMarkRow).values(spool=spool, position=position))
