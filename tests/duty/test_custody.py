"""The book's side of custody, on both stores: differences with their alarms, acts with their chain, holds, adoption."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from duty.domain.calls import CallEventKind, Direction, NewCall, Outcome
from duty.domain.custody import DEEP, SHALLOW, CustodyAct, Difference, DifferenceKind
from duty.domain.errors import Forbidden, NotFound, Refused
from duty.domain.rights import Role
from duty.services.adoption import Adoption, FoundCall
from duty.services.custody import Custody
from duty.services.custody_acts import CustodyActs, ProvenCopy, Retention
from duty.services.custody_differences import MANY
from duty.services.holds import Holds
from duty.store.tables import AuditRow, CallRow, CustodyRow, DifferenceRow, EntryRow, PendingRow, RecordingRow
from duty.verifier import verify
from tests.duty.room import HUB_LINE, TOWN_LINE, Room, wav_facts

RETENTION = Retention(general=timedelta(days=400), by_unit={"BS": timedelta(days=800)})


def acts(room: Room) -> CustodyActs:
    return CustodyActs(room.store, room.clock, RETENTION)


def recorded(room: Room, root: Path, *, line: str = HUB_LINE) -> str:
    """An answered call whose recording is sealed and heard, and about which nothing is left to do."""
    call_id = room.answered_call(line=line)
    room.recordings.seal(wav_facts(root, call_id))
    with room.store.writing() as session:
        session.execute(delete(EntryRow).where(EntryRow.call_id == call_id))
        session.get_one(RecordingRow, call_id).state = "done"
    room.clock.turn(days=1)
    return call_id


def may_go(room: Room, act: CustodyAct) -> list[str]:
    return list(acts(room).candidates(act, sealed_before=room.clock(), tried_before=room.clock() - timedelta(days=1)))


def copy_of(call_id: str) -> ProvenCopy:
    return ProvenCopy(path=f"{call_id}/recording.opus", sha256="c" * 64, bytes=10, similarity=0.99)


def open_alarms(room: Room) -> list[str]:
    officer = room.person(Role.HUB)
    return [alarm.subject for alarm in room.alarms.unacknowledged(officer) if alarm.cleared_at is None]


@pytest.mark.rule("6.1-d")
def test_a_difference_is_one_row_and_one_alarm_until_it_is_gone(room: Room, tmp_path: Path) -> None:
    custody = Custody(room.store, room.clock)
    call_id = recorded(room, tmp_path)
    gone = Difference(kind=DifferenceKind.FILE_MISSING, call_id=call_id)
    altered = Difference(kind=DifferenceKind.FILE_ALTERED, call_id=call_id)
    assert custody.found([gone], SHALLOW) == 1
    custody.read(call_id, [altered])
    assert custody.found([gone], SHALLOW) == 2, "a look settles nothing that only reading finds"
    assert sorted(open_alarms(room)) == [altered.subject, gone.subject]
    assert custody.longest_unread(room.clock()) is None
    assert custody.longest_unread(room.clock() + timedelta(days=1)) == call_id
    custody.read(call_id, [])
    custody.found([], SHALLOW)
    assert open_alarms(room) == []
    with room.store.reading() as session:
        rows = session.scalars(select(DifferenceRow)).all()
        assert [row.settled_at is not None for row in rows] == [True, True]
    assert DEEP.isdisjoint(SHALLOW)


def test_many_differences_are_one_alarm(room: Room) -> None:
    custody = Custody(room.store, room.clock)
    many = [Difference(kind=DifferenceKind.STRAY, place=f"{number}.txt") for number in range(MANY + 1)]
    custody.found(many, SHALLOW)
    assert open_alarms(room) == ["many"]
    custody.found(many[:2], SHALLOW)
    assert sorted(open_alarms(room)) == ["stray 0.txt", "stray 1.txt"]
    assert len(custody.open_differences(room.person())) == 2


@pytest.mark.rule("6.1-d")
def test_a_look_in_pages_keeps_and_settles_the_same_and_may_be_cut_short(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duty.services.custody_differences._PAGE", 2)
    custody = Custody(room.store, room.clock)
    call_id = recorded(room, tmp_path)
    gone = Difference(kind=DifferenceKind.FILE_MISSING, call_id=call_id)
    strays = [Difference(kind=DifferenceKind.STRAY, place=f"{number}.txt") for number in range(5)]
    custody.read(call_id, [Difference(kind=DifferenceKind.FILE_ALTERED, call_id=call_id)])
    cut = custody.look(SHALLOW)
    cut.found([gone, *strays[:2]])
    assert len(open_alarms(room)) == 1, "whoever looks again tells"
    whole = custody.look(SHALLOW)
    for page in ([gone], strays[:3], [], strays[3:]):
        whole.found(page)
    assert whole.end() == 7
    assert len(open_alarms(room)) == 7
    assert custody.look(SHALLOW).end() == 1, "a whole look that finds nothing settles all but what only reading finds"
    assert open_alarms(room) == [f"file_altered {call_id}"]
    with room.store.reading() as session:
        assert [row.unit_id is not None for row in session.scalars(select(DifferenceRow))] == [True] * 2 + [False] * 5


@pytest.mark.rule("6.2-c")
def test_each_act_is_a_link_and_the_verifier_walks_them(room: Room, tmp_path: Path) -> None:
    keeper, custody = acts(room), Custody(room.store, room.clock)
    first, second = recorded(room, tmp_path), recorded(room, tmp_path)
    room.clock.turn(days=10)
    assert keeper.to_archive(sealed_before=room.clock(), tried_before=room.clock()) == first
    keeper.not_archived(first, "the copy is only 0.5 like the recording")
    assert open_alarms(room) == [first]
    assert keeper.to_archive(sealed_before=room.clock(), tried_before=room.clock()) == second
    for call_id in (first, second):
        keeper.archived(call_id, copy_of(call_id))
        keeper.archived(call_id, copy_of(call_id))
    assert open_alarms(room) == []
    assert may_go(room, CustodyAct.RELEASE_WAV) == [first, second]
    assert may_go(room, CustodyAct.REMOVE) == []
    keeper.perform(CustodyAct.RELEASE_RAW, first, reason="free_mb")
    keeper.perform(CustodyAct.RELEASE_WAV, first, reason="free_mb")
    for act in (CustodyAct.RELEASE_RAW, CustodyAct.RELEASE_WAV):
        with pytest.raises(Refused, match="already_released"):
            keeper.perform(act, first, reason="free_mb")
    with pytest.raises(NotFound):
        keeper.perform(CustodyAct.REMOVE, "f" * 32, reason="free_mb")
    report = verify(room.store.url)
    assert (report.first_broken, report.recordings.custody, report.recordings.good) == (None, 4, 2)
    with room.store.reading() as session:
        links = session.scalars(select(CustodyRow).order_by(CustodyRow.position)).all()
        audited = session.scalars(select(AuditRow).where(AuditRow.action.startswith("recording_"))).all()
    assert [(link.act, link.call_id) for link in links] == [
        ("archive", first), ("archive", second), ("release_raw", first), ("release_wav", first),
    ]  # fmt: skip
    assert [row.subject for row in audited] == [f"call:{link.call_id}" for link in links]
    assert all(row.data["sha256"] and row.data["reason"] for row in audited)
    assert room.review.dossier(room.person(), first).events[-1].kind == "wav_released"
    sums = custody.sums()
    assert (sums.sealed, sums.archived, sums.wav_released, sums.removed, sums.held) == (2, 2, 1, 0, 0)


@pytest.mark.rule("6.2-c")
def test_each_unit_has_its_own_retention_and_nobody_comes_before_it(room: Room, tmp_path: Path) -> None:
    hub, town = recorded(room, tmp_path), recorded(room, tmp_path, line=TOWN_LINE)
    keeper = acts(room)
    room.clock.turn(days=390)
    assert may_go(room, CustodyAct.REMOVE) == []
    for call_id in (hub, town):
        with pytest.raises(Refused, match="retention_not_over"):
            keeper.perform(CustodyAct.REMOVE, call_id, reason="by hand")
    room.clock.turn(days=20)
    assert may_go(room, CustodyAct.REMOVE) == [hub]
    keeper.perform(CustodyAct.REMOVE, hub, reason="free_mb")
    with pytest.raises(Refused, match="retention_not_over"):
        keeper.perform(CustodyAct.REMOVE, town, reason="free_mb")
    assert verify(room.store.url, tmp_path).first_broken is None
    room.recordings.again([hub])
    assert room.recordings.claim() is None, "there is nothing left to hear"


@pytest.mark.rule("6.2-c")
def test_what_somebody_still_needs_stays(room: Room, tmp_path: Path) -> None:
    call_id = recorded(room, tmp_path)
    keeper, leader, other = acts(room), room.person(Role.LEADER), room.person(Role.SUPERVISOR)
    holds, custody = Holds(room.store, room.clock), Custody(room.store, room.clock)
    room.clock.turn(days=2000)
    with pytest.raises(Forbidden):
        holds.place(room.person(), call_id, reason="调查")
    hold = holds.place(leader, call_id, reason="调查")
    assert may_go(room, CustodyAct.REMOVE) == []
    with pytest.raises(Refused, match="recording_held"):
        keeper.perform(CustodyAct.REMOVE, call_id, reason="free_mb")
    holds.lift(other, hold, reason="结案")
    assert [view.lifted_by for view in holds.of_call(call_id)] == [other.name]
    with room.store.writing() as session:
        call = session.get_one(CallRow, call_id)
        session.add(PendingRow(unit_id=call.unit_id, kind="missed_call", call_id=call_id, created_at=room.clock()))
    with pytest.raises(Refused, match="recording_entry_open"):
        keeper.perform(CustodyAct.REMOVE, call_id, reason="free_mb")
    with room.store.writing() as session:
        session.scalars(select(PendingRow)).one().done_at = room.clock()
    custody.found([Difference(kind=DifferenceKind.MANIFEST_MISSING, call_id=call_id)], SHALLOW)
    with pytest.raises(Refused, match="recording_differs"):
        keeper.perform(CustodyAct.REMOVE, call_id, reason="free_mb")
    custody.found([], SHALLOW)
    keeper.perform(CustodyAct.REMOVE, call_id, reason="free_mb")


@pytest.mark.rule("6.2-c")
def test_however_many_must_stay_the_next_one_is_found(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a town that keeps for longer, and those under a hold, are older than what may go."""
    monkeypatch.setattr("duty.services.custody_acts._PAGE", 2)
    holds, leader = Holds(room.store, room.clock), room.person(Role.LEADER)
    for _ in range(5):
        holds.place(leader, recorded(room, tmp_path), reason="调查")
    kept = [recorded(room, tmp_path, line=TOWN_LINE) for _ in range(5)]
    gone = [recorded(room, tmp_path) for _ in range(3)]
    room.clock.turn(days=500)
    assert may_go(room, CustodyAct.REMOVE) == gone
    assert may_go(room, CustodyAct.RELEASE_RAW) == [*kept, *gone]
    for call_id in may_go(room, CustodyAct.RELEASE_RAW):
        acts(room).perform(CustodyAct.RELEASE_RAW, call_id, reason="free_mb")
    assert may_go(room, CustodyAct.RELEASE_RAW) == []


