"""Signing in and out by program."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from duty.services.accounts import SessionView
from web.api.shapes import NewPassword, Session, SignIn
from web.screens.signin import AnySession
from web.sessions import COOKIE, House, clear_cookie, same_origin, set_cookie, settings_of

router = APIRouter(tags=["session"])


@router.post("/session")
def sign_in(request: Request, response: Response, house: House, body: SignIn) -> Session:
    """Open a session: the cookie carries it, the CSRF token in the answer goes with every write."""
    same_origin(request)
    address = request.client.host if request.client else ""
    request.app.state.attempts.note(address)
    browser = request.headers.get("user-agent", "")
    signed = house.accounts.sign_in(body.login, body.password, address=address, browser=browser)
    set_cookie(response, signed.token, settings_of(request))
    return Session(
        csrf_token=signed.csrf_token,
        officer_id=signed.actor.officer_id,
        name=signed.actor.name,
        unit_id=signed.actor.unit_id,
        roles=sorted(signed.actor.roles),
        rights=sorted(signed.actor.rights()),
        must_change_password=signed.must_change_password,
    )


@router.get("/session")
def session(view: AnySession) -> Session:
    """Who is signed in."""
    return _shape(view)


@router.delete("/session", status_code=204)
def sign_out(request: Request, house: House, _view: AnySession) -> Response:
    """End the session."""
    house.accounts.sign_out(request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    clear_cookie(response)
    return response


@router.put("/session/password", status_code=204)
def change_password(house: House, view: AnySession, body: NewPassword) -> Response:
    """Choose a password of one's own."""
    house.accounts.change_password(view.actor, body.old, body.new)
    return Response(status_code=204)


def _shape(view: SessionView) -> Session:
    return Session(
        csrf_token=view.csrf_token,
        officer_id=view.actor.officer_id,
        name=view.actor.name,
        unit_id=view.actor.unit_id,
        roles=sorted(view.actor.roles),
        rights=sorted(view.actor.rights()),
        must_change_password=view.must_change_password,
    )
