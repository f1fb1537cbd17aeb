"""The call's state table and the book kept by it: whatever happens, the row tells what became of the call."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import closing
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from sqlalchemy.exc import StatementError

from duty.domain.calls import CallEventKind, CallHappening, CallState, Direction, NewCall, Outcome, next_state
from duty.domain.errors import BrokenState, Forbidden, NotFound
from duty.domain.happenings import EventKind
from duty.domain.rights import Role
from duty.services.callpages import CallPages
from duty.services.directory import NewContact
from duty.store.database import Store
from duty.store.tables import CallEventRow, CallRow, EntryRow, EvidenceRow, PendingRow, RecordingRow
from tests.duty.room import HUB_LINE, TOWN_LINE, Room

LATER = datetime(2100, 1, 1, tzinfo=UTC)


_ORDER = [CallState.ARRIVED, CallState.QUEUED, CallState.RINGING, CallState.ANSWERED, CallState.ENDED]
_MOVES = {
    CallEventKind.QUEUED: CallState.QUEUED,
    CallEventKind.RINGING: CallState.RINGING,
    CallEventKind.ANSWERED: CallState.ANSWERED,
    CallEventKind.ENDED: CallState.ENDED,
}


@pytest.mark.rule("6.1-a")
@given(st.lists(st.sampled_from(CallEventKind), max_size=12))
def test_a_call_only_moves_forward(kinds: list[CallEventKind]) -> None:
    state = CallState.ARRIVED
    for kind in kinds:
        try:
            after = next_state(state, kind)
        except BrokenState as broken:
            named = (kind in _MOVES, broken.details)
            assert named == (True, {"state": state, "event": kind})
            continue
        assert _ORDER.index(after) >= _ORDER.index(state)
        assert after is _MOVES.get(kind, state)
        state = after


def test_nothing_follows_the_end() -> None:
    for kind in _MOVES:
        with pytest.raises(BrokenState):
            next_state(CallState.ENDED, kind)


def _refused(state: CallState, kind: CallEventKind) -> bool:
    try:
        next_state(state, kind)
    except BrokenState:
        return True
    return False


@pytest.mark.rule("6.1-a")
@given(st.lists(st.tuples(st.sampled_from(CallEventKind), st.sampled_from([*Outcome, None])), max_size=8))
def test_any_happenings_leave_a_call_that_makes_sense(
    standing_room: Room, happenings: list[tuple[CallEventKind, Outcome | None]]
) -> None:
    room = standing_room
    call_id, state, kept = room.arrive(), CallState.ARRIVED, [CallEventKind.ARRIVED]
    for kind, outcome in happenings:
        try:
            room.happen(call_id, kind, outcome)
        except BrokenState as broken:
            code = "call_state" if _refused(state, kind) else "call_outcome"
            assert broken.code == code  # noqa: PT017 - only some happenings are refused
            continue
        state = next_state(state, kind)
        kept.append(kind)
    with room.store.reading() as session:
        call = session.get_one(CallRow, call_id)
        events = [row.kind for row in session.scalars(select(CallEventRow).where(CallEventRow.call_id == call_id))]
        entries = session.scalar(select(func.count()).select_from(EntryRow).where(EntryRow.call_id == call_id))
        owed = session.scalar(select(func.count()).select_from(PendingRow).where(PendingRow.call_id == call_id))
    assert (call.state, events) == (state, kept)
    assert (call.ended_at is not None, call.outcome is not None) == (state is CallState.ENDED,) * 2
    assert (call.answered_at is not None) is (CallEventKind.ANSWERED in kept)
    assert entries == kept.count(CallEventKind.ANSWERED)
    assert (call.outcome == Outcome.ANSWERED) <= (call.answered_at is not None), "nobody answered: nobody spoke"
    silent = call.ended_at is not None and call.answered_at is None and call.outcome != Outcome.REFUSED
    assert owed == int(silent)


@pytest.mark.rule("6.1-a")
@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_in_the_book_and_the_unanswered_ones_are_owed(room: Room, outcome: Outcome) -> None:
    officer = room.person()
    call_id = room.arrive()
    if outcome is Outcome.ANSWERED:
        room.clock.turn(seconds=7)
        room.happen(call_id, CallEventKind.ANSWERED, extension="1002")
    room.clock.turn(seconds=5)
    room.happen(call_id, CallEventKind.ENDED, outcome, reason="487")
    call = room.review.dossier(officer, call_id).call
    assert (call.state, call.outcome, call.end_reason) == ("ended", outcome.value, "487")
    owed = [item.call_id for item in room.review.pending(officer)]
    alarms = [(alarm.kind, alarm.call_id, alarm.data) for alarm in room.alarms.unacknowledged(officer)]
    if outcome in (Outcome.ANSWERED, Outcome.REFUSED):
        assert (owed, alarms) == ([], [])
    else:
        assert owed == [call_id]
        assert alarms == [("call_missed", call_id, {"outcome": outcome.value})]
    if outcome is Outcome.ANSWERED:
        assert (call.answered_at - call.arrived_at).total_seconds() == 7
        assert call.answered_by == "1002"


def test_an_outgoing_call_that_nobody_answers_is_not_owed(room: Room) -> None:
    call_id = room.arrive(direction=Direction.OUTBOUND)
    room.happen(call_id, CallEventKind.ENDED, Outcome.MISSED)
    assert room.review.pending(room.person()) == []


@pytest.mark.rule("6.1-a")
def test_a_missed_call_is_owed_until_somebody_says_how_it_was_settled(room: Room) -> None:
    officer, supervisor, town = room.person(), room.person(Role.SUPERVISOR), room.person(unit="BS")
    call_id = room.arrive()
    room.happen(call_id, CallEventKind.ENDED, Outcome.MISSED)
    [item] = room.review.pending(officer)
    with pytest.raises((Forbidden, NotFound)):
        room.review.settle(supervisor, item.id, words="看过")
    with pytest.raises(NotFound):
        room.review.settle(town, item.id, words="不是我们的")
    room.review.settle(officer, item.id, words=" 已回电 ")
    assert room.review.pending(officer) == []
    with room.store.reading() as session:
        row = session.get_one(PendingRow, item.id)
    assert (row.done_by, row.done_note) == (officer.officer_id, "已回电")


@pytest.mark.rule("6.1-a")
def test_the_row_is_there_before_anything_else_happens(room: Room) -> None:
    call_id = room.arrive("13800138000")
    with closing(Store(room.store.url)) as other_process, other_process.reading() as session:
        call = session.get_one(CallRow, call_id)
        assert (call.state, call.caller_number, call.caller_normalised) == ("arrived", "13800138000", "+8613800138000")
        assert session.get_one(RecordingRow, call_id).state == "open"
    assert room.book.unfinished(LATER) == [call_id]


@pytest.mark.rule("6.1-a")
def test_a_call_is_kept_whatever_its_headers_claim(room: Room) -> None:
    new = NewCall(
        call_id=secrets.token_hex(16),
        line_number=HUB_LINE,
        direction=Direction.INBOUND,
        caller_number="\x00\ud800" * 200,
        callee_number="9" * 500,
        caller_display="张\x00三\udcff" * 99,
        trust="asserted-by-nobody-we-know",
        sip_call_id="\x00" * 999,
        source="[2001:db8::1]:5060;" * 20,
        arrived_at=room.clock(),
    )
    room.book.open_call(new)
    room.happen(new.call_id, CallEventKind.RINGING, extension="\ud800\x00" * 99)
    room.happen(new.call_id, CallEventKind.ANSWERED, extension="\ud800\x00" * 99)
    room.happen(new.call_id, CallEventKind.ENDED, Outcome.ANSWERED, reason="\x00\ud800")
    call = room.review.dossier(room.person(), new.call_id).call
    assert call.caller_number == "\ufffd" * 120
    assert call.state == "ended"


def test_a_call_on_an_unknown_line_or_with_an_unknown_id_is_named(room: Room) -> None:
    with pytest.raises(NotFound) as error:
        room.arrive(line="0000")
    assert error.value.details == {"number": "0000"}
    with pytest.raises(NotFound):
        room.happen("f" * 32, CallEventKind.ENDED, Outcome.MISSED)


@pytest.mark.rule("6.1-e")
@pytest.mark.parametrize("in_a_call", [True, False])
def test_a_blocked_forward_leaves_event_evidence_and_alarm(room: Room, in_a_call: bool) -> None:
    officer = room.person()
    call_id = room.arrive() if in_a_call else None
    raw = b"SIP/2.0 302 Moved Temporarily\r\nContact: <sip:13800138000@carrier>\r\n\r\n\x00\xff"
    room.book.block_forward(
        call_id,
        at=room.clock(),
        way="3xx",
        target="sip:13800138000@carrier\x00",
        source="127.0.0.1:5066",
        raw=raw,
        line_number=HUB_LINE,
        data={"status": 302},
    )
    [alarm] = room.alarms.unacknowledged(officer)
    assert (alarm.kind, alarm.severity, alarm.call_id, alarm.data["way"]) == (
        "forward_blocked",
        "critical",
        call_id,
        "3xx",
    )
    with room.store.reading() as session:
        evidence = session.scalars(select(EvidenceRow)).one()
        assert (evidence.raw, evidence.sha256) == (raw, hashlib.sha256(raw).hexdigest())
    if call_id:
        events = room.review.dossier(officer, call_id).events
        assert [row.kind for row in events] == ["arrived", "forward_blocked"]
        assert events[1].data["status"] == 302
    told = [event.kind for event in room.outbox.after(0)]
    assert told.count(EventKind.ALARM_RAISED) == 1
    room.alarms.acknowledge(officer, alarm.id)
    assert room.alarms.unacknowledged(officer) == []


@pytest.mark.rule("6.1-e")
def test_a_call_that_arrives_forwarded_is_marked_and_alarmed(room: Room) -> None:
    call_id = room.arrive()
    room.happen(call_id, CallEventKind.FORWARD_MARKED, header="Diversion")
    [alarm] = room.alarms.unacknowledged(room.person())
    assert (alarm.kind, alarm.severity, alarm.data) == ("forward_marked", "warning", {"header": "Diversion"})


@pytest.mark.rule("6.1-c")
def test_the_answered_calls_entry_begins_with_what_the_directory_knows(room: Room) -> None:
    leader = room.person(Role.LEADER)
    room.directory.add(
        leader, NewContact(organisation="市应急管理局", name="王五", title="科长", numbers=("0371-22595000转801",))
    )
    entry = room.entry_of(room.answered_call("037122595000"))
    assert (entry.caller_unit, entry.caller_name, entry.caller_title) == ("市应急管理局", "王五", "科长")
    stranger = room.entry_of(room.answered_call("037122595001"))
    assert (stranger.caller_unit, stranger.caller_phone) == ("", "037122595001")
    withheld = room.entry_of(room.answered_call("anonymous"))
    assert withheld.caller_unit == ""


@pytest.mark.rule("3-a")
def test_calls_are_seen_by_their_unit_and_by_the_hub(room: Room) -> None:
    mine, theirs = room.arrive(), room.arrive(line=TOWN_LINE)
    town, hub, supervisor = room.person(unit="BS"), room.person(Role.HUB), room.person(Role.SUPERVISOR)
    assert [call.id for call in room.review.present(town)] == [theirs]
    assert {call.id for call in room.review.present(hub)} == {mine, theirs}
    with pytest.raises(NotFound):
        room.review.dossier(town, mine)
    with pytest.raises(NotFound):
        room.review.listened(town, mine)
    assert room.review.dossier(supervisor, theirs).unit.code == "BS"


def test_an_instant_without_a_zone_is_never_kept(room: Room) -> None:
    call_id = room.arrive()
    naive = CallHappening(call_id=call_id, kind=CallEventKind.RINGING, at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(StatementError):
        room.book.record(naive)
    assert room.review.dossier(room.person(), call_id).call.state == "arrived"


@pytest.mark.rule("5-a")
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("order", [("answered", "fax_detected"), ("fax_detected", "answered")])
def test_the_entry_of_a_fax_says_so(room: Room, order: tuple[str, str], together: bool) -> None:
    call_id = room.arrive()
    steps = [CallHappening(call_id=call_id, kind=CallEventKind(kind), at=room.clock()) for kind in order]
    if together:
        with room.store.writing() as session:
            pages = CallPages(session, room.plan)
            for step in steps:
                pages.happened(step)
            pages.write()
    else:
        for step in steps:
            room.book.record(step)
    assert room.entry_of(call_id).category == "fax"


@pytest.mark.rule("5-a")
def test_what_an_officer_wrote_is_not_made_a_fax(room: Room) -> None:
    call_id = room.answered_call("037122595001")
    with room.store.writing() as session:
        session.execute(update(EntryRow).where(EntryRow.call_id == call_id).values(touched=True))
    for _ in range(2):
        room.happen(call_id, CallEventKind.FAX_DETECTED, by="caller", how="cng")
    assert room.entry_of(call_id).category == "routine"
