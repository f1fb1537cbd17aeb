"""The console as an ASGI application: settings and services in, everything wired, nothing global."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response
from starlette.staticfiles import StaticFiles

from config.settings import Settings
from web import catalogue, failures
from web.api import router as api_router
from web.attempts import Attempts
from web.audio import Listening
from web.feed import Feed
from web.hardening import Hardening
from web.print.pdf import Printer
from web.render import Renderer
from web.screens import ROUTERS
from web.services import Services

_STATIC = Path(__file__).parent / "static"
API = "/api/v1"


def create_app(services: Services, settings: Settings) -> FastAPI:
    """The console over ``services``. Its event feed runs from the application's start to its end."""
    texts = catalogue.load()
    feed = Feed(services.store, services.outbox)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        feed.start()
        try:
            yield
        finally:
            feed.stop()

    app = FastAPI(
        title=texts("api.title"),
        version="1",
        description=texts("api.description"),
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.services = services
    app.state.settings = settings
    app.state.feed = feed
    app.state.renderer = Renderer(texts)
    app.state.attempts = Attempts()
    app.state.listening = Listening(services, settings.data.recordings)
    app.state.printer = Printer(texts)
    failures.install(app)
    app.add_middleware(Hardening, https=settings.web.secure_cookies)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.add_api_route("/healthz", _healthy(services), include_in_schema=False)
    for router in ROUTERS:
        app.include_router(router, include_in_schema=False)
    app.include_router(api_router, prefix=API)
    return app


def _healthy(services: Services) -> Callable[[], Response]:
    def healthz() -> Response:
        """200 while the store answers; for the supervisor and a proxy."""
        services.outbox.last_id()
        return JSONResponse({"state": "ok"})

    return healthz
