"""The draft workbench: the form with its proposals, saving by itself, repeating back, finalizing.

The form sends what it showed at first (``base.*``) beside what it holds now, so that a transcript that arrives, or a
colleague, never costs an officer a typed word (requirement 6.1-d, 6.2-b).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from duty.domain.drafts import FieldName
from duty.domain.entries import Category, EntryContent
from duty.domain.errors import BadCredential, Conflict
from duty.domain.rights import Actor, Right
from duty.services.callreview import CallDossier
from duty.services.logbook import content_of
from duty.store.tables import DraftRow, EntryRow
from web import words
from web.merge import Merge, three_way
from web.render import render
from web.screens.identity import identity_panel
from web.services import Services
from web.sessions import Acting, Fields, House

router = APIRouter()

FIELDS = tuple(EntryContent().as_dict())
MULTILINE = frozenset({"event", "casualties", "measures", "request", "remarks"})
ORDER = (
    "category",
    "event_time",
    "place",
    "event",
    "caller_unit",
    "caller_name",
    "caller_title",
    "caller_phone",
    "casualties",
    "measures",
    "request",
    "remarks",
)
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the software proposes for a field; ``start_s``/``end_s`` are None where no words stand behind it."""

    value: str
    confidence: str
    source: str
    start_s: float | None
    end_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One field of the form."""

    name: str
    value: str
    required: bool
    missing: bool
    multiline: bool
    proposal: Proposal | None


@router.post("/entries/{entry_id}/save")
def save(request: Request, house: House, actor: Acting, entry_id: int, fields: Fields) -> HTMLResponse:
    """Save what was changed and say what came from others; a true conflict is shown field by field, nothing is lost."""
    row, merge = write(house, actor, entry_id, fields)
    dossier = house.calls.dossier(actor, row.call_id) if row.call_id else None  # what is sealed stays so here
    return render(
        request,
        "parts/draft_saved.html",
        status=409 if merge.conflicts else 200,
        bench=workbench(house, actor, row, dossier),
        taken=merge.taken,
        conflicts=merge.conflicts,
        mine=fields,
        saved_at=house.clock(),
    )


@router.post("/entries/{entry_id}/repeat-back")
def repeat_back(request: Request, house: House, actor: Acting, entry_id: int) -> HTMLResponse:
    """复述确认."""
    house.logbook.repeat_back(actor, entry_id)
    row = house.logbook.entry(actor, entry_id)
    return render(request, "parts/repeat_back.html", entry=row)


@router.get("/entries/{entry_id}/obstacles")
def obstacles(request: Request, house: House, actor: Acting, entry_id: int) -> HTMLResponse:
    """What still stands between the draft and its number."""
    row = house.logbook.entry(actor, entry_id)
    return render(request, "parts/obstacles.html", obstacles=house.logbook.obstacles(row), oob=False)


@router.post("/entries/{entry_id}/finalize")
def finalize(request: Request, house: House, actor: Acting, entry_id: int, fields: Fields) -> HTMLResponse:
    """定稿: unsaved input is saved, the credential is checked once more, the number is given."""
    row, merge = write(house, actor, entry_id, fields)
    if merge.conflicts:
        raise Conflict("entry_changed_meanwhile")
    confirm(house, actor, fields.get("password", ""))
    done = house.logbook.finalize(actor, entry_id, version=row.version)
    return render(request, "parts/finalized.html", entry=done)


def confirm(house: Services, actor: Actor, password: str) -> None:
    """The signed-in person's own credential once more. Raises BadCredential, worded for somebody who is known."""
    try:
        house.accounts.confirm(actor, password)
    except BadCredential as error:
        if error.code == BadCredential.code:
            raise BadCredential("password_wrong") from None
        raise


def write(house: Services, actor: Actor, entry_id: int, fields: Mapping[str, str]) -> tuple[EntryRow, Merge]:
    """Join the form with what is stored and write what joins; returns the row as it is then, and the merge.

    Raises what ``Logbook.edit`` raises; a version that moves on while we join is joined anew.
    """
    mine = {name: fields[name].replace("\r\n", "\n") for name in FIELDS if name in fields}
    base = {name: fields[f"base.{name}"] for name in mine if f"base.{name}" in fields}
    for attempt in range(_TRIES):
        row = house.logbook.entry(actor, entry_id)
        stored = content_of(row).as_dict()
        merge = _accepted(three_way({**stored, **base}, mine, stored), mine, stored, fields)
        if merge.conflicts or not merge.changes:
            actor.require(Right.EDIT_DRAFT, row.unit_id)
            return row, merge
        try:
            house.logbook.edit(actor, entry_id, merge.changes, version=row.version)
        except Conflict:
            if attempt == _TRIES - 1:
                raise
            continue
        return house.logbook.entry(actor, entry_id), merge
    raise Conflict("entry_changed_meanwhile")


def _accepted(merge: Merge, mine: Mapping[str, str], stored: Mapping[str, str], fields: Mapping[str, str]) -> Merge:
    """Conflicts the officer has decided for their own text, having seen the very value that is stored now."""
    decided = {name: mine[name] for name in merge.conflicts if fields.get(f"accept.{name}") == stored[name]}
    left = {name: value for name, value in merge.conflicts.items() if name not in decided}
    return Merge(changes={**merge.changes, **decided}, taken=merge.taken, conflicts=left)


def workbench(house: Services, actor: Actor, entry: EntryRow, dossier: CallDossier | None) -> dict[str, Any]:
    """Everything the draft's form, obstacles and identity panel show."""
    content = content_of(entry)
    missing = set(house.logbook.rules.missing(content))
    proposals = _proposals(dossier.draft if dossier is not None else None)
    return {
        "entry": entry,
        "fields": [_field(name, content, house, missing, proposals) for name in ORDER],
        "base": content.as_dict(),
        "categories": [category.value for category in Category],
        "gist": dossier.draft.gist if dossier is not None and dossier.draft is not None else "",
        "obstacles": house.logbook.obstacles(entry),
        "important": house.logbook.rules.is_important(content),
        "identity": identity_panel(house, actor, entry, dossier),
        "may_edit": actor.may(Right.EDIT_DRAFT, entry.unit_id),
        "may_finalize": actor.may(Right.FINALIZE, entry.unit_id),
    }


def _field(
    name: str,
    content: EntryContent,
    house: Services,
    missing: set[str],
    proposals: Mapping[str, Proposal],
) -> FormField:
    rule = "caller" if name in ("caller_unit", "caller_name") else name
    required = house.logbook.rules.required
    if content.category in house.logbook.rules.exempt_categories:
        required = ("event",)
    return FormField(
        name=name,
        value=content.as_dict()[name],
        required=rule in required,
        missing=rule in missing,
        multiline=name in MULTILINE,
        proposal=proposals.get(name),
    )


def _proposals(draft: DraftRow | None) -> dict[str, Proposal]:
    """The best proposal per field; of the category its code, which is what the form chooses by."""
    found: dict[str, Proposal] = {}
    for field in sorted(draft.fields if draft is not None else [], key=lambda field: float(field["confidence"])):
        spans = field["spans"]
        found[field["name"]] = Proposal(
            value=field["normalised"] if field["name"] == FieldName.CATEGORY else field["value"],
            confidence=words.confidence(float(field["confidence"])),
            source=field["source"],
            start_s=min((float(span["start_s"]) for span in spans), default=None),
            end_s=max((float(span["end_s"]) for span in spans), default=None),
        )
    return found
