"""Signing in: what a wrong credential learns, how sessions end, and who may do what where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from duty.domain.errors import BadCredential, Forbidden, NotFound, Refused
from duty.domain.rights import Actor, Right, Role
from duty.services.accounts import IDLE_LIFE, LOCK_TIME, MAX_FAILURES, SESSION_LIFE
from duty.store.tables import AuditRow, OfficerRow, SessionRow
from tests.duty.room import HASHER, PASSWORD, Room

NEW = "another-horse-43"


def failure(room: Room, login: str, password: str) -> tuple[str, dict[str, str | int]]:
    with pytest.raises(BadCredential) as error:
        room.accounts.sign_in(login, password)
    return error.value.code, error.value.details


def test_an_unknown_login_and_a_wrong_password_are_told_alike(room: Room) -> None:
    room.person(login="zhang")
    wrong = failure(room, "zhang", "wrong-password")
    for login in ("nobody", "", "zhang\x00", "\ud800", "' OR 1=1 --"):
        assert failure(room, login, PASSWORD) == wrong
    assert failure(room, "zhang", "\ud800") == wrong


def test_an_unknown_login_costs_a_hash_too(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the answer's time would tell which logins exist."""
    hashed: list[str] = []
    matches = room.accounts._matches
    monkeypatch.setattr(room.accounts, "_matches", lambda known, given: hashed.append(known) or matches(known, given))
    failure(room, "nobody", PASSWORD)
    assert [HASHER.check_needs_rehash(known) for known in hashed] == [False]


def test_an_account_locks_after_failures_and_opens_again(room: Room) -> None:
    room.person(login="zhang")
    for _ in range(MAX_FAILURES):
        assert failure(room, "zhang", "wrong-password")[0] == "bad_credential"
    assert failure(room, "zhang", PASSWORD)[0] == "account_locked"
    room.clock.now += LOCK_TIME
    assert room.accounts.sign_in("zhang", PASSWORD).actor.name
    for _ in range(MAX_FAILURES - 1):
        failure(room, "zhang", "wrong-password")
    room.accounts.sign_in("zhang", PASSWORD)
    failure(room, "zhang", "wrong-password")
    assert room.accounts.sign_in("zhang", PASSWORD).token, "a success forgets the failures before it"


def test_confirming_before_an_act_counts_failures_too(room: Room) -> None:
    actor = room.person()
    room.accounts.confirm(actor, PASSWORD)
    for _ in range(MAX_FAILURES):
        with pytest.raises(BadCredential):
            room.accounts.confirm(actor, "guess")
    with pytest.raises(BadCredential) as error:
        room.accounts.confirm(actor, PASSWORD)
    assert error.value.code == "account_locked"


def test_a_session_ends_by_age_by_idling_and_by_signing_out(room: Room) -> None:
    room.person(login="zhang")
    token = room.accounts.sign_in("zhang", PASSWORD, address="x" * 200, browser="y" * 999).token
    begun = room.clock.now
    while room.clock.now + IDLE_LIFE / 2 < begun + SESSION_LIFE:
        assert room.accounts.session(token) is not None
        room.clock.now += IDLE_LIFE / 2
    room.clock.now = begun + SESSION_LIFE
    assert room.accounts.session(token) is None
    idle = room.accounts.sign_in("zhang", PASSWORD).token
    room.clock.now += IDLE_LIFE
    assert room.accounts.session(idle) is None
    left = room.accounts.sign_in("zhang", PASSWORD).token
    room.accounts.sign_out(left)
    room.accounts.sign_out(left)
    assert room.accounts.session(left) is None
    assert room.accounts.session("made up") is None


def test_only_the_tokens_hash_is_kept_and_old_sessions_are_swept(room: Room) -> None:
    room.person(login="zhang")
    token = room.accounts.sign_in("zhang", PASSWORD).token
    room.clock.now += SESSION_LIFE * 2
    room.accounts.sign_in("zhang", PASSWORD)
    with room.store.reading() as session:
        rows = session.scalars(select(SessionRow)).unique().all()
    assert len(rows) == 1
    assert token not in rows[0].token_hash


