"""The units of the duty network as a person may see them (requirement 3-a)."""

from __future__ import annotations

from sqlalchemy import select

from duty.domain.rights import Actor, Right
from duty.store.database import Store
from duty.store.tables import UnitRow


class Network:
    """Reading side of the units."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def units(self, actor: Actor, right: Right) -> list[UnitRow]:
        """The units whose rows the person sees under ``right``, the hub first. Raises Forbidden without it."""
        scope = actor.unit_scope(right)
        query = select(UnitRow).order_by(UnitRow.is_hub.desc(), UnitRow.id)
        if scope is not None:
            query = query.where(UnitRow.id == scope)
        with self._store.reading() as session:
            return list(session.scalars(query))
