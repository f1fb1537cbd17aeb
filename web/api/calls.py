"""The book of calls."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, Response

from duty.domain.calls import Direction, Outcome
from duty.domain.rights import Right
from duty.services.callreview import CallFilter
from web.api.call_shapes import Call, CallEvent, CallInFull, CallPage, Recording, Transcript
from web.api.entry_shapes import Entry
from web.api.shapes import Created
from web.audio import Listening
from web.sessions import Acting, House

router = APIRouter(tags=["calls"])


@router.get("/calls")
def calls(
    house: House,
    actor: Acting,
    direction: Direction | None = None,
    outcome: Outcome | None = None,
    words: Annotated[str, Query(max_length=100)] = "",
    since: date | None = None,
    until: date | None = None,
    flagged: bool = False,
    unit_id: int | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
) -> CallPage:
    """Calls newest first; dates are days in Shanghai, both included."""
    wanted = CallFilter(
        direction=direction,
        outcome=outcome,
        words=words,
        since=since,
        until=until,
        flagged=flagged,
        unit_id=unit_id,
        limit=limit,
        offset=offset,
    )
    return CallPage(
        total=house.calls.count(actor, wanted), calls=[Call.of(row) for row in house.calls.page(actor, wanted)]
    )


@router.get("/calls/{call_id}")
def call(house: House, actor: Acting, call_id: str) -> CallInFull:
    """One call in full."""
    found = house.calls.dossier(actor, call_id)
    sees_entries = actor.may(Right.SEE_LOGBOOK, found.call.unit_id)
    return CallInFull(
        call=Call.of(found.call),
        events=[CallEvent.of(row) for row in found.events],
        recording=Recording.of(found.recording) if found.recording else None,
        transcripts=[Transcript.of(row, chosen=row is found.transcript) for row in found.transcripts],
        draft={"gist": found.draft.gist, "fields": found.draft.fields} if found.draft else None,
        entries=[Entry.of(row) for row in found.entries] if sees_entries else [],
        under_secrecy=found.under_secrecy,
    )


@router.get("/calls/{call_id}/audio", response_class=FileResponse)
def audio(request: Request, actor: Acting, call_id: str) -> Response:
    """The recording as WAV, or as Ogg/Opus where only the archive's copy is left; caller left, officer right; ranges
    are served, the listening is recorded."""
    listening: Listening = request.app.state.listening
    return listening.answer(actor, call_id, request.headers.get("range"))


@router.post("/calls/{call_id}/transcribe-again", status_code=204)
def transcribe_again(house: House, actor: Acting, call_id: str, model: str = "") -> Response:
    """Queue the recording once more, by another ``model`` where one is named; earlier transcripts stay."""
    house.versions.ask(actor, call_id, model=model)
    return Response(status_code=204)


@router.post("/calls/{call_id}/transcripts/{transcript_id}/choose", status_code=204)
def choose_transcript(house: House, actor: Acting, call_id: str, transcript_id: int) -> Response:
    """Let the draft's proposals follow this version; an entry that an officer has touched stays as it is."""
    house.versions.choose(actor, call_id, transcript_id)
    return Response(status_code=204)


@router.post("/calls/{call_id}/entries", status_code=201)
def open_entry(house: House, actor: Acting, call_id: str) -> Created:
    """Start an entry for a call that has none."""
    return Created(id=house.logbook.open_for_call(actor, call_id))
