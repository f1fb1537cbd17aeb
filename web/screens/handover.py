"""交接班: the sheet that builds itself, both signatures on one screen, the printed record (requirement 6.2-d)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from duty.domain.errors import Refused
from duty.domain.handover import MAX_NOTES_CHARS, HandoverState
from duty.domain.rights import Actor, Right
from duty.services.watches import MAX_REASON_CHARS
from web.attempts import Attempts
from web.print.handover import handover_sheet
from web.print.pdf import Printer
from web.render import render
from web.screens.duty import again
from web.services import Services
from web.sessions import Acting, Fields, House

router = APIRouter()


@router.post("/duty/handovers")
def begin(house: House, actor: Acting) -> Response:
    """Begin to hand over, or go to the handover that is under way."""
    return _to(house.handovers.begin(actor))


@router.get("/duty/handovers/{handover_id}")
def handover(request: Request, house: House, actor: Acting, handover_id: int) -> HTMLResponse:
    """One handover: being prepared, signed by one side, or taken."""
    last_event = house.outbox.last_id()
    view = house.handovers.see(actor, handover_id)
    return render(
        request,
        "screens/handover.html",
        last_event=last_event,
        view=view,
        is_open=view.state is HandoverState.OPEN,
        is_given=view.state is HandoverState.GIVEN,
        may_sign=actor.may(Right.TAKE_DUTY, view.unit_id),
        may_print=view.state is HandoverState.TAKEN and actor.may(Right.PRINT, view.unit_id),
        notes_limit=MAX_NOTES_CHARS,
        reason_limit=MAX_REASON_CHARS,
    )


@router.post("/duty/handovers/{handover_id}/notes")
def write(house: House, actor: Acting, handover_id: int, fields: Fields) -> Response:
    """Keep the notes and the documents handed over."""
    notes, documents = (fields.get(name, "").replace("\r\n", "\n") for name in ("notes", "documents"))
    house.handovers.write(actor, handover_id, notes=notes, documents=documents)
    return _to(handover_id)


@router.post("/duty/handovers/{handover_id}/give")
def give(request: Request, house: House, actor: Acting, handover_id: int, fields: Fields) -> Response:
    """The first signature. The notes as they stand in the form are signed with it."""
    actor.require(Right.TAKE_DUTY)
    giver = _witness(request, house, fields)
    if "notes" in fields:
        write(house, actor, handover_id, fields)
    house.handovers.give(giver, handover_id)
    return _to(handover_id)


@router.post("/duty/handovers/{handover_id}/take")
def take(request: Request, house: House, actor: Acting, handover_id: int, fields: Fields) -> Response:
    """The second signature, on the same screen: the takeover."""
    actor.require(Right.TAKE_DUTY)
    house.handovers.take(_witness(request, house, fields), handover_id)
    return _to(handover_id)


@router.post("/duty/handovers/{handover_id}/excuse")
def excuse(request: Request, house: House, actor: Acting, handover_id: int, fields: Fields) -> Response:
    """A leader's reason for changing shifts during an incident, by the leader's own credential on this screen."""
    actor.require(Right.TAKE_DUTY)
    house.handovers.excuse(_witness(request, house, fields), handover_id, fields.get("reason", ""))
    return _to(handover_id)


@router.post("/duty/handovers/{handover_id}/return")
def send_back(house: House, actor: Acting, handover_id: int) -> Response:
    """The first signature is taken back."""
    house.handovers.send_back(actor, handover_id)
    return _to(handover_id)


@router.post("/duty/handovers/{handover_id}/cancel")
def cancel(house: House, actor: Acting, handover_id: int) -> Response:
    """No handover after all."""
    house.handovers.cancel(actor, handover_id)
    return again()


@router.get("/duty/handovers/{handover_id}/print.pdf")
def print_pdf(request: Request, house: House, actor: Acting, handover_id: int) -> Response:
    """交接班记录 as a PDF. Raises Forbidden, Refused before the takeover, PrintImpossible."""
    view = house.handovers.see(actor, handover_id)
    actor.require(Right.PRINT, view.unit_id)
    if view.state is not HandoverState.TAKEN:
        raise Refused("handover_not_taken")
    printer: Printer = request.app.state.printer
    content = printer.pdf(handover_sheet(printer.catalogue, view), at=view.taken_at)
    name = quote(f"{printer.catalogue('handover.print_title')}-{view.handover_id}.pdf")
    return Response(
        content,
        media_type="application/pdf",
        headers={"Content-Disposition": f"inline; filename=handover.pdf; filename*=UTF-8''{name}"},
    )


def _witness(request: Request, house: Services, fields: Mapping[str, str]) -> Actor:
    """Who signs, by their own credential; tries are counted as those of signing in are. Raises BadCredential."""
    attempts: Attempts = request.app.state.attempts
    attempts.note(request.client.host if request.client else "")
    return house.accounts.witness(fields.get("login", ""), fields.get("password", ""))


def _to(handover_id: int) -> Response:
    return again(f"/duty/handovers/{handover_id}")
