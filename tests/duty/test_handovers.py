"""交接班: nothing is lost from shift to shift, both sign, the verifier walks what they signed (requirement 6.2-d)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from duty.domain.calls import CallEventKind, Outcome
from duty.domain.errors import BadCredential, Forbidden, NotFound, Refused
from duty.domain.handover import HandoverState, HandoverStep, next_state
from duty.domain.rights import Actor, Role
from duty.domain.roster import Duty, Pattern
from duty.domain.times import local
from duty.services.handovers import Handovers
from duty.services.linechecks import LineChecks
from duty.services.rosters import Rosters
from duty.services.watches import Watches
from duty.store.database import Store
from duty.verifier import verify
from tests.duty.room import FULL, PASSWORD, Room


class Desk:
    """Two officers, one on duty, the other due next; a leader."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.handovers = Handovers(room.store, room.clock, checks=LineChecks(room.store, room.clock))
        self.watches = Watches(room.store, room.clock)
        self.leader, self.giver, self.taker = room.person(Role.LEADER), room.person(), room.person()
        today = local(room.clock()).date()
        self.plan(self.giver, today)
        self.plan(self.taker, today + timedelta(days=1))
        self.watches.sign_on(self.giver)
        room.clock.turn(hours=23, minutes=30)

    def plan(self, who: Actor, day: date) -> None:
        rosters = Rosters(self.room.store, self.room.clock)
        rosters.plan(self.leader, officer_id=who.officer_id, duty=Duty.OFFICER, pattern=Pattern.WHOLE_DAY, day=day)

    def on_duty(self) -> list[str]:
        return [each.name for each in self.watches.now(self.leader)[0].officers]

    def missed(self) -> str:
        call_id = self.room.arrive()
        self.room.happen(call_id, CallEventKind.RINGING)
        self.room.happen(call_id, CallEventKind.ENDED, Outcome.MISSED, reason="no_answer")
        return call_id

    def entry(self, **changes: str) -> int:
        entry_id = self.room.logbook.open_blank(self.giver)
        self.room.logbook.edit(self.giver, entry_id, {**FULL, **changes}, version=1)
        return entry_id

    def finalized(self) -> int:
        entry_id = self.entry()
        self.room.logbook.finalize(self.giver, entry_id, version=2)
        return entry_id


@pytest.fixture
def desk(room: Room) -> Desk:
    return Desk(room)


@pytest.mark.rule("6.2-d")
def test_the_second_signature_is_the_takeover_and_is_in_the_chain(desk: Desk) -> None:
    done, left, missed = desk.finalized(), desk.entry(), desk.missed()
    handover = desk.handovers.begin(desk.giver)
    assert desk.handovers.begin(desk.giver) == handover, "one at a time"
    desk.handovers.write(desk.giver, handover, notes="领导交办：8 时前回复市里", documents="明电 3 份")
    desk.handovers.give(desk.giver, handover)
    assert desk.on_duty() == [desk.giver.name]
    desk.room.clock.turn(minutes=4)
    desk.handovers.take(desk.taker, handover)
    assert desk.on_duty() == [desk.taker.name]
    view = desk.handovers.see(desk.leader, handover)
    assert [each["entry"] for each in view.sheet["entries"]] == [done]
    assert [each["entry"] for each in view.sheet["drafts"]] == [left]
    assert [each["call"] for each in view.sheet["missed"]] == [missed]
    assert [each["kind"] for each in view.sheet["pending"]] == ["missed_call"]
    assert (view.given_by, view.taken_by) == (desk.giver.name, desk.taker.name)
    assert view.taken_at == view.given_at + timedelta(minutes=4)
    report = verify(desk.room.store.url)
    assert (report.first_broken, report.handovers.links, report.handovers.head_hash) == (None, 1, view.hash)
    assert FULL["event"] not in str(view.sheet), "no words of a call go into a chain that is never altered"


