"""The duty desk: what lives now and what the shift still owes (requirement 6.1-a, 4-a)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from duty.domain.entries import EntryState
from duty.domain.rights import Actor, Right
from duty.services.logbook import EntryFilter
from web.render import render
from web.services import Services
from web.sessions import Acting, Fields, House

router = APIRouter()
GOOD_STATES = frozenset({"registered", "reachable"})


@router.get("/desk")
def desk(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """The whole screen."""
    last_event = house.outbox.last_id()
    context = {name: value for part in _PARTS.values() for name, value in part(house, actor).items()}
    return render(request, "screens/desk.html", last_event=last_event, **context)


@router.get("/desk/{part}")
def desk_part(request: Request, house: House, actor: Acting, part: str) -> HTMLResponse:
    """One region of it, as it is now."""
    chosen = _PARTS.get(part)
    if chosen is None:
        return render(request, "parts/nothing.html", status=404)
    return render(request, f"parts/desk_{part}.html", **chosen(house, actor))


@router.post("/alarms/{alarm_id}/acknowledge")
def acknowledge(request: Request, house: House, actor: Acting, alarm_id: int) -> HTMLResponse:
    """Somebody has seen it."""
    house.alarms.acknowledge(actor, alarm_id)
    return render(request, "parts/desk_alarms.html", **_alarms(house, actor))


@router.post("/pending/{pending_id}/settle")
def settle(request: Request, house: House, actor: Acting, pending_id: int, fields: Fields) -> HTMLResponse:
    """A pending item is dealt with."""
    house.calls.settle(actor, pending_id, words=fields.get("words", ""))
    return render(request, "parts/desk_pending.html", **_pending(house, actor))


@router.post("/calls/{call_id}/return")
def return_call(request: Request, house: House, actor: Acting, call_id: str) -> Response:
    """Ring the desk phone and dial the number a missed caller showed."""
    house.commands.return_call(actor, call_id)
    return render(request, "parts/message.html", level="success", message=_text(request, "desk.call_back_given"))


def _text(request: Request, key: str) -> str:
    text: str = request.app.state.renderer.catalogue(key)
    return text


def _calls(house: Services, actor: Actor) -> dict[str, Any]:
    live = house.calls.present(actor)
    ids = [call.id for call in live]
    entries = {
        call_id: found[-1].id
        for call_id in ids
        if actor.may(Right.SEE_LOGBOOK) and (found := house.logbook.entries_of_call(actor, call_id))
    }
    return {
        "live": live,
        "captions": house.captions.of_calls(actor, ids),
        "live_entries": entries,
        "holders": house.calls.holders(ids),
        "secret": house.secrecy.among(ids),
    }


def _drafts(house: Services, actor: Actor) -> dict[str, Any]:
    if not actor.may(Right.SEE_LOGBOOK):
        return {"drafts": [], "drafts_total": 0, "obstacles": {}}
    wanted = EntryFilter(state=EntryState.DRAFT, limit=30)
    rows = house.logbook.register(actor, wanted)
    return {
        "drafts": rows,
        "drafts_total": house.logbook.count(actor, wanted),
        "obstacles": {row.id: len(house.logbook.obstacles(row)) for row in rows},
    }


def _pending(house: Services, actor: Actor) -> dict[str, Any]:
    return {"pending": house.calls.pending(actor)}


def _alarms(house: Services, actor: Actor) -> dict[str, Any]:
    return {"alarms": house.alarms.unacknowledged(actor)}


def _lines(house: Services, actor: Actor) -> dict[str, Any]:
    scope = actor.unit_scope(Right.SEE_DESK)
    return {
        "components": house.lines.components(scope),
        "good_states": GOOD_STATES,
        "checked": house.linechecks.last(scope),
    }


def _duty(house: Services, actor: Actor) -> dict[str, Any]:
    if not actor.may(Right.SEE_DUTY):
        return {"on_duty": None}
    units = house.watches.now(actor)
    return {"on_duty": next((each for each in units if each.unit_id == actor.unit_id), None)}


_PARTS = {
    "duty": _duty,
    "calls": _calls,
    "drafts": _drafts,
    "pending": _pending,
    "alarms": _alarms,
    "lines": _lines,
}
