"""The logbook."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from duty.domain.entries import EntryState
from duty.domain.identity import CheckResult
from duty.services.logbook import EntryFilter
from duty.store.tables import EntryRow
from web.api.entry_shapes import (
    Amend,
    CallBack,
    CallBackState,
    Entry,
    EntryChange,
    EntryInFull,
    EntryPage,
    Finalize,
    NewCheck,
    Obstacle,
    Void,
)
from web.api.shapes import Created
from web.screens.drafting import confirm
from web.screens.entry import pdf_answer
from web.services import Services
from web.sessions import Acting, House

router = APIRouter(tags=["entries"])


@router.get("/entries")
def entries(
    house: House,
    actor: Acting,
    state: EntryState | None = None,
    words: Annotated[str, Query(max_length=100)] = "",
    since: date | None = None,
    until: date | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
) -> EntryPage:
    """Entries newest first; dates are days in Shanghai, both included."""
    wanted = EntryFilter(state=state, words=words, since=since, until=until, limit=limit, offset=offset)
    rows = house.logbook.register(actor, wanted)
    return EntryPage(total=house.logbook.count(actor, wanted), entries=[Entry.of(row) for row in rows])


@router.post("/entries", status_code=201)
def open_blank(house: House, actor: Acting) -> Created:
    """Start an entry without a call."""
    return Created(id=house.logbook.open_blank(actor))


@router.get("/entries/{entry_id}")
def entry(house: House, actor: Acting, entry_id: int) -> EntryInFull:
    """One entry in full."""
    return _in_full(house, house.logbook.entry(actor, entry_id))


@router.patch("/entries/{entry_id}")
def edit(house: House, actor: Acting, entry_id: int, body: EntryChange) -> EntryInFull:
    """Correct a draft; 409 when somebody wrote in between."""
    house.logbook.edit(actor, entry_id, body.changes, version=body.version)
    return _in_full(house, house.logbook.entry(actor, entry_id))


@router.post("/entries/{entry_id}/repeat-back", status_code=204)
def repeat_back(house: House, actor: Acting, entry_id: int) -> Response:
    """复述确认."""
    house.logbook.repeat_back(actor, entry_id)
    return Response(status_code=204)


@router.post("/entries/{entry_id}/checks", status_code=201)
def check(house: House, actor: Acting, entry_id: int, body: NewCheck) -> EntryInFull:
    """Record one identity check."""
    house.logbook.check_identity(actor, entry_id, CheckResult(**body.model_dump()))
    return _in_full(house, house.logbook.entry(actor, entry_id))


@router.post("/entries/{entry_id}/call-backs", status_code=202)
def call_back(house: House, actor: Acting, entry_id: int, body: CallBack) -> Created:
    """Ring the desk phone and dial a number of the directory."""
    row = house.logbook.entry(actor, entry_id)
    return Created(id=house.commands.call_back(actor, body.number_id, entry_id=row.id))


@router.get("/entries/{entry_id}/call-backs")
def call_backs(house: House, actor: Acting, entry_id: int) -> list[CallBackState]:
    """How far the call-backs have come, newest first."""
    house.logbook.entry(actor, entry_id)
    return [
        CallBackState(
            command_id=view.command_id,
            stage=view.stage,
            result=view.result,
            call_id=view.call_id,
            answered=view.answered,
        )
        for view in house.identification.call_backs(actor, entry_id)
    ]


@router.post("/entries/{entry_id}/finalize")
def finalize(house: House, actor: Acting, entry_id: int, body: Finalize) -> EntryInFull:
    """定稿: the credential once more; the answer carries the number."""
    confirm(house, actor, body.password)
    return _in_full(house, house.logbook.finalize(actor, entry_id, version=body.version))


@router.post("/entries/{entry_id}/amend")
def amend(house: House, actor: Acting, entry_id: int, body: Amend) -> EntryInFull:
    """更正: the first text stays."""
    house.logbook.amend(actor, entry_id, body.changes, reason=body.reason)
    return _in_full(house, house.logbook.entry(actor, entry_id))


@router.post("/entries/{entry_id}/void")
def void(house: House, actor: Acting, entry_id: int, body: Void) -> EntryInFull:
    """作废: the number stays."""
    confirm(house, actor, body.password)
    house.logbook.void(actor, entry_id, reason=body.reason)
    return _in_full(house, house.logbook.entry(actor, entry_id))


@router.get("/entries/{entry_id}/print.pdf", response_class=Response)
def print_pdf(request: Request, house: House, actor: Acting, entry_id: int) -> Response:
    """值班记录 as a PDF."""
    return pdf_answer(request.app.state.printer, house, actor, house.logbook.entry(actor, entry_id))


def _in_full(house: Services, row: EntryRow) -> EntryInFull:
    draft = row.state == EntryState.DRAFT
    return EntryInFull(
        entry=Entry.of(row),
        hashes=[] if draft else [link.hash for link in row.links],
        obstacles=[Obstacle.of(found) for found in house.logbook.obstacles(row)] if draft else [],
    )
