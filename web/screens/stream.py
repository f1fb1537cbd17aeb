"""The event stream that keeps open pages current, and the small question whether a session still lives."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from duty.domain.times import to_text
from duty.services.accounts import SessionView
from web import sse
from web.feed import Feed
from web.services import Services
from web.sessions import COOKIE, House, Signed

BEAT_S = 5.0

router = APIRouter()


@router.get("/events")
async def events(request: Request, house: House, session: Signed, after: str | None = None) -> Response:
    """Server-sent events of everything the person may see, resumed by Last-Event-ID or ``after``."""
    resume = sse.resume_point(request.headers.get("last-event-id"), after)
    return StreamingResponse(
        _lines(request, house, session, resume),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


@router.get("/session", status_code=204)
def session_lives(_session: Signed) -> Response:
    """204 while the session lives; a page whose stream broke asks this before it tries again."""
    return Response(status_code=204)


async def _lines(request: Request, house: Services, session: SessionView, resume: int | None) -> AsyncIterator[str]:
    """The stream's text. At each heartbeat the session is looked at anew: who was signed out hears nothing more."""
    feed: Feed = request.app.state.feed
    token = request.cookies.get(COOKIE, "")
    yield sse.opening() + sse.heartbeat(to_text(house.clock()))
    async for event in feed.after(resume, beat_s=BEAT_S):
        if event is not None:
            if sse.may_see(session.actor, event):
                yield sse.message(event)
            continue
        living = await run_in_threadpool(house.accounts.session, token)
        if living is None:
            return
        session = living
        yield sse.heartbeat(to_text(house.clock()))
