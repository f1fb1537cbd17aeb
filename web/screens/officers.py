"""Accounts: who may sign in, adding one, giving a new one-time password."""

from __future__ import annotations

import secrets

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from duty.domain.errors import Refused
from duty.domain.rights import Right, Role
from web.render import render
from web.services import Services
from web.sessions import Acting, Fields, House

router = APIRouter()
_TRIES = 200
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@router.get("/officers")
def officers(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """The accounts and the form for a new one."""
    return render(
        request,
        "screens/officers.html",
        rows=house.accounts.officers(actor),
        units=house.network.units(actor, Right.MANAGE_PEOPLE),
        roles=[role.value for role in Role],
    )


@router.post("/officers")
def add(request: Request, house: House, actor: Acting, fields: Fields) -> HTMLResponse:
    """Make an account; its one-time password is shown once and kept nowhere."""
    actor.require(Right.MANAGE_PEOPLE)
    names = [role.value for role in Role if fields.get(f"role.{role.value}") == "on"]
    login = fields.get("login", "").strip()
    password = one_time_password(login)
    if any(not (char.isascii() and (char.isalnum() or char in "._-")) for char in login):
        raise Refused("login_malformed")
    house.accounts.add_officer(
        unit_code=fields.get("unit", ""),
        login=login,
        name=fields.get("name", ""),
        title=fields.get("title", ""),
        password=password,
        roles=[Role(name) for name in names],
        by=actor,
    )
    return _given(request, house, login, password)


@router.post("/officers/{login}/reset")
def reset(request: Request, house: House, actor: Acting, login: str) -> HTMLResponse:
    """Give a new one-time password; the person's open sessions end."""
    actor.require(Right.MANAGE_PEOPLE)
    password = one_time_password(login)
    house.accounts.reset_password(login, password, by=actor)
    return _given(request, house, login, password)


def one_time_password(login: str) -> str:
    """Sixteen letters and digits in four groups, none that are mistaken for another: about 79 bits. A password may not
    contain the login, so a short login is kept out of it."""
    password = ""
    for _ in range(_TRIES):
        password = "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))
        if login.casefold() not in password:
            break
    return password


def _given(request: Request, _house: Services, login: str, password: str) -> HTMLResponse:
    return render(request, "parts/one_time_password.html", login=login, password=password)
