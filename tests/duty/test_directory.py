"""The directory: who may be calling, and that a restricted number is shown to nobody without leaving a trace."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from duty.domain.errors import Forbidden, NotFound, Refused
from duty.domain.rights import Role
from duty.services.directory import NewContact, match
from duty.store.tables import AuditRow, CommandRow, ContactNumberRow
from tests.duty.room import Room


def matched(room: Room, normalised: str) -> str | None:
    with room.store.reading() as session:
        found = match(session, normalised)
        return found.organisation if found else None


@pytest.mark.rule("6.1-c")
def test_a_caller_is_matched_by_number_whatever_its_form(room: Room) -> None:
    leader = room.person(Role.LEADER)
    room.directory.add(leader, NewContact(organisation="总机", numbers=("0371-22595000",)))
    room.directory.add(leader, NewContact(organisation="值班室", numbers=("22595000转801",)))
    room.directory.add(leader, NewContact(organisation="分机", numbers=("1001", "13800138000")))
    assert matched(room, "+8637122595000") == "总机"
    assert matched(room, "+8637122595000;ext=801") == "值班室"
    assert matched(room, "+8637122595000;ext=802") == "总机"
    assert matched(room, "1001") == "分机"
    assert matched(room, "+8613800138000") == "分机"
    assert matched(room, "+8613800138001") is None
    assert matched(room, "") is None


def test_an_extension_only_in_the_directory_still_matches(room: Room) -> None:
    room.directory.add(room.person(Role.LEADER), NewContact(organisation="值班室", numbers=("22595000转801",)))
    assert matched(room, "+8637122595000") == "值班室"
    assert matched(room, "+8637122595000;ext=9") is None


@pytest.mark.rule("6.1-b")
def test_a_restricted_number_is_masked_and_each_look_is_audited(room: Room) -> None:
    leader, officer, supervisor = room.person(Role.LEADER), room.person(), room.person(Role.SUPERVISOR)
    secret = NewContact(
        organisation="市政府领导", name="赵六", numbers=("13900001234",), superior=True, restricted=True
    )
    contact_id = room.directory.add(leader, secret)
    for person in (leader, officer, supervisor):
        [view] = room.directory.search(person, "领导")
        assert view.numbers == ("*********34",)
        assert room.directory.search(person, "1390000") == [], "typing it must not confirm it"
    with pytest.raises(Forbidden):
        room.directory.reveal(supervisor, contact_id)
    with pytest.raises(Forbidden):
        room.directory.reveal(room.person(unit="BS"), contact_id)
    assert room.directory.reveal(officer, contact_id).numbers == ("13900001234",)
    with room.store.reading() as session:
        looks = session.scalars(select(AuditRow).where(AuditRow.action == "see_restricted")).all()
    assert [(look.officer_id, look.subject) for look in looks] == [(officer.officer_id, f"contact:{contact_id}")]


def test_an_open_number_is_found_by_typing_it(room: Room) -> None:
    leader = room.person(Role.LEADER)
    contact_id = room.directory.add(leader, NewContact(organisation="气象局_100%", numbers=("0371-22595000",)))
    assert room.directory.reveal(room.person(), contact_id).numbers == ("0371-22595000",)
    for words in ("22595", "气象", "_100%", ""):
        assert [view.contact_id for view in room.directory.search(leader, words)] == [contact_id], words
    for words in ("气_局", "%2259%", "\x00", "\ud800"):
        assert room.directory.search(leader, words) == [], repr(words)


@pytest.mark.parametrize(
    ("contact", "code"),
    [
        (NewContact(organisation=" ", name=" "), "contact_nameless"),
        (NewContact(organisation="甲", numbers=("不详",)), "number_invalid"),
        (NewContact(organisation="甲", numbers=("1" * 61,)), "number_invalid"),
        (NewContact(organisation="甲\x00"), "text_unreadable"),
        (NewContact(organisation="甲", challenge="\ud800"), "text_unreadable"),
    ],
)
def test_a_contact_that_cannot_be_matched_or_kept_is_refused(room: Room, contact: NewContact, code: str) -> None:
    leader = room.person(Role.LEADER)
    with pytest.raises(Refused) as refused:
        room.directory.add(leader, contact)
    assert refused.value.code == code
    assert room.directory.search(leader) == []


def test_officers_read_the_directory_and_leaders_write_it(room: Room) -> None:
    with pytest.raises(Forbidden):
        room.directory.add(room.person(), NewContact(organisation="甲"))
    with pytest.raises(Forbidden):
        room.directory.search(room.person(Role.AUDITOR))
    with pytest.raises(NotFound):
        room.directory.reveal(room.person(), 99)


@pytest.mark.rule("6.1-c", "6.1-b")
def test_a_call_back_is_dialled_to_the_directorys_number_once(room: Room) -> None:
    leader, town = room.person(Role.LEADER), room.person(unit="BS")
    contact_id = room.directory.add(
        leader, NewContact(organisation="市局", numbers=("0371-22595000",), restricted=True)
    )
    with room.store.reading() as session:
        number_id = session.scalars(select(ContactNumberRow.id).where(ContactNumberRow.contact_id == contact_id)).one()
    with pytest.raises(Forbidden):
        room.commands.call_back(town, number_id)
    with pytest.raises(NotFound):
        room.commands.call_back(leader, number_id + 9)
    assert room.commands.take() is None
    command_id = room.commands.call_back(leader, number_id)
    taken = room.commands.take()
    assert taken is not None
    assert (taken.command_id, taken.line_number, taken.number) == (command_id, "037122595110", "0371-22595000")
    assert room.commands.take() is None
    room.commands.finish(command_id, result="no_phone")
    room.commands.finish(command_id, result="answered")  # the first word counts
    with room.store.reading() as session:
        assert session.get_one(CommandRow, command_id).result == "no_phone"
