"""The next link of a chain over all rows of one kind, whoever writes it: guard's evidence, handovers, custody.

The logbook's chains, one for each unit, keep their heads in the unit's book instead.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from duty.domain.chain import GENESIS, Canonical, Link, forge
from duty.store.tables import CustodyRow, EvidenceLinkRow, HandoverLinkRow

Chain = type[CustodyRow] | type[EvidenceLinkRow] | type[HandoverLinkRow]


def next_link(session: Session, chain: Chain, record: Mapping[str, Canonical]) -> Link:
    """The link over ``record`` that follows the last one of ``chain``. The running transaction already holds the
    lock of that chain: two processes append, and only one link can follow another."""
    last = session.execute(select(chain.position, chain.hash).order_by(chain.position.desc()).limit(1)).first()
    return forge(position=last.position + 1 if last else 1, previous=last.hash if last else GENESIS, record=record)
