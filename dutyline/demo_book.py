"""What the demonstration does in the book: its contact, finding its call, and, unattended, finalizing its entry."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import select

from config.settings import LineSettings, Settings
from duty.domain.identity import CheckResult, Method, Verdict
from duty.domain.numbers import normalise
from duty.domain.rights import Actor, Role
from duty.domain.times import utc_now
from duty.services.accounts import actor_of
from duty.services.audit import note
from duty.services.callreview import CallDossier, CallFilter
from duty.services.directory import NewContact, insert_contact, match
from duty.services.numbering import number_plan
from duty.store.database import Store
from duty.store.tables import EntryRow, LineRow, OfficerRow
from web.services import build

CALLER = NewContact(
    organisation="北郊乡人民政府党政办公室（演示）", name="张建国", title="值班员", numbers=("13703786621",)
)
CALLER_NUMBER = CALLER.numbers[0]
UNKNOWN = "不详"
REMARK = "演示通话，由 dutyline demo 自动核实、定稿"
_CALLER_FIELDS = {"caller": "caller_name"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCaller:
    """The contact the caller's number leads to; ``added`` where the demonstration has just put it there."""

    organisation: str
    name: str
    added: bool


class OtherVersionError(Exception):
    """The store has another version's schema: the service was not restarted since the program was renewed."""


class DemoBook:
    """The running service's store, as the demonstration uses it. Raises OtherVersionError."""

    def __init__(self, settings: Settings, line: LineSettings) -> None:
        self._store = Store(settings.store_url)
        if not self._store.is_current():
            self._store.close()
            raise OtherVersionError
        self._services = build(self._store, utc_now, settings)
        self._plan = number_plan(settings.numbers)
        self._unit = line.unit
        with self._store.reading() as session:
            self._unit_id = session.scalars(select(LineRow.unit_id).where(LineRow.number == line.number)).one()
        # Only looks: whoever runs the command on the machine can read the store anyway.
        self._onlooker = Actor(
            officer_id=0, name="dutyline demo", unit_id=self._unit_id, roles=frozenset({Role.OFFICER})
        )

    def close(self) -> None:
        """Give the store back."""
        self._store.close()

    def know_caller(self) -> KnownCaller:
        """Make sure that the directory knows the caller's number; an existing contact stays as it is."""
        with self._store.writing() as session:
            found = match(session, normalise(CALLER_NUMBER, self._plan))
            if found is not None:
                return KnownCaller(organisation=found.organisation, name=found.name, added=False)
            contact_id = insert_contact(session, self._unit_id, CALLER, self._plan)
            note(session, at=utc_now(), actor=None, action="add_contact", subject=f"contact:{contact_id}")
            return KnownCaller(organisation=CALLER.organisation, name=CALLER.name, added=True)

    def call_id(self, sip_call_id: str) -> str | None:
        """Our id of the call with this Call-ID header."""
        recent = self._services.calls.page(self._onlooker, CallFilter(words=CALLER_NUMBER, limit=20))
        return next((call.id for call in recent if call.sip_call_id == sip_call_id), None)

    def dossier(self, call_id: str) -> CallDossier:
        """Everything the book has of the call. Raises NotFound."""
        return self._services.calls.dossier(self._onlooker, call_id)

    def finalize(self, call_id: str) -> str:
        """Check the caller against the directory, admit to what nobody said, finalize; the printed number.

        It is done in the name of an account of its own, which nobody can sign in with: the book shall not say that an
        officer did it. Raises DutyError.
        """
        actor = self._officer()
        logbook = self._services.logbook
        entry = logbook.entries_of_call(actor, call_id)[0]
        changes = {_CALLER_FIELDS.get(name, name): UNKNOWN for name in self._missing(entry)}
        logbook.edit(actor, entry.id, {**changes, "remarks": REMARK}, version=entry.version)
        contact = self.dossier(call_id).call.contact
        if contact is not None:
            checked = CheckResult(method=Method.DIRECTORY, verdict=Verdict.VERIFIED, contact_id=contact.id)
            logbook.check_identity(actor, entry.id, checked)
        version = logbook.entry(actor, entry.id).version
        return logbook.finalize(actor, entry.id, version=version).number_text or ""

    def _missing(self, entry: EntryRow) -> list[str]:
        obstacles = self._services.logbook.obstacles(entry)
        return [obstacle.field for obstacle in obstacles if obstacle.field]

    def _officer(self) -> Actor:
        login = f"demo-{self._unit.lower()}"
        query = select(OfficerRow).where(OfficerRow.login == login)
        with self._store.reading() as session:
            if (row := session.scalars(query).first()) is not None:
                return actor_of(row)
        self._services.accounts.add_officer(
            unit_code=self._unit,
            login=login,
            name="演示程序",
            password=secrets.token_urlsafe(32),  # kept nowhere
            roles=[Role.OFFICER],
            title="演示",
        )
        with self._store.reading() as session:
            return actor_of(session.scalars(query).one())
