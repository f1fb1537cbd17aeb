"""One numbered entry: as first written, as amended, voided, printed (requirement 6.2-b, 6.2-c)."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from duty.domain.chain import LinkKind
from duty.domain.entries import Category, EntryState
from duty.domain.errors import Refused
from duty.domain.rights import Actor, Right
from duty.services.logbook import content_of, current_content
from duty.store.tables import AmendmentRow, EntryRow
from web.print.pdf import Printer
from web.print.sheet import sheet_of
from web.render import render
from web.screens.drafting import FIELDS, MULTILINE, ORDER, confirm, workbench
from web.services import Services
from web.sessions import Acting, Fields, House

router = APIRouter()


@router.get("/entries/{entry_id}")
def entry(request: Request, house: House, actor: Acting, entry_id: int) -> Response:
    """The entry; a draft of a call is written on the call's page."""
    row = house.logbook.entry(actor, entry_id)
    if row.state != EntryState.DRAFT:
        return render(request, "screens/entry.html", **_shown(house, actor, row))
    if row.call_id and actor.may(Right.SEE_CALLS, row.unit_id):
        return RedirectResponse(f"/calls/{row.call_id}", status_code=303)
    return render(request, "screens/draft.html", bench=workbench(house, actor, row, None))


@router.post("/entries/{entry_id}/amend")
def amend(house: House, actor: Acting, entry_id: int, fields: Fields) -> Response:
    """更正: the first text stays."""
    row = house.logbook.entry(actor, entry_id)
    known = current_content(row).as_dict()
    changes = {name: fields[name].replace("\r\n", "\n") for name in FIELDS if name in fields}
    changed = {name: value for name, value in changes.items() if value.strip() != known[name]}
    house.logbook.amend(actor, entry_id, changed, reason=fields.get("reason", ""))
    return _back(entry_id)


@router.post("/entries/{entry_id}/void")
def void(house: House, actor: Acting, entry_id: int, fields: Fields) -> Response:
    """作废: the number stays; the credential is asked for once more."""
    confirm(house, actor, fields.get("password", ""))
    house.logbook.void(actor, entry_id, reason=fields.get("reason", ""))
    return _back(entry_id)


@router.get("/entries/{entry_id}/print.pdf")
def print_pdf(request: Request, house: House, actor: Acting, entry_id: int) -> Response:
    """值班记录 as a PDF."""
    row = house.logbook.entry(actor, entry_id)
    printer: Printer = request.app.state.printer
    return pdf_answer(printer, house, actor, row)


def pdf_answer(printer: Printer, house: Services, actor: Actor, row: EntryRow) -> Response:
    """The printed form of an entry. Raises Forbidden, Refused for a draft, PrintImpossible."""
    actor.require(Right.PRINT, row.unit_id)
    if row.state == EntryState.DRAFT:
        raise Refused("entry_not_finalized")
    if house.logbook.withheld(row):
        raise Refused("secrecy_no_export")
    content = printer.pdf(sheet_of(printer.catalogue, row, house.calls.officer_names()), at=row.finalized_at)
    name = quote(f"{row.number_text}.pdf")
    return Response(
        content,
        media_type="application/pdf",
        headers={"Content-Disposition": f"inline; filename=entry.pdf; filename*=UTF-8''{name}"},
    )


def _back(entry_id: int) -> Response:
    """To the entry, also for htmx, which follows this by itself."""
    return Response(status_code=204, headers={"HX-Redirect": f"/entries/{entry_id}"})


def _shown(house: Services, actor: Actor, row: EntryRow) -> dict[str, Any]:
    withheld = house.logbook.withheld(row)
    first, current = content_of(row).as_dict(), current_content(row).as_dict()
    return {
        "entry": row,
        "order": ORDER,
        "multiline": MULTILINE,
        "categories": [category.value for category in Category],
        "first": first,
        "current": current,
        "history": {name: _history(name, first[name], row.amendments) for name in ORDER},
        "void_facts": _void_facts(row),
        "officer_names": house.calls.officer_names(),
        "may_amend": not withheld and row.state == EntryState.FINALIZED and actor.may(Right.AMEND, row.unit_id),
        "withheld": withheld,
        "may_print": not withheld and actor.may(Right.PRINT, row.unit_id),
        "may_see_call": row.call_id is not None and actor.may(Right.SEE_CALLS, row.unit_id),
    }


def _void_facts(row: EntryRow) -> tuple[str, str]:
    """Who voided the entry and why, as the chain has it."""
    for link in row.links:
        if link.kind == LinkKind.VOID:
            record = json.loads(link.payload)["record"]
            return str(record["by"]), str(record["reason"])
    return "", ""


def _history(name: str, first: str, amendments: list[AmendmentRow]) -> list[str]:
    """A field's texts from the first to the one in force."""
    texts = [first]
    texts += [amendment.changes[name][1] for amendment in amendments if name in amendment.changes]
    return texts
