"""The supervisor's review: every call of the units one sees, what became of it, and forwards that were tried
(requirement 6.1-a, 6.1-e, 9-a)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from duty.domain.rights import Right
from web.render import render
from web.screens.calls import listing
from web.sessions import Acting, House

router = APIRouter()


@router.get("/review")
def review(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """The list with its sums, filtered by the address."""
    actor.require(Right.REVIEW_CALLS)
    return render(request, "screens/review.html", **listing(house, actor, "/review", request.query_params))
