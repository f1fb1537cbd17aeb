"""What lives now and what is owed: present calls, pending items, alarms, lines, accounts."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from duty.domain.rights import Right
from web.api.call_shapes import Call
from web.api.desk_shapes import Alarm, Component, Officer, Pending, Settle
from web.api.shapes import Created
from web.sessions import Acting, House

router = APIRouter(tags=["desk"])


@router.get("/desk/calls")
def present_calls(house: House, actor: Acting) -> list[Call]:
    """Calls that live now, oldest first."""
    return [Call.of(row) for row in house.calls.present(actor)]


@router.get("/pending")
def pending(house: House, actor: Acting) -> list[Pending]:
    """待办事项 still open, oldest first."""
    return [Pending.of(row) for row in house.calls.pending(actor)]


@router.post("/pending/{pending_id}/settle", status_code=204)
def settle(house: House, actor: Acting, pending_id: int, body: Settle) -> Response:
    """A pending item is dealt with."""
    house.calls.settle(actor, pending_id, words=body.words)
    return Response(status_code=204)


@router.post("/calls/{call_id}/return", status_code=202)
def return_call(house: House, actor: Acting, call_id: str) -> Created:
    """Ring the desk phone and dial the number a missed caller showed."""
    return Created(id=house.commands.return_call(actor, call_id))


@router.get("/alarms")
def alarms(house: House, actor: Acting) -> list[Alarm]:
    """Alarms nobody has acknowledged yet, newest first."""
    return [Alarm.of(row) for row in house.alarms.unacknowledged(actor)]


@router.post("/alarms/{alarm_id}/acknowledge", status_code=204)
def acknowledge(house: House, actor: Acting, alarm_id: int) -> Response:
    """Somebody has seen it."""
    house.alarms.acknowledge(actor, alarm_id)
    return Response(status_code=204)


@router.get("/lines")
def lines(house: House, actor: Acting) -> list[Component]:
    """Every phone and trunk of the units one sees."""
    return [Component.of(view) for view in house.lines.components(actor.unit_scope(Right.SEE_DESK))]


@router.get("/officers")
def officers(house: House, actor: Acting) -> list[Officer]:
    """The accounts."""
    return [Officer.of(row) for row in house.accounts.officers(actor)]
