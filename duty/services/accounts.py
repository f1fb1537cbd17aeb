"""People, their credentials and their sessions."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from duty.domain.errors import BadCredential, NotFound, Refused
from duty.domain.rights import Actor, Right, Role, roles_of
from duty.domain.texts import is_readable, refuse_unreadable
from duty.domain.times import Clock
from duty.services.audit import note
from duty.store.database import Store
from duty.store.tables import OfficerRow, SessionRow, UnitRow

SESSION_LIFE = timedelta(hours=14)
IDLE_LIFE = timedelta(hours=4)
MAX_FAILURES = 5
LOCK_TIME = timedelta(minutes=15)
MIN_PASSWORD_CHARS = 10
MAX_LOGIN_CHARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A browser's session: ``token`` goes into the cookie once and is kept nowhere else."""

    token: str
    csrf_token: str
    actor: Actor
    must_change_password: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """The session behind a request."""

    actor: Actor
    csrf_token: str
    title: str
    unit_name: str
    room_name: str
    must_change_password: bool


class Accounts:
    """Signing in, sessions, and the second look at a credential before an act of weight."""

    def __init__(self, store: Store, clock: Clock, *, hasher: PasswordHasher | None = None) -> None:
        self._store = store
        self._clock = clock
        self._hasher = hasher or PasswordHasher()
        self._decoy = self._hasher.hash(secrets.token_hex(8))

    def one_time_logins(self) -> list[str]:
        """Active accounts whose one-time password has not been changed yet, by login."""
        query = select(OfficerRow.login).where(OfficerRow.active, OfficerRow.must_change_password)
        with self._store.reading() as session:
            return list(session.scalars(query.order_by(OfficerRow.login)))

    def add_officer(
        self,
        *,
        unit_code: str,
        login: str,
        name: str,
        password: str,
        roles: Collection[Role],
        title: str = "",
        must_change_password: bool = True,
        by: Actor | None = None,
    ) -> int:
        """Create an account; returns its id. ``by`` is the administrator, None the operator at the machine.

        Raises NotFound, Forbidden, Refused for a weak password, a taken login, no login, name or role.
        """
        login, name = login.strip(), name.strip()
        if not login or not name or not roles:
            raise Refused("officer_incomplete")
        _check_strength(password, login)
        refuse_unreadable(login, name, title)
        if not 0 < len(login.strip()) <= MAX_LOGIN_CHARS:
            raise Refused("login_invalid", limit=MAX_LOGIN_CHARS)
        with self._store.writing() as session:
            unit = session.scalars(select(UnitRow).where(UnitRow.code == unit_code)).first()
            if unit is None:
                raise NotFound("unit_not_found", unit=unit_code)
            if by is not None:
                by.require(Right.MANAGE_PEOPLE, unit.id)
            if session.scalars(select(OfficerRow.id).where(OfficerRow.login == login)).first() is not None:
                raise Refused("login_taken", login=login)
            row = OfficerRow(
                unit_id=unit.id,
                login=login,
                name=name,
                title=title,
                password_hash=self._hasher.hash(password),
                roles=sorted(role.value for role in roles),
                must_change_password=must_change_password,
                created_at=self._clock(),
            )
            session.add(row)
            session.flush()
            note(session, at=self._clock(), actor=by, action="add_officer", subject=f"officer:{row.id}")
            return row.id

    def is_empty(self) -> bool:
        """True before the first account exists."""
        with self._store.reading() as session:
            return not session.scalar(select(func.count()).select_from(OfficerRow))

    def sign_in(self, login: str, password: str, *, address: str = "", browser: str = "") -> SignedIn:
        """Open a session. Raises BadCredential, alike for an unknown login and a wrong password."""
        officer_id = self._check(login, password)
        now = self._clock()
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
        with self._store.writing() as session:
            officer = session.get_one(OfficerRow, officer_id)
            session.execute(delete(SessionRow).where(SessionRow.expires_at < now))
            session.add(
                SessionRow(
                    token_hash=_hash(token),
                    officer_id=officer.id,
                    csrf_token=csrf,
                    created_at=now,
                    last_seen_at=now,
                    expires_at=now + SESSION_LIFE,
                    address=address[:80],
                    browser=browser[:300],
                )
            )
            actor = actor_of(officer)
            note(session, at=now, actor=actor, action="sign_in", subject=f"officer:{officer.id}")
            return SignedIn(
                token=token, csrf_token=csrf, actor=actor, must_change_password=officer.must_change_password
            )

    def session(self, token: str) -> SessionView | None:
        """The session of a cookie's token, None when it is unknown, idle too long, expired or the person inactive."""
        now = self._clock()
        with self._store.reading() as session:
            row = session.get(SessionRow, _hash(token))
            if row is None or row.expires_at <= now or row.last_seen_at + IDLE_LIFE <= now or not row.officer.active:
                return None
            view = SessionView(
                actor=actor_of(row.officer),
                csrf_token=row.csrf_token,
                title=row.officer.title,
                unit_name=row.officer.unit.name,
                room_name=row.officer.unit.room_name,
                must_change_password=row.officer.must_change_password,
            )
            stale = now - row.last_seen_at > timedelta(minutes=5)
        if stale:
            with self._store.writing() as session:
                seen = session.get(SessionRow, _hash(token))
                if seen is not None:
                    seen.last_seen_at = now
        return view

    def sign_out(self, token: str) -> None:
        """End a session; an unknown token is no error."""
        with self._store.writing() as session:
            session.execute(delete(SessionRow).where(SessionRow.token_hash == _hash(token)))

    def confirm(self, actor: Actor, password: str) -> None:
        """The signed-in person proves once more who they are, before finalizing. Raises BadCredential."""
        with self._store.reading() as session:
            login = session.get_one(OfficerRow, actor.officer_id).login
        self._check(login, password)

    def witness(self, login: str, password: str) -> Actor:
        """Who stands at a screen that is somebody else's session, e.g. to take over the duty there. Raises
        BadCredential, also for one whose one-time password was never changed: others know it."""
        officer_id = self._check(login.strip(), password)
        with self._store.reading() as session:
            row = session.get_one(OfficerRow, officer_id)
            if row.must_change_password:
                raise BadCredential("password_not_own")
            return actor_of(row)

    def change_password(self, actor: Actor, old: str, new: str) -> None:
        """Raises BadCredential for a wrong old one, Refused for a weak new one."""
        self.confirm(actor, old)
        with self._store.writing() as session:
            row = session.get_one(OfficerRow, actor.officer_id)
            _check_strength(new, row.login)
            row.password_hash, row.must_change_password = self._hasher.hash(new), False
            note(session, at=self._clock(), actor=actor, action="change_password", subject=f"officer:{row.id}")

    def reset_password(self, login: str, password: str, *, by: Actor | None = None) -> None:
        """The operator at the machine, or the administrator ``by``, gives a new one-time password.

        Raises NotFound, Forbidden, Refused.
        """
        _check_strength(password, login)
        with self._store.writing() as session:
            row = session.scalars(select(OfficerRow).where(OfficerRow.login == login)).first()
            if row is None:
                raise NotFound("officer_not_found", login=login)
            if by is not None:
                by.require(Right.MANAGE_PEOPLE, row.unit_id)
            row.password_hash, row.must_change_password = self._hasher.hash(password), True
            row.failed_attempts, row.locked_until = 0, None
            session.execute(delete(SessionRow).where(SessionRow.officer_id == row.id))
            note(session, at=self._clock(), actor=by, action="reset_password", subject=f"officer:{row.id}")

    def officers(self, actor: Actor) -> list[OfficerRow]:
        """The accounts an administrator sees."""
        scope = actor.unit_scope(Right.MANAGE_PEOPLE)
        query = select(OfficerRow).order_by(OfficerRow.login)
        if scope is not None:
            query = query.where(OfficerRow.unit_id == scope)
        with self._store.reading() as session:
            return list(session.scalars(query))

    def _check(self, login: str, password: str) -> int:
        """Id of the officer whose password this is; counts failures and locks. Raises BadCredential."""
        now = self._clock()
        with self._store.reading() as session:
            row = _by_login(session, login)
            known = row.password_hash if row is not None else self._decoy
        matches = self._matches(known, password)
        with self._store.writing() as session:
            row = _by_login(session, login)
            if row is None:
                raise BadCredential("bad_credential")
            if row.locked_until is not None and row.locked_until > now:
                raise BadCredential("account_locked")
            if not matches:
                failed_id = row.id
            else:
                row.failed_attempts, row.locked_until = 0, None
                return row.id
        self._count_failure(failed_id, now)
        raise BadCredential("bad_credential")

    def _matches(self, known: str, password: str) -> bool:
        try:
            return self._hasher.verify(known, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False

    def _count_failure(self, officer_id: int, now: datetime) -> None:
        with self._store.writing() as session:
            row = session.get_one(OfficerRow, officer_id, with_for_update={"of": OfficerRow})
            row.failed_attempts += 1
            if row.failed_attempts >= MAX_FAILURES:
                row.locked_until, row.failed_attempts = now + LOCK_TIME, 0
                note(session, at=now, actor=None, action="lock_account", subject=f"officer:{row.id}")


def actor_of(officer: OfficerRow) -> Actor:
    """The actor a row stands for."""
    return Actor(officer_id=officer.id, name=officer.name, unit_id=officer.unit_id, roles=roles_of(officer.roles))


def _by_login(session: Session, login: str) -> OfficerRow | None:
    if not is_readable(login):
        return None
    query = select(OfficerRow).where(OfficerRow.login == login, OfficerRow.active.is_(True))
    return session.scalars(query).first()


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _check_strength(password: str, login: str) -> None:
    refuse_unreadable(password)
    if len(password) < MIN_PASSWORD_CHARS:
        raise Refused("password_short", limit=MIN_PASSWORD_CHARS)
    if login.casefold() in password.casefold() or len(set(password)) < 4:
        raise Refused("password_weak")