@pytest.mark.rule("6.2-d")
def test_each_link_of_the_book_stands_on_exactly_one_sheet(desk: Desk) -> None:
    seen: list[int] = []
    pair = [desk.giver, desk.taker]
    for number in range(3):
        desk.finalized()
        if number:
            desk.finalized()
        handover = desk.handovers.begin(pair[0])
        desk.handovers.give(pair[0], handover)
        desk.handovers.take(pair[1], handover)
        seen += [each["position"] for each in desk.handovers.see(desk.leader, handover).sheet["entries"]]
        pair.reverse()
    assert seen == [1, 2, 3, 4, 5]
    assert [view.handover_id for view in desk.handovers.recent(desk.leader)] == [3, 2, 1]


@pytest.mark.rule("6.2-d")
def test_who_may_sign(desk: Desk) -> None:
    stranger, elsewhere = desk.room.person(), desk.room.person(unit="BS")
    with pytest.raises(Refused, match="not_on_duty"):
        desk.handovers.begin(stranger)
    handover = desk.handovers.begin(desk.giver)
    with pytest.raises(Refused, match="not_on_duty"):
        desk.handovers.give(desk.taker, handover)
    with pytest.raises(Refused, match="handover_state"):
        desk.handovers.take(desk.taker, handover)
    desk.handovers.give(desk.giver, handover)
    for who, error, code in (
        (desk.giver, Refused, "handover_same_person"),
        (stranger, Refused, "not_rostered"),
        (elsewhere, NotFound, "handover_not_found"),
        (desk.room.person(Role.SUPERVISOR), Forbidden, "forbidden"),
        (desk.room.person(Role.HUB, unit="BS"), Refused, "not_rostered"),
    ):
        with pytest.raises(error, match=code):
            desk.handovers.take(who, handover)
    assert desk.on_duty() == [desk.giver.name]
    desk.watches.permit(desk.leader, stranger.officer_id, "接班人突发疾病", hours=12)
    desk.handovers.take(stranger, handover)
    assert desk.watches.now(desk.leader)[0].officers[0].permit_reason == "接班人突发疾病"


def test_a_signature_needs_ones_own_password(desk: Desk) -> None:
    accounts = desk.room.accounts
    login = "jieban"
    person = desk.room.person(login=login)
    with pytest.raises(BadCredential, match="password_not_own"):
        accounts.witness(login, PASSWORD)
    accounts.change_password(person, PASSWORD, "another-horse-43")
    with pytest.raises(BadCredential):
        accounts.witness(login, PASSWORD)
    assert accounts.witness(login, "another-horse-43").officer_id == person.officer_id


@pytest.mark.rule("6.2-d")
def test_not_during_an_incident_unless_a_leader_writes_why(desk: Desk) -> None:
    incident = desk.entry(category="incident")
    handover = desk.handovers.begin(desk.giver)
    with pytest.raises(Refused, match="handover_incident"):
        desk.handovers.give(desk.giver, handover)
    with pytest.raises(Forbidden):
        desk.handovers.excuse(desk.giver, handover, "换班")
    with pytest.raises(Refused, match="duty_reason_missing"):
        desk.handovers.excuse(desk.leader, handover, " ")
    desk.handovers.excuse(desk.leader, handover, "处置已 20 小时，轮换休整")
    desk.handovers.give(desk.giver, handover)
    desk.entry(category="incident")
    with pytest.raises(Refused, match="handover_incident"):
        desk.handovers.take(desk.taker, handover)
    desk.handovers.send_back(desk.taker, handover)
    desk.handovers.excuse(desk.leader, handover, "两起均由值班长继续处置")
    desk.handovers.give(desk.giver, handover)
    desk.handovers.take(desk.taker, handover)
    view = desk.handovers.see(desk.leader, handover)
    assert view.excuse == "两起均由值班长继续处置"
    assert view.sheet["drafts"][0]["entry"] == incident
    assert verify(desk.room.store.url).first_broken is None


