"""Who asks: the session behind a request, and the proof that a change comes from our own page.

Every route but signing in depends on ``signed_in``; it is the only place that reads the cookie and the CSRF token.
"""

from __future__ import annotations

import secrets
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.responses import Response

from config.settings import Settings
from duty.domain.rights import Actor
from duty.services.accounts import SESSION_LIFE, SessionView
from web.errors import CsrfRefused, NotSignedIn, PasswordChangeDue
from web.services import Services

COOKIE = "dutyline_session"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf_token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


def services_of(request: Request) -> Services:
    """The services of the application that answers."""
    services: Services = request.app.state.services
    return services


def settings_of(request: Request) -> Settings:
    """The settings of the application that answers."""
    settings: Settings = request.app.state.settings
    return settings


async def any_session(request: Request) -> SessionView:
    """The living session, its password possibly still the one-time one. Raises NotSignedIn, CsrfRefused."""
    token = request.cookies.get(COOKIE, "")
    view = await run_in_threadpool(services_of(request).accounts.session, token) if token else None
    if view is None:
        raise NotSignedIn()
    if request.method not in SAFE_METHODS:
        same_origin(request)
        if not secrets.compare_digest((await _csrf_token(request)).encode(), view.csrf_token.encode()):
            raise CsrfRefused()
    request.state.session = view
    return view


async def signed_in(view: Annotated[SessionView, Depends(any_session)]) -> SessionView:
    """The living session of a person who has chosen their own password. Raises also PasswordChangeDue."""
    if view.must_change_password:
        raise PasswordChangeDue()
    return view


async def acting(view: Annotated[SessionView, Depends(signed_in)]) -> Actor:
    """The person on whose behalf the request runs."""
    return view.actor


async def form_fields(request: Request) -> dict[str, str]:
    """The fields of a submitted form, files left out; the last value of a name counts."""
    return {name: value for name, value in (await _form(request)).multi_items() if isinstance(value, str)}


def same_origin(request: Request) -> None:
    """Raises CsrfRefused where the browser says that another site sent this (RFC 6454 section 7)."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise CsrfRefused()
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise CsrfRefused()


def set_cookie(response: Response, token: str, settings: Settings) -> None:
    """Give the browser its session: readable by no script, sent to no other site's request."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(SESSION_LIFE.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=settings.web.secure_cookies,
        path="/",
    )


def clear_cookie(response: Response) -> None:
    """Take the session from the browser."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


async def _form(request: Request) -> FormData:
    if request.headers.get("content-type", "").partition(";")[0].strip() in _FORM_TYPES:
        return await request.form()
    return FormData()


async def _csrf_token(request: Request) -> str:
    token = request.headers.get(CSRF_HEADER) or (await _form(request)).get(CSRF_FIELD, "")
    return token if isinstance(token, str) else ""


House = Annotated[Services, Depends(services_of)]
Signed = Annotated[SessionView, Depends(signed_in)]
Acting = Annotated[Actor, Depends(acting)]
Fields = Annotated[dict[str, str], Depends(form_fields)]
