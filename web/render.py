"""Rendering a screen: one Jinja environment that escapes everything and refuses undefined names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from duty.domain.rights import Right
from duty.domain.times import from_text
from duty.services.accounts import SessionView
from web import words
from web.catalogue import Catalogue
from web.print.handover import line_of, span

_TEMPLATES = Path(__file__).parent / "templates"

NAVIGATION: tuple[tuple[str, str, Right, str], ...] = (
    ("desk", "/desk", Right.SEE_DESK, "1"),
    ("duty", "/duty", Right.SEE_DUTY, "-"),
    ("calls", "/calls", Right.SEE_CALLS, "2"),
    ("register", "/register", Right.SEE_LOGBOOK, "3"),
    ("directory", "/directory", Right.SEE_DIRECTORY, "4"),
    ("review", "/review", Right.REVIEW_CALLS, "5"),
    ("lines", "/lines", Right.SEE_DESK, "6"),
    ("officers", "/officers", Right.MANAGE_PEOPLE, "7"),
    ("checks", "/checks", Right.SEE_CALLS, "8"),
    ("recordings", "/recordings", Right.SEE_DESK, "9"),
    ("evidence", "/evidence", Right.SEE_EVIDENCE, "0"),
    ("vocabulary", "/vocabulary", Right.SEE_WORDS, "w"),
)


class Renderer:
    """The templates of one language."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._environment = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(t=catalogue, Right=Right, navigation=NAVIGATION, happening=self._happening)
        for name in ("moment", "minute", "hour", "clock", "official", "iso", "position", "confidence", "person"):
            self._environment.filters[name] = getattr(words, name)
        self._environment.filters["instant"] = from_text
        self._environment.globals["handover_line"] = lambda part, item: line_of(catalogue, part, item)
        self._environment.globals["handover_span"] = lambda sheet: span(catalogue, sheet)
        self._environment.globals["between"] = words.between
        self._environment.globals["reason"] = lambda code: words.reason(catalogue, code)

    def text(self, template: str, **context: Any) -> str:
        """The template filled."""
        return self._environment.get_template(template).render(**context)

    def _happening(self, kind: str, data: dict[str, Any]) -> str:
        return words.happening(self.catalogue, kind, data)


def render(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Answer with a template; it knows the session, the request's nonce and where the event stream stands. Only a whole
    page asks for the standing exceptions, so that a fragment costs no look into the store."""
    renderer: Renderer = request.app.state.renderer
    session: SessionView | None = getattr(request.state, "session", None)
    base = {
        "session": session,
        "actor": session.actor if session else None,
        "csrf_token": session.csrf_token if session else "",
        "nonce": request.state.nonce,
        "path": request.url.path,
        "now": request.app.state.services.clock(),
        "standing_exceptions": request.app.state.services.exceptions.shown,
    }
    return HTMLResponse(renderer.text(template, **{**base, **context}), status_code=status)


def is_fragment(request: Request) -> bool:
    """True when htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true"


def home_of(session: SessionView) -> str:
    """The first screen a person may open."""
    rights = session.actor.rights()
    return next((path for _, path, right, _ in NAVIGATION if right in rights), "/password")
