"""The chain of evidence: what was refused stays as it was, or the verifier says so; every look is written down."""

from __future__ import annotations

import hashlib
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import select, text

from duty.domain.errors import Forbidden, NotFound
from duty.domain.rights import Role
from duty.services.evidence import EvidenceRoom
from duty.store.database import Store
from duty.store.tables import AuditRow
from duty.verifier import verify
from tests.duty.room import HUB_LINE, TOWN_LINE, Room

RAW = b"REFER sip:1001@127.0.0.1 SIP/2.0\r\nRefer-To: <sip:13900139000@carrier>\r\n\r\n\x00\xff"


def refuse(room: Room, call_id: str | None, *, line: str = HUB_LINE, target: str = "e\u0301 sip:1390@x") -> None:
    room.book.block_forward(
        call_id, at=room.clock(), way="refer", target=target, source="127.0.0.1", raw=RAW, line_number=line
    )


def furnish(room: Room) -> str:
    """Five pieces in one chain: two refusals of one instant, one outside any call, a document, one of the town."""
    call_id = room.arrive()
    refuse(room, call_id)
    refuse(room, call_id, target="sip:1391@x")
    refuse(room, None)
    room.clock.turn(seconds=5)
    room.book.keep_evidence(call_id, at=room.clock(), source="192.0.2.5", raw=b"<recording/>")
    refuse(room, room.arrive(line=TOWN_LINE), line=TOWN_LINE)
    return call_id


def tamper(store: Store, *statements: str) -> None:
    """Writes past the services, as somebody would who may write to the database."""
    with store.engine.connect() as connection:
        sqlite = store.is_sqlite
        connection.execute(text("PRAGMA foreign_keys=OFF" if sqlite else "SET session_replication_role = replica"))
        for statement in statements:
            connection.execute(text(statement))
        if not sqlite:
            connection.commit()
            connection.execute(text("SET session_replication_role = DEFAULT"))
        connection.commit()


@pytest.mark.rule("6.1-e", "6.2-c")
def test_true_evidence_is_whole(room: Room) -> None:
    furnish(room)
    report = verify(room.store.url)
    assert (report.first_broken, report.evidence.links) == (None, 5)
    refuse(room, None)
    grown = verify(room.store.url, expected_head=report.heads)
    assert (grown.first_broken, grown.evidence.links) == (None, 6)


ATTACKS: dict[str, tuple[tuple[str, ...], str, int]] = {
    "a byte of the message": (("UPDATE evidence SET raw = '{other}' WHERE id = 2",), "evidence_altered", 2),
    "the message with its SHA-256": (
        ("UPDATE evidence SET raw = '{other}', sha256 = '{sha256}' WHERE id = 2",),
        "evidence_row_differs",
        2,
    ),
    "where it would have gone": (("UPDATE evidence SET target = '' WHERE id = 1",), "evidence_row_differs", 1),
    "the way": (("UPDATE evidence SET way = 'diverted' WHERE id = 3",), "evidence_row_differs", 3),
    "when": (("UPDATE evidence SET at = '2020-01-01 00:00:00+00:00' WHERE id = 3",), "evidence_row_differs", 3),
    "whose call": (("UPDATE evidence SET call_id = NULL WHERE id = 5",), "evidence_row_differs", 5),
    "a deleted row": (("DELETE FROM evidence WHERE id = 3",), "evidence_deleted", 3),
    "a deleted row with its link": (
        ("DELETE FROM evidence WHERE id = 3", "DELETE FROM evidence_links WHERE position = 3"),
        "evidence_link_missing",
        3,
    ),
    "the last row with its link": (
        ("DELETE FROM evidence WHERE id = 5", "DELETE FROM evidence_links WHERE position = 5"),
        "evidence_missing",
        0,
    ),
    "a link alone": (("DELETE FROM evidence_links WHERE position = 5",), "evidence_unlinked", 5),
    "a link's payload": (
        ("UPDATE evidence_links SET payload = replace(payload, '192.0.2', '192.0.3') WHERE position = 4",),
        "evidence_hash_differs",
        4,
    ),
    "the event in the book": (
        ("DELETE FROM call_events WHERE kind = 'forward_blocked'",),
        "evidence_event_differs",
        0,
    ),
    "the event's words": (
        ("UPDATE call_events SET data = '{{}}' WHERE kind = 'forward_blocked'",),
        "evidence_missing",
        0,
    ),
}


