"""排班表: a unit's month, its faults, planning, and the calendar under it (requirements 3-b, 6.2-a, 6.3-b)."""

from __future__ import annotations

from datetime import date, timedelta

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from duty.domain.errors import Refused
from duty.domain.rights import Right
from duty.domain.roster import SPANS, Duty, Pattern, days_of
from duty.domain.times import local
from duty.domain.workdays import DayKind
from duty.services.workdays import MAX_NOTE_CHARS
from web.render import render
from web.screens.duty import again, row_id
from web.screens.filters import choice, day
from web.sessions import Acting, Fields, House

router = APIRouter()
LAST_YEAR = 2100


@router.get("/duty/roster")
def roster(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """One month of one unit."""
    last_event = house.outbox.last_id()
    units = house.network.units(actor, Right.SEE_DUTY)
    wanted = row_id(request.query_params.get("unit"))
    unit_id = wanted if any(unit.id == wanted for unit in units) else actor.unit_id
    today = local(house.clock()).date()
    first = _month(request.query_params.get("month"), today)
    after = (first + timedelta(days=32)).replace(day=1)
    view = house.rosters.see(actor, unit_id, first, after - timedelta(days=1))
    return render(
        request,
        "screens/roster.html",
        last_event=last_event,
        view=view,
        units=units,
        unit_id=unit_id,
        today=today,
        first=first,
        previous=(first - timedelta(days=1)).strftime("%Y-%m"),
        following=after.strftime("%Y-%m"),
        rows=[(each, view.kinds[each], days_of(view.shifts, each)) for each in view.kinds],
        candidates=house.rosters.candidates(actor, unit_id),
        duties=[each.value for each in Duty],
        patterns=[each.value for each in SPANS],
        day_kinds=[each.value for each in DayKind],
        entered={row.day: row.words for row in house.workdays.entered(actor)},
        may_plan=actor.may(Right.PLAN_DUTY, unit_id),
        note_limit=MAX_NOTE_CHARS,
    )


@router.post("/duty/roster")
def plan(house: House, actor: Acting, fields: Fields) -> Response:
    """Put somebody on the roster, for a day or for each day up to another."""
    actor.require(Right.PLAN_DUTY)
    duty, pattern = choice(Duty, fields.get("duty")), choice(Pattern, fields.get("pattern"))
    wanted = day(fields.get("day"))
    if duty is None or pattern is None or wanted is None:
        raise Refused("shift_incomplete")
    house.rosters.plan(actor, officer_id=row_id(fields.get("officer")), duty=duty, pattern=pattern, day=wanted)
    return again(f"/duty/roster?month={wanted:%Y-%m}&unit={row_id(fields.get('unit'))}")


@router.post("/duty/roster/{shift_id}/withdraw")
def withdraw(house: House, actor: Acting, shift_id: int, fields: Fields) -> Response:
    """Take a place off the roster."""
    house.rosters.withdraw(actor, shift_id)
    shown = _month(fields.get("month"), local(house.clock()).date())
    return again(f"/duty/roster?month={shown:%Y-%m}&unit={row_id(fields.get('unit'))}")


@router.post("/duty/days")
def enter_day(house: House, actor: Acting, fields: Fields) -> Response:
    """Say by hand what a day is."""
    actor.require(Right.EDIT_CALENDAR)
    wanted, kind = day(fields.get("day")), choice(DayKind, fields.get("kind"))
    if wanted is None or kind is None:
        raise Refused("calendar_day_missing")
    house.workdays.enter(actor, wanted, kind, fields.get("words", ""))
    return again(f"/duty/roster?month={wanted:%Y-%m}")


def _month(text: str | None, today: date) -> date:
    """The first day of the month that an address names, of this month for anything else."""
    found = day(f"{text}-01") if text else None
    return found if found and 2000 <= found.year <= LAST_YEAR else today.replace(day=1)
