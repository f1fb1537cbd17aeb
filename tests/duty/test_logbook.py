"""Entries on both stores: what they need, who may write, what stays for ever."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select

from duty.domain.calls import CallEventKind, Direction, Outcome
from duty.domain.entries import MAX_FIELD_CHARS, EntryState
from duty.domain.errors import Conflict, Forbidden, NotFound, Refused
from duty.domain.identity import CheckResult, Method, Verdict
from duty.domain.rights import Role
from duty.services.directory import NewContact
from duty.services.logbook import EntryFilter, current_content
from duty.store.tables import AuditRow, IdentityCheckRow, UnitRow
from tests.duty.room import FULL, TOWN_LINE, Room


@pytest.mark.rule("6.2-b")
@pytest.mark.parametrize("missing", ["event_time", "place", "event", "caller_unit"])
def test_a_draft_without_a_required_field_gets_no_number(room: Room, missing: str) -> None:
    officer = room.person()
    entry_id, version = room.drafted(officer, **{missing: "  "})
    field = "caller" if missing == "caller_unit" else missing
    assert [item.field for item in room.logbook.obstacles(room.logbook.entry(officer, entry_id))] == [field]
    with pytest.raises(Refused) as refused:
        room.logbook.finalize(officer, entry_id, version=version)
    assert (refused.value.code, refused.value.details["field"]) == ("entry_field_missing", field)
    row = room.logbook.entry(officer, entry_id)
    assert (row.state, row.number, row.links) == ("draft", None, [])


@pytest.mark.rule("6.2-b")
def test_the_callers_name_stands_for_the_unit(room: Room) -> None:
    assert room.finalized(room.person(), caller_unit="", caller_name="李四").number == 1


@pytest.mark.parametrize("category", ["wrong_number", "fax", "drill"])
def test_a_call_that_is_no_event_needs_only_its_words(room: Room, category: str) -> None:
    officer = room.person()
    entry_id = room.logbook.open_blank(officer)
    version = room.logbook.edit(officer, entry_id, {"category": category, "event": "打错电话"}, version=1)
    assert room.logbook.finalize(officer, entry_id, version=version).number == 1


@pytest.mark.rule("6.2-b")
def test_two_officers_cannot_overwrite_each_other(room: Room) -> None:
    one, other = room.person(), room.person()
    entry_id, version = room.drafted(one)
    room.logbook.edit(other, entry_id, {"place": "开封火车站"}, version=version)
    with pytest.raises(Conflict):
        room.logbook.edit(one, entry_id, {"place": "别处"}, version=version)
    with pytest.raises(Conflict):
        room.logbook.finalize(one, entry_id, version=version)
    assert room.logbook.entry(one, entry_id).place == "开封火车站"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"number": "7"}, "entry_field_unknown"),
        ({"event": "水" * (MAX_FIELD_CHARS + 1)}, "entry_field_too_long"),
        ({"category": "weather"}, "entry_category_unknown"),
        ({"event": "断\x00行"}, "text_unreadable"),
        ({"event": "半个\ud83d字"}, "text_unreadable"),
    ],
)
def test_what_no_form_sends_is_refused(room: Room, changes: dict[str, str], code: str) -> None:
    officer = room.person()
    entry_id, version = room.drafted(officer)
    with pytest.raises(Refused) as refused:
        room.logbook.edit(officer, entry_id, changes, version=version)
    assert refused.value.code == code
    assert room.logbook.entry(officer, entry_id).version == version


@pytest.mark.rule("6.2-c")
def test_numbers_run_by_unit_and_by_shanghai_year(room: Room) -> None:
    hub, town = room.person(), room.person(unit="BS")
    room.clock.now = datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC)
    first = [room.finalized(hub), room.finalized(hub), room.finalized(town)]
    room.clock.turn(seconds=1)
    then = [room.finalized(hub), room.finalized(town), room.finalized(hub)]
    assert [(row.year, row.number) for row in first] == [(2026, 1), (2026, 2), (2026, 1)]
    assert [(row.year, row.number) for row in then] == [(2027, 1), (2027, 1), (2027, 2)]
    assert then[2].number_text == "龙亭值〔2027〕2号"


@pytest.mark.rule("6.2-c", "10-a")
def test_the_number_reads_as_the_unit_has_configured(room: Room) -> None:
    officer = room.person(unit="BS")
    with room.store.writing() as session:
        session.get_one(UnitRow, room.units["BS"]).number_pattern = "北街值{year}-{number}"
    assert room.finalized(officer).number_text == "北街值2026-1"


@pytest.mark.rule("6.2-b", "6.2-c")
def test_a_numbered_entry_is_never_edited(room: Room) -> None:
    officer = room.person()
    row = room.finalized(officer)
    attempts = [
        lambda: room.logbook.edit(officer, row.id, {"place": "别处"}, version=row.version),
        lambda: room.logbook.finalize(officer, row.id, version=row.version),
        lambda: room.logbook.repeat_back(officer, row.id),
        lambda: room.logbook.check_identity(
            officer, row.id, CheckResult(method=Method.REASON, verdict=Verdict.IMPOSSIBLE, note="迟到的说明")
        ),
    ]
    for attempt in attempts:
        with pytest.raises(Refused) as refused:
            attempt()
        assert refused.value.code == "entry_finalized"


@pytest.mark.rule("6.2-b")
def test_an_amendment_keeps_the_first_text(room: Room) -> None:
    officer = room.person()
    row = room.finalized(officer, casualties="无")
    room.logbook.amend(officer, row.id, {"casualties": "1人轻伤", "place": FULL["place"]}, reason="现场续报")
    room.logbook.amend(officer, row.id, {"casualties": "2人轻伤"}, reason="再次续报")
    after = room.logbook.entry(officer, row.id)
    assert after.casualties == "无"
    assert current_content(after).casualties == "2人轻伤"
    assert [item.changes for item in after.amendments] == [
        {"casualties": ["无", "1人轻伤"]},
        {"casualties": ["1人轻伤", "2人轻伤"]},
    ]
    assert [link.kind for link in after.links] == ["finalize", "amend", "amend"]


@pytest.mark.parametrize(
    ("changes", "reason", "code"),
    [
        ({"place": "别处"}, "  ", "amendment_reason_missing"),
        ({"place": FULL["place"] + " "}, "笔误", "amendment_empty"),
        ({"place": "别处"}, "笔\ud800误", "text_unreadable"),
    ],
)
def test_an_amendment_needs_a_change_and_a_reason(room: Room, changes, reason: str, code: str) -> None:
    officer = room.person()
    row = room.finalized(officer)
    with pytest.raises(Refused) as refused:
        room.logbook.amend(officer, row.id, changes, reason=reason)
    assert refused.value.code == code
    assert len(room.logbook.entry(officer, row.id).links) == 1


@pytest.mark.rule("6.2-c")
def test_a_voided_entry_keeps_its_number_and_its_words(room: Room) -> None:
    officer = room.person()
    row = room.finalized(officer)
    with pytest.raises(Refused):
        room.logbook.void(officer, row.id, reason=" ")
    room.logbook.void(officer, row.id, reason="重复登记")
    after = room.logbook.entry(officer, row.id)
    assert (after.state, after.number, after.event) == (EntryState.VOIDED.value, 1, FULL["event"])
    assert room.finalized(officer).number == 2
    with pytest.raises(Refused):
        room.logbook.amend(officer, row.id, {"place": "别处"}, reason="迟")
    with pytest.raises(Refused):
        room.logbook.void(officer, row.id, reason="再废")


@pytest.mark.rule("6.1-c")
@pytest.mark.parametrize("category", ["incident", "directive", "superior"])
def test_an_important_entry_needs_a_check_or_a_written_reason(room: Room, category: str) -> None:
    officer = room.person()
    entry_id, version = room.drafted(officer, category=category)
    mismatch = CheckResult(method=Method.CHALLENGE, verdict=Verdict.NOT_VERIFIED, note="答非所问")
    room.logbook.check_identity(officer, entry_id, mismatch)
    with pytest.raises(Refused) as refused:
        room.logbook.finalize(officer, entry_id, version=version)
    assert refused.value.code == "identity_unchecked"
    written = CheckResult(method=Method.REASON, verdict=Verdict.IMPOSSIBLE, note="对方无固定电话，已请示带班领导")
    room.logbook.check_identity(officer, entry_id, written)
    assert room.logbook.finalize(officer, entry_id, version=version).number == 1


@pytest.mark.rule("6.1-c")
@pytest.mark.parametrize(
    ("check", "code"),
    [
        (CheckResult(method=Method.REASON, verdict=Verdict.VERIFIED, note="我信"), "identity_reason_is_no_proof"),
        (CheckResult(method=Method.KNOWN_VOICE, verdict=Verdict.VERIFIED, note=" "), "identity_note_missing"),
        (CheckResult(method=Method.REASON, verdict=Verdict.IMPOSSIBLE), "identity_note_missing"),
        (CheckResult(method=Method.DIRECTORY, verdict=Verdict.VERIFIED), "identity_contact_missing"),
        (CheckResult(method=Method.CALL_BACK, verdict=Verdict.VERIFIED), "identity_contact_missing"),
        (CheckResult(method=Method.KNOWN_VOICE, verdict=Verdict.VERIFIED, note="\ud800"), "text_unreadable"),
    ],
)
def test_a_check_without_what_its_method_needs_is_refused(room: Room, check: CheckResult, code: str) -> None:
    officer = room.person()
    entry_id, _ = room.drafted(officer, category="incident")
    with pytest.raises(Refused) as refused:
        room.logbook.check_identity(officer, entry_id, check)
    assert refused.value.code == code
    assert room.logbook.entry(officer, entry_id).checks == []


@pytest.mark.rule("6.1-c")
def test_a_directory_check_needs_the_signalled_number_to_be_the_contacts(room: Room) -> None:
    leader = room.person(Role.LEADER)
    contact = room.directory.add(leader, NewContact(organisation="市应急管理局", numbers=("0371-2259 5000",)))
    stranger = room.entry_of(room.answered_call("13800138000"))
    check = CheckResult(method=Method.DIRECTORY, verdict=Verdict.VERIFIED, contact_id=contact)
    # The officer may type any number into the form; only the signalled one counts.
    room.logbook.edit(leader, stranger.id, {"caller_phone": "037122595000"}, version=stranger.version)
    with pytest.raises(Refused) as refused:
        room.logbook.check_identity(leader, stranger.id, check)
    assert refused.value.code == "identity_number_differs"
    known = room.entry_of(room.answered_call("22595000"))
    room.logbook.check_identity(leader, known.id, check)
    assert room.logbook.entry(leader, known.id).checks[0].verdict == "verified"
    unknown = CheckResult(method=Method.DIRECTORY, verdict=Verdict.VERIFIED, contact_id=contact + 99)
    with pytest.raises(NotFound):
        room.logbook.check_identity(leader, known.id, unknown)


@pytest.mark.rule("6.1-c")
def test_a_call_back_counts_only_with_an_answered_call_to_the_directorys_number(room: Room) -> None:
    leader = room.person(Role.LEADER)
    contact = room.directory.add(leader, NewContact(organisation="市政府值班室", numbers=("0371-22595000",)))
    room.answered_call("037122595000", direction=Direction.OUTBOUND)  # before the caller called: proves nothing
    room.clock.turn(minutes=1)
    entry = room.entry_of(room.answered_call("037188888888"))
    check = CheckResult(method=Method.CALL_BACK, verdict=Verdict.VERIFIED, contact_id=contact, number_called="110")

    def refused() -> str:
        with pytest.raises(Refused) as error:
            room.logbook.check_identity(leader, entry.id, check)
        return error.value.code

    assert refused() == "identity_no_call_back"
    unanswered = room.arrive("037122595000", direction=Direction.OUTBOUND)
    room.happen(unanswered, CallEventKind.RINGING)
    room.happen(unanswered, CallEventKind.ENDED, Outcome.MISSED)
    assert refused() == "identity_no_call_back"
    room.answered_call("037188888888", direction=Direction.OUTBOUND)  # the displayed number, not the directory's
    room.answered_call("037122595000")  # it called us
    room.answered_call("037122595000", direction=Direction.OUTBOUND, line=TOWN_LINE)  # another unit's call
    assert refused() == "identity_no_call_back"
    proof = room.answered_call("22595000", direction=Direction.OUTBOUND)
    room.logbook.check_identity(leader, entry.id, check)
    with room.store.reading() as session:
        kept = session.scalars(select(IdentityCheckRow)).one()
    assert (kept.call_id, kept.number_called) == (proof, "0371-22595000")


@pytest.mark.rule("3-a")
def test_a_unit_sees_its_own_logbook_and_the_hub_sees_all(room: Room) -> None:
    officer, town, hub = room.person(), room.person(unit="BS"), room.person(Role.HUB)
    mine, theirs = room.finalized(officer), room.finalized(town)
    assert [row.id for row in room.logbook.register(town, EntryFilter())] == [theirs.id]
    assert {row.id for row in room.logbook.register(hub, EntryFilter())} == {mine.id, theirs.id}
    assert room.logbook.count(hub, EntryFilter()) == 2
    for attempt in (
        lambda: room.logbook.entry(town, mine.id),
        lambda: room.logbook.amend(town, mine.id, {"place": "x"}, reason="y"),
        lambda: room.logbook.void(town, mine.id, reason="y"),
        lambda: room.logbook.edit(town, mine.id, {"place": "x"}, version=1),
    ):
        with pytest.raises(NotFound):
            attempt()


@pytest.mark.parametrize("role", [Role.SUPERVISOR, Role.AUDITOR])
def test_those_who_only_look_cannot_write(room: Room, role: Role) -> None:
    officer, looker = room.person(), room.person(role)
    entry_id, version = room.drafted(officer)
    with pytest.raises(Forbidden):
        room.logbook.edit(looker, entry_id, {"place": "x"}, version=version)
    with pytest.raises(Forbidden):
        room.logbook.finalize(looker, entry_id, version=version)
    with pytest.raises(Forbidden):
        room.logbook.open_blank(looker)


def test_the_register_filters_by_state_words_and_shanghai_days(room: Room) -> None:
    officer = room.person()
    room.clock.now = datetime(2026, 11, 22, 15, 59, tzinfo=UTC)  # 23:59 on the 22nd in Shanghai
    late = room.finalized(officer, event="百分之100%进水")
    room.clock.turn(minutes=2)
    early = room.finalized(officer, event="百分之1000进水")
    draft, _ = room.drafted(officer)

    def found(**wanted: object) -> list[int]:
        return [row.id for row in room.logbook.register(officer, EntryFilter(**wanted))]

    assert found() == [draft, early.id, late.id]
    assert found(state=EntryState.FINALIZED) == [early.id, late.id]
    assert found(words="100%") == [late.id]
    assert found(words="〔2026〕2号") == [early.id]
    assert found(until=date(2026, 11, 22)) == [late.id]
    assert found(since=date(2026, 11, 23), words="进水") == [early.id]
    assert found(limit=1, offset=1) == [early.id]


@pytest.mark.rule("7.4-a")
def test_who_did_what_when_is_in_the_audit_log(room: Room) -> None:
    officer = room.person()
    row = room.finalized(officer)
    room.logbook.amend(officer, row.id, {"place": "别处"}, reason="笔误")
    room.logbook.void(officer, row.id, reason="重复")
    with room.store.reading() as session:
        query = select(AuditRow).where(AuditRow.subject == f"entry:{row.id}").order_by(AuditRow.id)
        noted = [(line.action, line.officer_id, line.at) for line in session.scalars(query)]
    actions = ["open_entry", "edit_draft", "finalize", "amend", "void"]
    assert noted == [(action, officer.officer_id, room.clock.now) for action in actions]


def test_an_entry_can_be_opened_for_a_missed_call_only_by_its_own_unit(room: Room) -> None:
    officer, town = room.person(), room.person(unit="BS")
    call_id = room.arrive("13912345678")
    room.happen(call_id, CallEventKind.ENDED, Outcome.CANCELLED)
    with pytest.raises(Forbidden):
        room.logbook.open_for_call(town, call_id)
    with pytest.raises(NotFound):
        room.logbook.open_for_call(officer, "0" * 32)
    entry_id = room.logbook.open_for_call(officer, call_id)
    assert room.logbook.entry(officer, entry_id).caller_phone == "13912345678"
    assert [row.id for row in room.logbook.entries_of_call(officer, call_id)] == [entry_id]
    assert room.logbook.entries_of_call(town, call_id) == []
