"""Signing in and out, and choosing a password of one's own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from duty.domain.errors import DutyError, Refused
from duty.services.accounts import MIN_PASSWORD_CHARS, SessionView
from web.errors import NotSignedIn, status_of
from web.failures import message_of
from web.render import home_of, render
from web.sessions import (
    COOKIE,
    Fields,
    House,
    any_session,
    clear_cookie,
    same_origin,
    set_cookie,
    settings_of,
)

router = APIRouter()
AnySession = Annotated[SessionView, Depends(any_session)]


@router.get("/")
def home(session: AnySession) -> Response:
    """To the first screen of one's role."""
    return RedirectResponse(home_of(session), status_code=303)


@router.get("/sign-in")
def sign_in_page(request: Request, house: House, next: str = "") -> HTMLResponse:  # noqa: A002  the name in the address
    """The form."""
    return _form(request, house, next=next, login="", message="", status=200)


@router.post("/sign-in")
def sign_in(request: Request, house: House, fields: Fields) -> Response:
    """Open a session and go where one wanted to."""
    same_origin(request)
    login, wanted = fields.get("login", "").strip(), fields.get("next", "")
    address = request.client.host if request.client else ""
    try:
        request.app.state.attempts.note(address)
        signed = house.accounts.sign_in(
            login, fields.get("password", ""), address=address, browser=request.headers.get("user-agent", "")
        )
    except DutyError as error:
        message = message_of(request.app.state.renderer.catalogue, error)
        return _form(request, house, next=wanted, login=login, message=message, status=status_of(error))
    target = "/password" if signed.must_change_password else _inside(wanted)
    response = RedirectResponse(target, status_code=303)
    set_cookie(response, signed.token, settings_of(request))
    return response


@router.post("/sign-out")
def sign_out(request: Request, house: House, _session: AnySession) -> Response:
    """End the session."""
    house.accounts.sign_out(request.cookies.get(COOKIE, ""))
    response = RedirectResponse("/sign-in", status_code=303)
    clear_cookie(response)
    return response


@router.get("/password")
def password_page(request: Request, session: AnySession) -> HTMLResponse:
    """The form for a new password."""
    return render(request, "screens/password.html", message="", limit=MIN_PASSWORD_CHARS, session=session)


@router.post("/password")
def change_password(request: Request, house: House, session: AnySession, fields: Fields) -> Response:
    """Take the new password; what is wrong with it is said above the form."""
    try:
        if fields.get("new") != fields.get("again"):
            raise Refused("passwords_differ")
        if fields.get("new") == fields.get("old"):
            raise Refused("password_unchanged")
        house.accounts.change_password(session.actor, fields.get("old", ""), fields.get("new", ""))
    except NotSignedIn:
        raise
    except DutyError as error:
        message = message_of(request.app.state.renderer.catalogue, error)
        return render(
            request, "screens/password.html", status=status_of(error), message=message, limit=MIN_PASSWORD_CHARS
        )
    return RedirectResponse(home_of(session), status_code=303)


def _form(
    request: Request,
    house: House,
    *,
    next: str,  # noqa: A002
    login: str,
    message: str,
    status: int,
) -> HTMLResponse:
    return render(
        request,
        "screens/sign_in.html",
        status=status,
        wanted=_inside(next),
        login=login,
        message=message,
        empty=house.accounts.is_empty(),
    )


def _inside(wanted: str) -> str:
    """A path of this console; anything that could lead elsewhere becomes the start."""
    plain = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    return wanted if plain and wanted.isprintable() and "\\" not in wanted else "/"
