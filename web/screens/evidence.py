"""拦截存证: what was refused, and the raw message behind it; each look at a message is in the audit log (requirements
6.1-e, 7.4-a)."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from web.render import render
from web.screens.filters import number, paging
from web.sessions import Acting, House

router = APIRouter()
PAGE = 50


@router.get("/evidence")
def evidence(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """What was kept, newest first, without the messages."""
    page = number(request.query_params.get("page"))
    return render(
        request,
        "screens/evidence.html",
        rows=house.evidence.page(actor, limit=PAGE, offset=(page - 1) * PAGE),
        paging=paging("/evidence", request.query_params, page=page, size=PAGE, total=house.evidence.count(actor)),
    )


@router.get("/evidence/{evidence_id}")
def message(request: Request, house: House, actor: Acting, evidence_id: int) -> HTMLResponse:
    """One message as text; what is no UTF-8 is shown byte for byte."""
    look = house.evidence.look(actor, evidence_id)
    return render(request, "screens/evidence_message.html", look=look, kept=look.view, shown=_shown(look.raw))


@router.get("/evidence/{evidence_id}/message")
def download(house: House, actor: Acting, evidence_id: int) -> Response:
    """The message's bytes, for a check of their SHA-256 by another program."""
    look = house.evidence.look(actor, evidence_id, taken_away=True)
    return Response(
        look.raw,
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="evidence-{evidence_id}.bin"'},
    )


def _shown(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
