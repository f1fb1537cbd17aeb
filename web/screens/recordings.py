"""The recordings as a whole: what differs between calls, rows and files and what to do about it, how far the files were
read through, and holds on single recordings (requirements 6.1-d, 6.2-c, 6.4-a)."""

from __future__ import annotations

import shutil

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from config.settings import Settings
from duty.domain.rights import Right
from web.render import render
from web.sessions import Acting, Fields, House

router = APIRouter()


@router.get("/recordings")
def recordings(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """What differs now, and the state of the store of recordings."""
    last_event = house.outbox.last_id()
    settings: Settings = request.app.state.settings
    return render(
        request,
        "screens/recordings.html",
        last_event=last_event,
        differences=house.custody.open_differences(actor),
        sums=house.custody.sums(),
        no_key=house.secrecy.no_key(),
        free_mb=shutil.disk_usage(settings.data.dir).free // 1_000_000,
        rules=settings.recordings,
        may_see_calls=actor.may(Right.SEE_CALLS),
    )


@router.post("/calls/{call_id}/holds")
def place_hold(house: House, actor: Acting, call_id: str, fields: Fields) -> Response:
    """Put a recording under a hold."""
    house.holds.place(actor, call_id, reason=fields.get("reason", ""))
    return RedirectResponse(f"/calls/{call_id}", status_code=303)


@router.post("/calls/{call_id}/holds/{hold_id}/lift")
def lift_hold(house: House, actor: Acting, call_id: str, hold_id: int, fields: Fields) -> Response:
    """End a hold that another person placed."""
    house.holds.lift(actor, hold_id, reason=fields.get("reason", ""))
    return RedirectResponse(f"/calls/{call_id}", status_code=303)