@pytest.mark.rule("6.2-d")
def test_what_happens_between_the_signatures_is_signed_anew_also_after_a_restart(desk: Desk) -> None:
    handover = desk.handovers.begin(desk.giver)
    desk.handovers.give(desk.giver, handover)
    desk.missed()
    restarted = Store(desk.room.store.url)
    again = Handovers(restarted, desk.room.clock, checks=LineChecks(restarted, desk.room.clock))
    view = again.see(desk.taker, handover)
    assert (view.state, view.changed, view.given_by) == (HandoverState.GIVEN, True, desk.giver.name)
    with pytest.raises(Refused, match="handover_changed"):
        again.take(desk.taker, handover)
    with pytest.raises(Refused, match="handover_state"):
        again.write(desk.giver, handover, notes="补记", documents="")
    again.send_back(desk.taker, handover)
    again.give(desk.giver, handover)
    again.take(desk.taker, handover)
    assert len(again.see(desk.taker, handover).sheet["missed"]) == 1
    restarted.close()


ATTACKS = {
    "the notes": ("UPDATE handovers SET notes = '另有约定' WHERE id = 1", "handover_row_differs", 1),
    "who took it": ("UPDATE handovers SET taken_by = given_by WHERE id = 2", "handover_row_differs", 2),
    "when": ("UPDATE handovers SET taken_at = given_at WHERE id = 1", "handover_row_differs", 1),
    "a deleted row": ("DELETE FROM handovers WHERE id = 1", "handover_deleted", 1),
    "a deleted link": ("DELETE FROM handover_links WHERE position = 1", "handover_link_missing", 1),
    "the last link": ("DELETE FROM handover_links WHERE position = 2", "handover_unlinked", 2),
    "a payload": (
        "UPDATE handover_links SET payload = replace(payload, 'notes', 'notez') WHERE position = 2",
        "handover_hash_differs",
        2,
    ),
    "not taken after all": ("UPDATE handovers SET state = 'cancelled' WHERE id = 2", "handover_row_differs", 2),
}


@pytest.mark.rule("6.2-d", "7.4-a")
@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_altered_handover_is_found(desk: Desk, name: str) -> None:
    pair = [desk.giver, desk.taker]
    for _ in range(2):
        desk.finalized()
        handover = desk.handovers.begin(pair[0])
        desk.handovers.give(pair[0], handover)
        desk.room.clock.turn(minutes=1)
        desk.handovers.take(pair[1], handover)
        pair.reverse()
    heads = verify(desk.room.store.url).heads
    statement, what, position = ATTACKS[name]
    with desk.room.store.engine.connect() as connection:
        sqlite = desk.room.store.is_sqlite
        connection.execute(text("PRAGMA foreign_keys=OFF" if sqlite else "SET session_replication_role = replica"))
        connection.execute(text(statement))
        connection.commit()
    broken = verify(desk.room.store.url, expected_head=heads).handovers.broken
    assert broken is not None
    found = verify(desk.room.store.url).handovers.broken
    assert found is not None
    assert (found.what, found.position) == (what, position)


@pytest.mark.rule("6.2-d")
@given(st.lists(st.sampled_from(list(HandoverStep)), max_size=12))
def test_no_way_to_taken_but_by_both_signatures_in_their_order(steps: list[HandoverStep]) -> None:
    state, taken_steps = HandoverState.OPEN, []
    for step in steps:
        try:
            state = next_state(state, step)
        except Refused:
            continue
        taken_steps.append(step)
    if state is HandoverState.TAKEN:
        assert taken_steps[-2:] == [HandoverStep.GIVE, HandoverStep.TAKE], "nothing comes between them"
        assert taken_steps.count(HandoverStep.TAKE) == 1
    if HandoverStep.CANCEL in taken_steps:
        assert (state, taken_steps[-1]) == (HandoverState.CANCELLED, HandoverStep.CANCEL)
