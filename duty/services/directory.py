"""The directory: who may be calling. A match is 可能是, never certainty (requirement 6.1-b, 6.1-c)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from duty.domain.errors import NotFound, Refused
from duty.domain.numbers import NumberPlan, mask, normalise
from duty.domain.rights import Actor, Right
from duty.domain.texts import refuse_unreadable, signalled
from duty.domain.times import Clock
from duty.services.audit import note
from duty.store.database import Store
from duty.store.tables import ContactNumberRow, ContactRow

MAX_NUMBER_CHARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContact:
    """A contact as it is entered; ``numbers`` as written on the card."""

    organisation: str
    name: str = ""
    title: str = ""
    numbers: tuple[str, ...] = ()
    superior: bool = False
    restricted: bool = False
    challenge: str = ""
    challenge_answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactView:
    """A contact as one person may see it: the numbers of a restricted one are masked for those without the right."""

    contact_id: int
    organisation: str
    name: str
    title: str
    superior: bool
    restricted: bool
    numbers: tuple[str, ...]
    challenge: str


def match(session: Session, normalised: str) -> ContactRow | None:
    """The contact that owns a normalised number, or None; an extension given by only one side does not matter."""
    contact_id = match_id(session, normalised)
    return None if contact_id is None else session.get(ContactRow, contact_id)


def match_id(session: Session, normalised: str) -> int | None:
    """The id of the contact that ``match`` finds."""
    if not normalised:
        return None
    base = normalised.partition(";ext=")[0]
    query = (
        select(ContactNumberRow.contact_id, ContactNumberRow.normalised)
        .where(or_(ContactNumberRow.normalised == base, ContactNumberRow.normalised.startswith(base + ";ext=")))
        .order_by(ContactNumberRow.contact_id)
    )
    found = session.execute(query).all()
    exact = [contact_id for contact_id, number in found if number == normalised]
    loose = [contact_id for contact_id, number in found if base in (number, normalised)]
    return next(iter(exact or loose), None)


class Directory:
    """What the console asks of the directory."""

    def __init__(self, store: Store, clock: Clock, plan: NumberPlan) -> None:
        self._store = store
        self._clock = clock
        self._plan = plan

    def add(self, actor: Actor, contact: NewContact) -> int:
        """Put a contact into the directory; returns its id. Raises Forbidden, Refused for a number that is none."""
        actor.require(Right.EDIT_DIRECTORY, actor.unit_id)
        with self._store.writing() as session:
            contact_id = insert_contact(session, actor.unit_id, contact, self._plan)
            note(session, at=self._clock(), actor=actor, action="add_contact", subject=f"contact:{contact_id}")
            return contact_id

    def search(self, actor: Actor, words: str = "", *, limit: int = 200) -> list[ContactView]:
        """Contacts whose organisation, name or number contains ``words``; restricted numbers masked.

        A masked number cannot be found by typing it: that would reveal it.
        """
        actor.require(Right.SEE_DIRECTORY)
        query = select(ContactRow).order_by(ContactRow.organisation, ContactRow.name).limit(limit)
        if words := signalled(words):
            by_number = select(ContactNumberRow.contact_id).where(
                ContactNumberRow.number.contains(words, autoescape=True)
            )
            query = query.where(
                or_(
                    ContactRow.organisation.contains(words, autoescape=True),
                    ContactRow.name.contains(words, autoescape=True),
                    ContactRow.id.in_(by_number) & ContactRow.restricted.is_(False),
                )
            )
        with self._store.reading() as session:
            return [_view(row, reveal=False) for row in session.scalars(query)]

    def reveal(self, actor: Actor, contact_id: int) -> ContactView:
        """A contact with its restricted numbers; the look is in the audit log. Raises NotFound, Forbidden."""
        with self._store.writing() as session:
            row = session.get(ContactRow, contact_id)
            if row is None:
                raise NotFound("contact_not_found")
            if row.restricted:
                actor.require(Right.SEE_RESTRICTED, row.unit_id)
                note(
                    session,
                    at=self._clock(),
                    actor=actor,
                    action="see_restricted",
                    subject=f"contact:{row.id}",
                )
            else:
                actor.require(Right.SEE_DIRECTORY)
            return _view(row, reveal=True)


def insert_contact(session: Session, unit_id: int, contact: NewContact, plan: NumberPlan) -> int:
    """Write a contact in the running transaction. Raises Refused for a number that is none and unreadable text."""
    refuse_unreadable(
        contact.organisation, contact.name, contact.title, contact.challenge, contact.challenge_answer, *contact.numbers
    )
    row = ContactRow(
        unit_id=unit_id,
        organisation=contact.organisation.strip(),
        name=contact.name.strip(),
        title=contact.title.strip(),
        superior=contact.superior,
        restricted=contact.restricted,
        challenge=contact.challenge.strip(),
        challenge_answer=contact.challenge_answer.strip(),
        numbers=[_number(number, plan) for number in _distinct(contact.numbers)],
    )
    if not row.organisation and not row.name:
        raise Refused("contact_nameless")
    session.add(row)
    session.flush()
    return row.id


def _number(number: str, plan: NumberPlan) -> ContactNumberRow:
    normalised = normalise(number, plan)
    if not normalised or len(number.strip()) > MAX_NUMBER_CHARS or len(normalised) > MAX_NUMBER_CHARS:
        raise Refused("number_invalid", number=number[:MAX_NUMBER_CHARS])
    return ContactNumberRow(number=number.strip(), normalised=normalised)


def _distinct(numbers: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(number.strip() for number in numbers if number.strip()))


def _view(row: ContactRow, *, reveal: bool) -> ContactView:
    shown = tuple(number.number if reveal or not row.restricted else mask(number.number) for number in row.numbers)
    return ContactView(
        contact_id=row.id,
        organisation=row.organisation,
        name=row.name,
        title=row.title,
        superior=row.superior,
        restricted=row.restricted,
        numbers=shown,
        challenge=row.challenge,
    )
