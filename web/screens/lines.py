"""Lines and phones: what is registered, since when, and why not (requirement 4-a); and the exceptions to the ban on
forwarding: asked for, approved by another person, revoked (requirement 6.1-e)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from duty.domain.errors import Refused
from duty.domain.exceptions import MAX_REASON_CHARS, ExceptionWay
from duty.domain.rights import Right
from duty.domain.times import SHANGHAI
from duty.services.lines import ComponentView
from web.render import render
from web.screens.desk import GOOD_STATES
from web.screens.filters import choice
from web.sessions import Acting, Fields, House, Signed

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
        outages=house.outages.recent(actor.unit_scope(Right.SEE_DESK)),
        exceptions=house.exceptions.recent(actor),
        exception_lines=_lines(house.lines.components(actor.unit_scope(Right.SEE_DESK))),
        exception_ways=[way.value for way in ExceptionWay],
        reason_limit=MAX_REASON_CHARS,
    )


@router.get("/lines/exceptions/banner")
def banner(request: Request, _signed: Signed) -> HTMLResponse:
    """What stands on every screen while an exception is approved."""
    return render(request, "parts/exceptions_banner.html")


@router.post("/lines/exceptions")
def ask(house: House, actor: Acting, fields: Fields) -> Response:
    """Ask for an exception."""
    actor.require(Right.ASK_EXCEPTION)
    way = choice(ExceptionWay, fields.get("way"))
    if way is None:
        raise Refused("exception_way")
    house.exceptions.ask(
        actor,
        fields.get("line", ""),
        way=way,
        target=fields.get("target", ""),
        reason=fields.get("reason", ""),
        start=_moment(fields.get("start", "")),
        end=_moment(fields.get("end", "")),
    )
    return _again()


@router.post("/lines/exceptions/{exception_id}/approve")
def approve(house: House, actor: Acting, exception_id: int) -> Response:
    """Approve what another person asked for."""
    house.exceptions.approve(actor, exception_id)
    return _again()


@router.post("/lines/exceptions/{exception_id}/revoke")
def revoke(house: House, actor: Acting, exception_id: int) -> Response:
    """End an exception before its time."""
    house.exceptions.revoke(actor, exception_id)
    return _again()


def _moment(text: str) -> datetime:
    """What a ``datetime-local`` field holds: the wall clock in Shanghai. Raises Refused."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)
    except ValueError:
        raise Refused("exception_times") from None


def _lines(components: Sequence[ComponentView]) -> list[tuple[str, str]]:
    """Number and name of each line that has parts."""
    return list({part.line_number: part.line_name for part in components}.items())


def _again() -> Response:
    """Show the lines anew."""
    return Response(status_code=204, headers={"HX-Redirect": "/lines"})