def test_an_inactive_person_is_out_at_once(room: Room) -> None:
    actor = room.person(login="zhang")
    token = room.accounts.sign_in("zhang", PASSWORD).token
    with room.store.writing() as session:
        session.get_one(OfficerRow, actor.officer_id).active = False
    assert room.accounts.session(token) is None
    assert failure(room, "zhang", PASSWORD)[0] == "bad_credential"


def test_a_new_password_replaces_the_old_and_a_reset_ends_sessions(room: Room) -> None:
    actor = room.person(login="zhang")
    assert room.accounts.sign_in("zhang", PASSWORD).must_change_password
    with pytest.raises(BadCredential):
        room.accounts.change_password(actor, "guess", NEW)
    room.accounts.change_password(actor, PASSWORD, NEW)
    signed = room.accounts.sign_in("zhang", NEW)
    assert not signed.must_change_password
    assert failure(room, "zhang", PASSWORD)[0] == "bad_credential"
    room.accounts.reset_password("zhang", PASSWORD)
    assert room.accounts.session(signed.token) is None
    assert room.accounts.sign_in("zhang", PASSWORD).must_change_password
    with pytest.raises(NotFound):
        room.accounts.reset_password("nobody", PASSWORD)


@pytest.mark.parametrize(
    ("login", "password", "code"),
    [
        ("li", "short", "password_short"),
        ("li", "abababababab", "password_weak"),
        ("lisi", "xx-LiSi-2026", "password_weak"),
        ("li", "half \ud800 a character", "text_unreadable"),
        ("l\x00i", PASSWORD, "text_unreadable"),
        ("l" * 61, PASSWORD, "login_invalid"),
        (" ", PASSWORD, "officer_incomplete"),
        ("zhang", PASSWORD, "login_taken"),
    ],
)
def test_an_account_needs_a_login_of_its_own_and_a_strong_password(
    room: Room, login: str, password: str, code: str
) -> None:
    room.person(login="zhang")
    with pytest.raises(Refused) as refused:
        room.accounts.add_officer(unit_code="LT", login=login, name="李", password=password, roles=[Role.OFFICER])
    assert refused.value.code == code


def test_an_account_belongs_to_a_known_unit(room: Room) -> None:
    assert room.accounts.is_empty()
    with pytest.raises(NotFound):
        room.accounts.add_officer(unit_code="??", login="li", name="李", password=PASSWORD, roles=[Role.OFFICER])
    assert room.accounts.is_empty()


@pytest.mark.rule("7.4-a")
def test_signing_in_and_locking_are_in_the_audit_log(room: Room) -> None:
    room.person(login="zhang")
    room.accounts.sign_in("zhang", PASSWORD)
    for _ in range(MAX_FAILURES):
        failure(room, "zhang", "guess")
    with room.store.reading() as session:
        assert list(session.scalars(select(AuditRow.action).order_by(AuditRow.id))) == [
            "add_officer",
            "sign_in",
            "lock_account",
        ]


@pytest.mark.rule("3-a")
def test_people_are_listed_for_administrators_only(room: Room) -> None:
    admin, officer = room.person(Role.ADMINISTRATOR), room.person()
    assert {row.id for row in room.accounts.officers(admin)} == {admin.officer_id, officer.officer_id}
    with pytest.raises(Forbidden):
        room.accounts.officers(officer)


_ROLES = st.frozensets(st.sampled_from(Role))


@given(_ROLES, st.sampled_from(Right), st.integers(1, 3))
def test_rights_are_one_answer_in_three_forms(roles: frozenset[Role], right: Right, unit_id: int) -> None:
    actor = Actor(officer_id=1, name="张", unit_id=1, roles=roles)
    assert actor.may(right) is (right in actor.rights()) is actor.may(right, 1)
    if not actor.may(right):
        with pytest.raises(Forbidden):
            actor.require(right, unit_id)
        with pytest.raises(Forbidden):
            actor.unit_scope(right)
        return
    scope = actor.unit_scope(right)
    assert actor.may(right, unit_id) is (scope is None or scope == unit_id)


@given(_ROLES)
def test_no_role_takes_a_right_away(roles: frozenset[Role]) -> None:
    whole = Actor(officer_id=1, name="张", unit_id=1, roles=roles).rights()
    for role in roles:
        assert Actor(officer_id=1, name="张", unit_id=1, roles=frozenset({role})).rights() <= whole