@pytest.mark.rule("6.1-d")
def test_a_found_recording_is_adopted_once_and_never_over_another(room: Room, tmp_path: Path) -> None:
    adoption, custody = Adoption(room.store, room.clock, room.plan), Custody(room.store, room.clock)
    call_id = "ab" * 16
    new = NewCall(
        call_id=call_id,
        line_number="no line of ours",
        direction=Direction.INBOUND,
        caller_number="13800138000",
        callee_number=HUB_LINE,
        caller_display="",
        trust="from",
        sip_call_id="",
        source="",
        arrived_at=room.clock(),
    )
    ended = room.clock() + timedelta(seconds=9)
    found = FoundCall(new=new, answered_at=room.clock() + timedelta(seconds=2), ended_at=ended)
    facts = wav_facts(tmp_path, call_id)
    assert adoption.adopt(found, facts)
    booked = custody.one(call_id)
    assert booked is not None
    assert (booked.state, booked.sha256, booked.ended_at) == ("waiting", facts.sha256, ended)
    assert not adoption.adopt(found, wav_facts(tmp_path / "other", call_id)), "the book's own stays"
    events = [event.kind for event in room.review.dossier(room.person(), call_id).events]
    assert events == ["arrived", "answered", "ended", "adopted"]
    assert [each.call_id for page in custody.pages() for each in page] == [call_id]
    live = room.arrive()
    room.happen(live, CallEventKind.ENDED, Outcome.MISSED)
    room.recordings.none_made(live)
    assert adoption.adopt(
        FoundCall(new=new_of(live, new), answered_at=None, ended_at=ended), wav_facts(tmp_path, live)
    ), "audio that the book thought there was none of"


def new_of(call_id: str, new: NewCall) -> NewCall:
    from dataclasses import replace

    return replace(new, call_id=call_id)
