"""A process of its own that finalizes entries as fast as it can: ``python -m tests.duty.finalizing URL UNIT COUNT``.

Prints ``ready``, waits for a line, then one line a number. Ends when COUNT entries are numbered or it is killed.
"""

from __future__ import annotations

import sys

from sqlalchemy import select

from duty.domain.entries import EntryRules
from duty.domain.numbers import NumberPlan
from duty.domain.rights import Actor, Role
from duty.domain.times import utc_now
from duty.services.logbook import Logbook
from duty.store.database import Store
from duty.store.tables import OfficerRow
from tests.duty.room import FULL


def main(url: str, login: str, count: int) -> None:
    store = Store(url)
    logbook = Logbook(store, utc_now, rules=EntryRules(), plan=NumberPlan())
    with store.reading() as session:
        officer = session.scalars(select(OfficerRow).where(OfficerRow.login == login)).one()
        actor = Actor(
            officer_id=officer.id, name=officer.name, unit_id=officer.unit_id, roles=frozenset({Role.OFFICER})
        )
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(count):
        entry_id = logbook.open_blank(actor)
        version = logbook.edit(actor, entry_id, FULL, version=1)
        print(logbook.finalize(actor, entry_id, version=version).number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
