"""值班: who is on duty, signing on and off, and a leader's leave for somebody off the roster (requirement 6.6-b)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from duty.domain.errors import Refused
from duty.domain.rights import Actor, Right
from duty.domain.roster import Duty
from duty.services.watches import MAX_REASON_CHARS, PERMIT_HOURS
from web.render import render
from web.screens.drafting import confirm
from web.services import Services
from web.sessions import Acting, Fields, House

router = APIRouter()


@router.get("/duty")
def duty(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """Who has the duty, and what one may do about it."""
    last_event = house.outbox.last_id()
    return render(request, "screens/duty.html", last_event=last_event, **shown(house, actor))


@router.post("/duty/sign-on")
def sign_on(house: House, actor: Acting, fields: Fields) -> Response:
    """Go on duty; the credential is asked for once more."""
    actor.require(Right.TAKE_DUTY)
    confirm(house, actor, fields.get("password", ""))
    house.watches.sign_on(actor)
    return again()


@router.post("/duty/sign-off")
def sign_off(house: House, actor: Acting, fields: Fields) -> Response:
    """Leave the duty to a colleague."""
    actor.require(Right.TAKE_DUTY)
    confirm(house, actor, fields.get("password", ""))
    house.watches.sign_off(actor)
    return again()


@router.post("/duty/permits")
def permit(house: House, actor: Acting, fields: Fields) -> Response:
    """Let somebody off the roster go on duty."""
    actor.require(Right.ALLOW_DUTY)
    hours = fields.get("hours", "")
    if not hours.isascii() or not hours.isdigit():
        raise Refused("permit_hours", limit=PERMIT_HOURS)
    house.watches.permit(actor, row_id(fields.get("officer")), fields.get("reason", ""), hours=int(hours[:4]))
    return again()


def shown(house: Services, actor: Actor) -> dict[str, Any]:
    """What the screen shows."""
    units = house.watches.now(actor)
    own = next((each for each in units if each.unit_id == actor.unit_id), None)
    present = {each.officer_id for each in own.officers} if own else set()
    return {
        "units": units,
        "own": own,
        "is_on_duty": actor.officer_id in present,
        "present": present,
        "under_way": house.handovers.under_way(actor),
        "handovers": house.handovers.recent(actor),
        "permits": house.watches.permits(actor),
        "people": house.rosters.candidates(actor, actor.unit_id)[Duty.OFFICER] if actor.may(Right.ALLOW_DUTY) else [],
        "reason_limit": MAX_REASON_CHARS,
        "most_hours": PERMIT_HOURS,
    }


def row_id(text: str | None) -> int:
    """The id that a form field holds; 0, which no row has, for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 18 else 0


def again(path: str = "/duty") -> Response:
    """Show the page anew, also for htmx, which follows this by itself."""
    return Response(status_code=204, headers={"HX-Redirect": path})
