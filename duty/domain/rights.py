"""Who may do what, decided in this one place. Screens and services ask; nobody else compares roles."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from duty.domain.errors import Forbidden


class Role(StrEnum):
    """The roles of the duty network: 值班员, 带班领导, 督查人员, 区政府值班室, 管理员, 审计员."""

    OFFICER = "officer"
    LEADER = "leader"
    SUPERVISOR = "supervisor"
    HUB = "hub"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"


class Right(StrEnum):
    """One right per kind of act."""

    SEE_DESK = "see_desk"
    SEE_CALLS = "see_calls"
    LISTEN = "listen"
    EDIT_DRAFT = "edit_draft"
    CHECK_IDENTITY = "check_identity"
    FINALIZE = "finalize"
    AMEND = "amend"
    SEE_LOGBOOK = "see_logbook"
    PRINT = "print"
    SEE_DIRECTORY = "see_directory"
    EDIT_DIRECTORY = "edit_directory"
    SEE_RESTRICTED = "see_restricted"
    REVIEW_CALLS = "review_calls"
    ORDER_CHECK = "order_check"
    ACKNOWLEDGE_ALARM = "acknowledge_alarm"
    ASK_EXCEPTION = "ask_exception"
    APPROVE_EXCEPTION = "approve_exception"
    MANAGE_PEOPLE = "manage_people"
    SEE_AUDIT = "see_audit"
    SEE_WORDS = "see_words"
    EDIT_WORDS = "edit_words"
    SEE_EVIDENCE = "see_evidence"
    MARK_SECRECY = "mark_secrecy"
    OPEN_SECRECY = "open_secrecy"
    LIFT_SECRECY = "lift_secrecy"
    SEE_DUTY = "see_duty"
    TAKE_DUTY = "take_duty"
    PLAN_DUTY = "plan_duty"
    ALLOW_DUTY = "allow_duty"
    EDIT_CALENDAR = "edit_calendar"


_DESK = frozenset(
    {
        Right.SEE_DESK,
        Right.SEE_CALLS,
        Right.LISTEN,
        Right.EDIT_DRAFT,
        Right.CHECK_IDENTITY,
        Right.FINALIZE,
        Right.AMEND,
        Right.SEE_LOGBOOK,
        Right.PRINT,
        Right.SEE_DIRECTORY,
        Right.SEE_RESTRICTED,
        Right.ACKNOWLEDGE_ALARM,
        Right.ASK_EXCEPTION,
        Right.MARK_SECRECY,
        Right.SEE_WORDS,
        Right.EDIT_WORDS,
        Right.SEE_DUTY,
        Right.TAKE_DUTY,
    }
)
_REVIEW = frozenset(
    {
        Right.SEE_CALLS,
        Right.LISTEN,
        Right.SEE_LOGBOOK,
        Right.PRINT,
        Right.REVIEW_CALLS,
        Right.SEE_DIRECTORY,
        Right.ORDER_CHECK,
        Right.SEE_EVIDENCE,
        Right.MARK_SECRECY,
        Right.SEE_WORDS,
        Right.SEE_DUTY,
    }
)
_GRANTS: dict[Role, frozenset[Right]] = {
    Role.OFFICER: _DESK,
    Role.LEADER: _DESK
    | {
        Right.EDIT_DIRECTORY,
        Right.REVIEW_CALLS,
        Right.ORDER_CHECK,
        Right.APPROVE_EXCEPTION,
        Right.SEE_EVIDENCE,
        Right.PLAN_DUTY,
        Right.ALLOW_DUTY,
    },
    Role.SUPERVISOR: _REVIEW,
    Role.HUB: _DESK
    | _REVIEW
    | {Right.EDIT_DIRECTORY, Right.APPROVE_EXCEPTION, Right.PLAN_DUTY, Right.ALLOW_DUTY, Right.EDIT_CALENDAR},
    Role.ADMINISTRATOR: frozenset(
        {
            Right.SEE_DESK,
            Right.MANAGE_PEOPLE,
            Right.EDIT_DIRECTORY,
            Right.SEE_DIRECTORY,
            Right.ACKNOWLEDGE_ALARM,
            Right.SEE_WORDS,
            Right.EDIT_WORDS,
            Right.SEE_DUTY,
            Right.PLAN_DUTY,
            Right.EDIT_CALENDAR,
        }
    ),
    Role.AUDITOR: frozenset({Right.SEE_AUDIT, Right.SEE_LOGBOOK, Right.PRINT, Right.SEE_EVIDENCE, Right.SEE_DUTY}),
}
_OPENERS = frozenset({Role.LEADER, Role.SUPERVISOR, Role.HUB})
"""Who hears and reads what was sealed for secrecy, with a reason and for a time, and lifts false flags (6.5-a)."""
_GRANTS |= {role: _GRANTS[role] | {Right.OPEN_SECRECY, Right.LIFT_SECRECY} for role in _OPENERS}
_ACROSS_UNITS = frozenset({Role.SUPERVISOR, Role.HUB, Role.AUDITOR, Role.ADMINISTRATOR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The signed-in person on whose behalf a use case runs."""

    officer_id: int
    name: str
    unit_id: int
    roles: frozenset[Role]

    def rights(self) -> frozenset[Right]:
        """Everything this person may do in their own unit."""
        return frozenset().union(*(_GRANTS[role] for role in self.roles))

    def may(self, right: Right, unit_id: int | None = None) -> bool:
        """True when the person holds ``right`` and, if given, for that unit."""
        return any(
            right in _GRANTS[role] and (unit_id in (None, self.unit_id) or role in _ACROSS_UNITS) for role in self.roles
        )

    def require(self, right: Right, unit_id: int | None = None) -> None:
        """Raises Forbidden when ``may`` says no."""
        if not self.may(right, unit_id):
            raise Forbidden("forbidden", right=right)

    def unit_scope(self, right: Right) -> int | None:
        """The unit whose rows this person sees under ``right``; None means every unit. Raises Forbidden without it."""
        self.require(right)
        across = any(right in _GRANTS[role] and role in _ACROSS_UNITS for role in self.roles)
        return None if across else self.unit_id


def roles_of(names: Collection[str]) -> frozenset[Role]:
    """Roles by their stored names. Raises ValueError for an unknown one."""
    return frozenset(Role(name) for name in names)
