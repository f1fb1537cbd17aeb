"""The list of calls, and one call in full: to hear, to read along, to enter (requirement 6.1-a, 6.1-d)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from duty.domain.calls import Direction, Outcome
from duty.domain.entries import EntryState
from duty.domain.happenings import AlarmKind
from duty.domain.rights import Actor, Right
from duty.services.callreview import CallDossier, CallFilter
from duty.store.tables import EntryRow
from web import words
from web.audio import Listening
from web.render import render
from web.screens.drafting import workbench
from web.screens.filters import MAX_WORDS_CHARS, choice, day, number, paging
from web.screens.secrecy import SecrecyPanel, panel, with_words
from web.screens.vocabulary import word_form
from web.services import Services
from web.sessions import Acting, Fields, House
from web.transcript import open_ones, segments

router = APIRouter()
PAGE = 50
EVIDENCE_SHOWN = 20


@router.get("/calls")
def calls(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """Calls, newest first, filtered by the address."""
    return render(request, "screens/calls.html", **listing(house, actor, "/calls", request.query_params))


def listing(house: Services, actor: Actor, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    """What a list of calls shows under a filter."""
    page = number(query.get("page"))
    wanted = CallFilter(
        direction=choice(Direction, query.get("direction")),
        outcome=choice(Outcome, query.get("outcome")),
        words=query.get("words", "")[:MAX_WORDS_CHARS],
        since=day(query.get("since")),
        until=day(query.get("until")),
        flagged=query.get("flagged") == "on",
        unit_id=number(query["unit"]) if query.get("unit") else None,
        limit=PAGE,
        offset=(page - 1) * PAGE,
    )
    return {
        "wanted": wanted,
        "rows": (rows := house.calls.page(actor, wanted)),
        "secret": house.secrecy.among([row.id for row in rows]),
        "paging": paging(path, query, page=page, size=PAGE, total=house.calls.count(actor, wanted)),
        "outcomes": house.calls.outcomes(actor, wanted),
        "units": house.network.units(actor, Right.SEE_CALLS),
    }


@router.get("/calls/{call_id}")
def call(request: Request, house: House, actor: Acting, call_id: str) -> HTMLResponse:
    """One call."""
    last_event = house.outbox.last_id()
    dossier = with_words(house, actor, house.calls.dossier(actor, call_id))
    secrecy = panel(house, actor, dossier)
    entries = dossier.entries if actor.may(Right.SEE_LOGBOOK, dossier.call.unit_id) else []
    draft = next((entry for entry in reversed(entries) if entry.state == EntryState.DRAFT), None)
    return render(
        request,
        "screens/call.html",
        last_event=last_event,
        entries=entries,
        bench=_bench(house, actor, draft, dossier) if draft is not None else None,
        captions=house.captions.of_calls(actor, [call_id], last=200).get(call_id, []),
        secrecy=secrecy,
        may_listen=_may_listen(actor, dossier, secrecy),
        may_enter=actor.may(Right.EDIT_DRAFT, dossier.call.unit_id),
        may_add_words=actor.may(Right.EDIT_WORDS, actor.unit_id) and not secrecy.active,
        **word_form(actor),
        holds=house.holds.of_call(call_id),
        may_hold=actor.may(Right.REVIEW_CALLS, dossier.call.unit_id) and _sealed(dossier),
        **_shown(house, actor, dossier),
    )


@router.get("/calls/{call_id}/part/{part}")
def call_part(request: Request, house: House, actor: Acting, call_id: str, part: str, version: int = 0) -> HTMLResponse:
    """A region of the page as it is now: ``head``, ``secrecy``, ``gist``, ``timeline``, ``transcription`` or
    ``transcript`` (of ``version``, else of the chosen one). The whole page anew: for ``closed``, when an opening has
    ended; for ``work`` once the call has a draft, which it gets when it is answered."""
    if part == "work":
        begun = any(entry.state == "draft" for entry in house.calls.dossier(actor, call_id).entries)
        return HTMLResponse(status_code=204, headers={"HX-Refresh": "true"} if begun else {})
    if part == "closed":
        return HTMLResponse(status_code=204, headers={"HX-Refresh": "true"})
    if part not in ("head", "secrecy", "gist", "timeline", "transcription", "transcript"):
        return render(request, "parts/nothing.html", status=404)
    dossier = house.calls.dossier(actor, call_id)
    if part in ("gist", "transcript"):
        dossier = with_words(house, actor, dossier)
    secrecy = panel(house, actor, dossier)
    return render(
        request,
        f"parts/call_{part}.html",
        secrecy=secrecy,
        gist=dossier.draft.gist if dossier.draft is not None else "",
        may_listen=_may_listen(actor, dossier, secrecy),
        may_enter=actor.may(Right.EDIT_DRAFT, dossier.call.unit_id),
        captions=house.captions.of_calls(actor, [call_id], last=200).get(call_id, []),
        **_shown(house, actor, dossier, version),
    )


@router.get("/calls/{call_id}/audio")
def audio(request: Request, actor: Acting, call_id: str) -> Response:
    """The recording, whole or in ranges (RFC 9110 section 14); the listening is in the audit log."""
    listening: Listening = request.app.state.listening
    return listening.answer(actor, call_id, request.headers.get("range"))


@router.get("/calls/{call_id}/peaks")
def peaks(request: Request, actor: Acting, call_id: str) -> Response:
    """The waveform; 204 where none was computed and the player has to draw its own."""
    listening: Listening = request.app.state.listening
    found = listening.peaks(actor, call_id)
    return Response(status_code=204) if found is None else JSONResponse(found)


@router.post("/calls/{call_id}/transcribe-again")
def transcribe_again(request: Request, house: House, actor: Acting, call_id: str, fields: Fields) -> HTMLResponse:
    """Queue the recording once more, by another model perhaps; earlier transcripts stay."""
    house.versions.ask(actor, call_id, model=fields.get("model", ""))
    return call_part(request, house, actor, call_id, "transcription")


@router.post("/calls/{call_id}/versions/{version}/choose")
def choose_version(house: House, actor: Acting, call_id: str, version: int) -> Response:
    """Let the proposals follow this version; the page is shown anew."""
    house.versions.choose(actor, call_id, version)
    return Response(status_code=204, headers={"HX-Refresh": "true"})


@router.post("/calls/{call_id}/entries")
def open_entry(house: House, actor: Acting, call_id: str) -> Response:
    """Start an entry for a call that has none."""
    house.logbook.open_for_call(actor, call_id)
    return RedirectResponse(f"/calls/{call_id}", status_code=303)


def _may_listen(actor: Actor, dossier: CallDossier, secrecy: SecrecyPanel) -> bool:
    return actor.may(Right.LISTEN, dossier.call.unit_id) and (secrecy.opened or not secrecy.active)


def _sealed(dossier: CallDossier) -> bool:
    return dossier.recording is not None and bool(dossier.recording.path) and dossier.recording.removed_at is None


def _bench(house: Services, actor: Actor, entry: EntryRow, dossier: CallDossier) -> dict[str, Any]:
    """The workbench; of what was opened nothing is offered to be taken into an entry, which stands in the open."""
    if not dossier.under_secrecy:
        return workbench(house, actor, entry, dossier)
    gist = dossier.draft.gist if dossier.draft is not None else ""
    return {**workbench(house, actor, entry, replace(dossier, draft=None)), "gist": gist}


def _shown(house: Services, actor: Actor, dossier: CallDossier, version: int = 0) -> dict[str, Any]:
    chosen = dossier.transcript
    transcript = next((row for row in dossier.transcripts if row.id == version), chosen)
    suggestions = house.suggestions.of_transcript(actor, transcript.id) if transcript is not None else []
    opened = dossier.draft if dossier.under_secrecy else None
    return {
        "sealed_fields": [(field["name"], field["value"]) for field in opened.fields] if opened is not None else [],
        "call": dossier.call,
        "unit": dossier.unit,
        "recording": dossier.recording,
        "gaps": words.gaps(dossier.recording.gaps, dossier.recording.samples) if dossier.recording else [],
        "events": dossier.events,
        "legs": dossier.legs,
        "evidence": house.evidence.page(actor, limit=EVIDENCE_SHOWN, call_id=dossier.call.id)
        if actor.may(Right.SEE_EVIDENCE)
        else [],
        "transcript": transcript,
        "versions": dossier.transcripts,
        "chosen": chosen.id if chosen is not None else None,
        "models": house.versions.models(),
        "segments": segments(transcript, suggestions) if transcript is not None else [],
        "open_suggestions": open_ones(suggestions),
        "no_engine": house.alarms.stands(AlarmKind.NO_ENGINE),
    }
