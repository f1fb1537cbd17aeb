"""通讯录: who may be calling; restricted numbers are masked and every look at one is recorded (requirement 6.1-b)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from duty.domain.rights import Right
from duty.services.directory import NewContact
from web.render import render
from web.screens.filters import MAX_WORDS_CHARS
from web.sessions import Acting, Fields, House

router = APIRouter()


@router.get("/directory")
def directory(request: Request, house: House, actor: Acting, words: str = "") -> HTMLResponse:
    """Contacts whose organisation, name or number contains the words."""
    wanted = words.strip()[:MAX_WORDS_CHARS]
    return render(
        request,
        "screens/directory.html",
        words=wanted,
        found=house.directory.search(actor, wanted),
        may_edit=actor.may(Right.EDIT_DIRECTORY, actor.unit_id),
        may_reveal=actor.may(Right.SEE_RESTRICTED),
    )


@router.post("/directory")
def add(house: House, actor: Acting, fields: Fields) -> Response:
    """Put a contact into the directory."""
    house.directory.add(
        actor,
        NewContact(
            organisation=fields.get("organisation", ""),
            name=fields.get("name", ""),
            title=fields.get("title", ""),
            numbers=tuple(line for line in fields.get("numbers", "").splitlines() if line.strip()),
            superior=fields.get("superior") == "on",
            restricted=fields.get("restricted") == "on",
            challenge=fields.get("challenge", ""),
            challenge_answer=fields.get("challenge_answer", ""),
        ),
    )
    return Response(status_code=204, headers={"HX-Redirect": "/directory"})


@router.post("/directory/{contact_id}/reveal")
def reveal(request: Request, house: House, actor: Acting, contact_id: int) -> HTMLResponse:
    """Show a restricted contact's numbers; a POST, because the look is written down."""
    view = house.directory.reveal(actor, contact_id)
    return render(request, "parts/contact_row.html", contact=view, may_reveal=False)
