"""值班登记簿: the list of entries (requirement 6.2-c)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from duty.domain.entries import EntryState
from duty.domain.rights import Right
from duty.services.logbook import EntryFilter, current_content
from web.render import render
from web.screens.filters import MAX_WORDS_CHARS, choice, day, number, paging
from web.sessions import Acting, House

router = APIRouter()
PAGE = 50


@router.get("/register")
def register(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """Entries, newest first, filtered by the address."""
    query = request.query_params
    page = number(query.get("page"))
    wanted = EntryFilter(
        state=choice(EntryState, query.get("state")),
        words=query.get("words", "")[:MAX_WORDS_CHARS],
        since=day(query.get("since")),
        until=day(query.get("until")),
        limit=PAGE,
        offset=(page - 1) * PAGE,
    )
    rows = house.logbook.register(actor, wanted)
    return render(
        request,
        "screens/register.html",
        wanted=wanted,
        states=[state.value for state in EntryState],
        rows=rows,
        texts={row.id: current_content(row) for row in rows},
        paging=paging("/register", query, page=page, size=PAGE, total=house.logbook.count(actor, wanted)),
        may_start=actor.may(Right.EDIT_DRAFT, actor.unit_id),
    )


@router.post("/entries")
def start(house: House, actor: Acting) -> Response:
    """Start an entry without a call."""
    return RedirectResponse(f"/entries/{house.logbook.open_blank(actor)}", status_code=303)
