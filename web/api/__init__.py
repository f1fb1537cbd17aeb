"""The JSON API: the same use cases and the same rights as the screens, documented by OpenAPI."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from web.api import calls, desk, directory, entries, session
from web.api.shapes import Problem

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem} for status in (400, 401, 403, 404, 409, 422, 429, 500)
}

router = APIRouter(responses=_PROBLEMS)
for part in (session.router, desk.router, calls.router, entries.router, directory.router):
    router.include_router(part)
