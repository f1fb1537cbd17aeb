"""拨测与查岗: ordering a check, what came of those made, with the evidence in words, appeals, and one's own PIN
(requirement 4-a, 6.1-e, 6.6-b)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from duty.domain.errors import Refused
from duty.domain.linechecks import MAX_PIN_DIGITS, MIN_PIN_DIGITS, CheckKind
from duty.domain.rights import Right
from duty.services.linechecks import CheckView
from web.catalogue import Catalogue
from web.render import render
from web.screens.filters import choice
from web.sessions import Acting, Fields, House

router = APIRouter()
_PROBE_TEXTS = ("digits_events", "digits_voice", "statuses", "diverted", "fault")


@router.get("/checks")
def checks(request: Request, house: House, actor: Acting) -> HTMLResponse:
    """What is under way, what is due, what was found."""
    last_event = house.outbox.last_id()
    return render(
        request,
        "screens/checks.html",
        last_event=last_event,
        lines=house.linechecks.lines(actor) if actor.may(Right.ORDER_CHECK) else [],
        due=house.linechecks.due(actor),
        rows=house.linechecks.recent(actor),
        kinds=[kind.value for kind in CheckKind],
        reason=lambda check: reason_of(_texts(request), check),
        has_pin=house.pins.is_set(actor),
        least=MIN_PIN_DIGITS,
        most=MAX_PIN_DIGITS,
    )


@router.post("/checks")
def order(request: Request, house: House, actor: Acting, fields: Fields) -> HTMLResponse:
    """Have a line or the duty checked now."""
    actor.require(Right.ORDER_CHECK)
    kind = choice(CheckKind, fields.get("kind"))
    if kind is None:
        raise Refused("check_kind_missing")
    house.linechecks.order(actor, fields.get("line", ""), kind)
    return _said(request, "checks.ordered")


@router.post("/checks/pin")
def set_pin(request: Request, house: House, actor: Acting, fields: Fields) -> HTMLResponse:
    """Give oneself a PIN; the password proves that it is oneself."""
    actor.require(Right.SEE_DESK)
    if fields.get("pin", "") != fields.get("again", ""):
        raise Refused("pins_differ")
    house.pins.set(actor, fields.get("pin", ""), password=fields.get("password", ""))
    return _said(request, "checks.pin_set")


@router.get("/checks/{check_id}")
def check(request: Request, house: House, actor: Acting, check_id: int) -> HTMLResponse:
    """One check with its evidence."""
    last_event = house.outbox.last_id()
    found = house.linechecks.see(actor, check_id)
    texts = _texts(request)
    return render(
        request,
        "screens/check.html",
        last_event=last_event,
        check=found,
        reason=reason_of(texts, found),
        evidence=evidence_of(texts, found),
        may_decide=actor.may(Right.ORDER_CHECK, found.unit_id),
        may_appeal=actor.may(Right.SEE_DESK, found.unit_id),
    )


@router.post("/checks/{check_id}/appeal")
def appeal(house: House, actor: Acting, check_id: int, fields: Fields) -> Response:
    """Say why it was not the officer's fault."""
    house.linechecks.appeal(actor, check_id, fields.get("words", ""))
    return _again(check_id)


@router.post("/checks/{check_id}/decide")
def decide(house: House, actor: Acting, check_id: int, fields: Fields) -> Response:
    """Decide on the appeal."""
    upheld = fields.get("upheld") == "yes"
    house.linechecks.decide(actor, check_id, upheld=upheld, words=fields.get("words", ""))
    return _again(check_id)


def reason_of(t: Catalogue, found: CheckView) -> str:
    """Why the verdict is what it is: ``sip_404``, ``phone_486``, ``not_registered: 403`` and plain codes."""
    return _reason(t, found.reason)


def _reason(t: Catalogue, code: str) -> str:
    head, _, rest = code.partition(":")
    for start in ("sip_", "phone_"):
        if head.startswith(start) and head[len(start) :].isdigit():
            return t(f"check_reason.{start}status", status=head[len(start) :])
    shown = t.known(f"check_reason.{head}", head)
    return f"{shown}（{rest.strip()}）" if rest.strip() else shown


def evidence_of(t: Catalogue, found: CheckView) -> list[str]:
    """What speaks for the verdict, one sentence each."""
    kept = found.evidence
    said = []
    if "through_carrier" in kept:
        said.append(t("check_seen.through" if kept["through_carrier"] else "check_seen.not_through"))
    for number, probe in enumerate(kept.get("probes", ()), start=1):
        said += _probe(t, number, probe)
    if "rang" in kept:
        said += _rang(t, kept)
    if kept.get("postponed"):
        said.append(t("check_seen.postponed", times=kept["postponed"]))
    return said


def _probe(t: Catalogue, number: int, probe: dict[str, Any]) -> list[str]:
    manner = t.known(f"manner.{probe['manner']}", str(probe["manner"]))
    verdict = t.known(f"check_verdict.{probe['verdict']}", str(probe["verdict"]))
    said = [t("check_seen.probe", number=number, manner=manner, verdict=verdict, why=_reason(t, str(probe["reason"])))]
    agent = t.known(f"agent.{probe['agent']}", str(probe["agent"]))
    said.append(t("check_seen.dialled", agent=agent, dialled=probe["dialled"]))
    if probe["answer_s"] is not None:
        said.append(t("check_seen.answered", seconds=probe["answer_s"]))
    said.append(t("check_seen.ours" if probe["arrived"] else "check_seen.not_ours"))
    said += [t(f"check_seen.{name}", value=probe[name]) for name in _PROBE_TEXTS if probe.get(name)]
    if probe["level_dbfs"] is not None:
        said.append(t("check_seen.level", level=probe["level_dbfs"], seconds=probe["heard_s"]))
    return said


def _rang(t: Catalogue, kept: dict[str, Any]) -> list[str]:
    said = [t("check_seen.phones", phones=kept["phones"] or "—")]
    said.append(t("check_seen.rang", seconds=kept["ring_s"]) if kept["rang"] else t("check_seen.not_rang"))
    if kept["answered_by"]:
        said.append(t("check_seen.picked_up", extension=kept["answered_by"]))
        said.append(t("check_seen.tries", tries=kept["tries"]))
    if kept["statuses"]:
        said.append(t("check_seen.phone_statuses", value=kept["statuses"]))
    return said


def _again(check_id: int) -> Response:
    """Show the check anew."""
    return Response(status_code=204, headers={"HX-Redirect": f"/checks/{check_id}"})


def _said(request: Request, key: str) -> HTMLResponse:
    return render(request, "parts/message.html", level="success", message=_texts(request)(key))


def _texts(request: Request) -> Catalogue:
    texts: Catalogue = request.app.state.renderer.catalogue
    return texts
