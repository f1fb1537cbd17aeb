"""身份核实: who the directory says the caller may be, and the five ways to make sure (requirement 6.1-c)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from duty.domain.errors import NotFound, Refused
from duty.domain.identity import CheckResult, Method, Verdict
from duty.domain.rights import Actor, Right
from duty.services.callreview import CallDossier
from duty.store.tables import EntryRow
from web.render import render
from web.screens.filters import MAX_WORDS_CHARS, choice
from web.services import Services
from web.sessions import Acting, Fields, House

router = APIRouter()
_SHOWN_MATCHES = 8


def identity_panel(
    house: Services,
    actor: Actor,
    entry: EntryRow,
    dossier: CallDossier | None,
    *,
    contact_id: int | None = None,
) -> dict[str, Any]:
    """What the panel shows; ``contact_id`` is the contact an officer picked over the directory's match."""
    matched = dossier.call.contact_id if dossier is not None else None
    chosen = contact_id or matched
    may_check = actor.may(Right.CHECK_IDENTITY, entry.unit_id)
    return {
        "card": house.identification.card(actor, chosen) if chosen is not None and may_check else None,
        "matched": matched is not None and chosen == matched,
        "trust": dossier.call.trust if dossier is not None else "",
        "inbound": dossier is not None and dossier.call.direction == "inbound",
        "checks": entry.checks,
        "call_backs": house.identification.call_backs(actor, entry.id) if may_check else [],
        "may_check": may_check,
    }


@router.get("/entries/{entry_id}/identity")
def panel(request: Request, house: House, actor: Acting, entry_id: int, contact: int | None = None) -> HTMLResponse:
    """The panel, for another contact of the directory where one was picked."""
    actor.require(Right.CHECK_IDENTITY)
    return _panel(request, house, actor, entry_id, contact)


@router.get("/entries/{entry_id}/contacts")
def contacts(request: Request, house: House, actor: Acting, entry_id: int, words: str = "") -> HTMLResponse:
    """Contacts to pick from."""
    actor.require(Right.CHECK_IDENTITY)
    wanted = words.strip()[:MAX_WORDS_CHARS]
    found = house.directory.search(actor, wanted, limit=_SHOWN_MATCHES) if wanted else []
    return render(request, "parts/contact_choices.html", found=found, words=wanted, entry_id=entry_id)


@router.get("/entries/{entry_id}/call-backs")
def call_backs(request: Request, house: House, actor: Acting, entry_id: int) -> HTMLResponse:
    """How far the call-backs have come."""
    row = house.logbook.entry(actor, entry_id)
    found = house.identification.call_backs(actor, entry_id)
    return render(request, "parts/call_backs.html", entry=row, call_backs=found)


@router.post("/entries/{entry_id}/call-back")
def call_back(request: Request, house: House, actor: Acting, entry_id: int, fields: Fields) -> HTMLResponse:
    """Ring the desk phone and dial the directory's number, never the displayed one."""
    row = house.logbook.entry(actor, entry_id)
    number = fields.get("number_id", "")
    if not (number.isascii() and number.isdigit()):
        raise NotFound("contact_not_found")
    house.commands.call_back(actor, int(number), entry_id=row.id)
    return call_backs(request, house, actor, entry_id)


@router.post("/entries/{entry_id}/checks")
def check(request: Request, house: House, actor: Acting, entry_id: int, fields: Fields) -> HTMLResponse:
    """Record one check."""
    method, verdict = choice(Method, fields.get("method")), choice(Verdict, fields.get("verdict"))
    if method is None or verdict is None:
        raise Refused("request_malformed")
    contact = fields.get("contact_id", "")
    contact_id = int(contact) if contact.isascii() and contact.isdigit() else None
    result = CheckResult(method=method, verdict=verdict, note=fields.get("note", ""), contact_id=contact_id)
    house.logbook.check_identity(actor, entry_id, result)
    return _panel(request, house, actor, entry_id, contact_id)


def _panel(request: Request, house: Services, actor: Actor, entry_id: int, contact_id: int | None) -> HTMLResponse:
    row = house.logbook.entry(actor, entry_id)
    dossier = house.calls.dossier(actor, row.call_id) if row.call_id else None
    identity = identity_panel(house, actor, row, dossier, contact_id=contact_id)
    return render(
        request,
        "parts/identity.html",
        entry=row,
        identity=identity,
        obstacles=house.logbook.obstacles(row),
        oob=True,
    )
