"""Lines and phones: what is registered, since when, and why not (requirement 4-a)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from duty.domain.rights import Right
from web.render import render
from web.screens.desk import GOOD_STATES
from web.sessions import Acting, House

router = APIRouter()


@router.get("/lines")
def lines(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """Every phone and trunk of the units one sees."""
    last_event = house.outbox.last_id()
    return render(
        request,
        "screens/lines.html",
        components=house.lines.components(actor.unit_scope(Right.SEE_DESK)),
        good_states=GOOD_STATES,
        checked=house.linechecks.last(actor.unit_scope(Right.SEE_DESK)),
        last_event=last_event,
    )
