"""Every error becomes an answer here: JSON for the API, a message in the page for htmx, a page for the rest.

A refusal says in Chinese what is wrong and what to do; an unexpected fault is logged under a reference number that the
page shows, and nothing else of it leaves the machine.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from urllib.parse import quote

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from duty.domain.errors import DutyError
from web.catalogue import Catalogue
from web.errors import NotSignedIn, PasswordChangeDue, status_of
from web.render import is_fragment, render

_log = structlog.get_logger("web")
_NAMED_DETAILS = {"field": "field", "right": "right", "category": "category"}


def install(app: FastAPI) -> None:
    """Put the handlers in place."""
    app.add_exception_handler(DutyError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def message_of(t: Catalogue, error: DutyError) -> str:
    """The screen's words for a refusal, its details in words too."""
    return (
        t(f"error.{error.code}", **_shown(t, error.details)) if f"error.{error.code}" in t.texts else t("error.error")
    )


def _shown(t: Catalogue, details: Mapping[str, str | int]) -> dict[str, str]:
    shown = {}
    for name, value in details.items():
        group = _NAMED_DETAILS.get(name)
        shown[name] = t.known(f"{group}.{value}", str(value)) if group else str(value)
    return shown or {"_": ""}


def _catalogue(request: Request) -> Catalogue:
    catalogue: Catalogue = request.app.state.renderer.catalogue
    return catalogue


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, DutyError)  # noqa: S101  the handler is registered for nothing else
    status = status_of(error)
    if status >= 500:
        _log.error("broken_state", path=request.url.path, error=str(error))
    if isinstance(error, NotSignedIn | PasswordChangeDue) and not _is_api(request):
        return _elsewhere(request, error)
    return _answer(request, status, error.code, message_of(_catalogue(request), error), details=dict(error.details))


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    wrong = ["/".join(str(part) for part in item["loc"]) for item in error.errors()]
    return _answer(
        request, 422, "request_malformed", _catalogue(request)("error.request_malformed"), details={"where": wrong}
    )


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    code = {404: "page_not_found", 405: "method_not_allowed", 413: "request_too_large"}.get(
        error.status_code, "bad_request"
    )
    answer = _answer(request, error.status_code, code, _catalogue(request)(f"error.{code}"))
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _unexpected(request: Request, error: Exception) -> Response:
    reference = secrets.token_hex(4).upper()
    _log.error("unexpected", reference=reference, path=request.url.path, exc_info=error)
    text = _catalogue(request)("error.unexpected", reference=reference)
    return _answer(request, 500, "unexpected", text, details={"reference": reference})


def _answer(
    request: Request, status: int, code: str, message: str, *, details: Mapping[str, object] | None = None
) -> Response:
    if _is_api(request):
        return JSONResponse({"code": code, "message": message, "details": dict(details or {})}, status_code=status)
    if is_fragment(request):
        return render(request, "parts/message.html", status=status, level="danger", message=message)
    return render(request, "screens/error.html", status=status, message=message, number=status)


def _elsewhere(request: Request, error: DutyError) -> Response:
    """To the page that mends it: signing in, or choosing a password."""
    target = "/password"
    if isinstance(error, NotSignedIn):
        wanted = request.url.path if request.method == "GET" and not is_fragment(request) else ""
        target = "/sign-in" + (f"?next={quote(wanted)}" if wanted not in ("", "/") else "")
    if is_fragment(request):
        return Response(status_code=status_of(error), headers={"HX-Redirect": target})
    if request.url.path == "/events":
        return Response(status_code=status_of(error))
    return RedirectResponse(target, status_code=303)


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")