@pytest.mark.rule("6.1-e", "6.2-c", "7.4-a")
@pytest.mark.parametrize("name", list(ATTACKS))
def test_altered_evidence_is_found(room: Room, name: str) -> None:
    furnish(room)
    statements, what, position = ATTACKS[name]
    other = RAW[:-1] + b"\xfe"
    facts = {"sha256": hashlib.sha256(other).hexdigest()}
    literal = f"x'{other.hex()}'" if room.store.is_sqlite else f"'\\x{other.hex()}'"
    statements = tuple(each.replace("'{other}'", literal).format(**facts) for each in statements)
    tamper(room.store, *statements)
    found = verify(room.store.url).evidence.broken
    assert found is not None
    assert (found.what, found.position) == (what, position)
    assert found.explanation


@pytest.mark.rule("6.2-c")
def test_an_anchor_tells_of_evidence_that_left_no_trace(room: Room) -> None:
    furnish(room)
    heads = verify(room.store.url).heads
    tamper(
        room.store,
        "DELETE FROM evidence_links WHERE position = 5",
        "DELETE FROM evidence WHERE id = 5",
        "DELETE FROM call_events WHERE kind = 'forward_blocked' AND call_id NOT IN (SELECT call_id FROM evidence"
        " WHERE call_id IS NOT NULL)",
    )
    assert verify(room.store.url).first_broken is None
    found = verify(room.store.url, expected_head=heads).first_broken
    assert found is not None
    assert (found.what, found.position) == ("evidence_anchor_missing", 5)


@pytest.mark.rule("6.1-e", "7.4-a")
def test_looking_at_a_message_is_a_right_and_is_written_down(room: Room) -> None:
    call_id = furnish(room)
    evidence = EvidenceRoom(room.store, room.clock)
    leader, elsewhere = room.person(Role.LEADER), room.person(Role.LEADER, unit="BS")
    look = evidence.look(leader, 1)
    assert (look.raw, look.whole, look.view.position, look.view.call_id) == (RAW, True, 1, call_id)
    evidence.look(leader, 1, taken_away=True)
    with pytest.raises(Forbidden):
        evidence.look(room.person(Role.OFFICER), 1)
    for hidden in (elsewhere, 1), (leader, 5), (leader, 999):
        with pytest.raises(NotFound):
            evidence.look(*hidden)
    with room.store.reading() as session:
        query = select(AuditRow).where(AuditRow.subject.startswith("evidence:")).order_by(AuditRow.id)
        noted = [(row.officer_id, row.action, row.subject) for row in session.scalars(query)]
    assert noted == [
        (leader.officer_id, "see_evidence", "evidence:1"),
        (leader.officer_id, "take_evidence", "evidence:1"),
    ]
    assert [view.evidence_id for view in evidence.page(room.person(Role.AUDITOR), limit=9)] == [5, 4, 3, 2, 1]
    assert [view.evidence_id for view in evidence.page(elsewhere, limit=9)] == [5]
    assert [view.evidence_id for view in evidence.page(leader, limit=9, call_id=call_id)] == [4, 2, 1]
    tamper(room.store, "UPDATE evidence SET source = '10.0.0.1' WHERE id = 1")
    assert not evidence.look(leader, 1).whole


@pytest.mark.rule("6.2-c")
def test_what_was_kept_before_the_chain_is_linked(store: Store, tmp_path: Path) -> None:
    with closing(Store(store.url)) as old:
        furnish(Room(old))
        command.downgrade(old._alembic(), "0007")
        old.migrate()
        report = verify(old.url)
        assert (report.first_broken, report.evidence.links) == (None, 5)
        tamper(old, "UPDATE evidence SET sha256 = 'a' WHERE id = 4")
        assert verify(old.url).evidence.broken is not None
