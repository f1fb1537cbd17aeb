"""What stands on the printed sheet of an entry, as plain data for the template. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from duty.domain.entries import EntryState
from duty.services.logbook import current_content
from duty.store.tables import CallRow, EntryRow
from web import words
from web.catalogue import Catalogue

_PAIRS = (("event_time", "category"), ("caller_unit", "caller_phone"), ("caller_name", "caller_title"))
_WIDE = ("place", "event", "casualties", "measures", "request", "remarks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A label and its text."""

    label: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One sheet. ``rows`` hold one cell (full width) or two; ``notes`` are amendments and the voiding, in order."""

    room: str
    title: str
    number: str
    void_mark: str
    rows: list[list[Cell]]
    notes_title: str
    notes: list[str]
    seal: str
    page_words: list[str]

    def as_data(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def sheet_of(t: Catalogue, row: EntryRow, officers: Mapping[int, str]) -> Sheet:
    """The sheet of a finalized or voided entry: the text in force, with what was amended stated below it."""
    texts = current_content(row).as_dict()
    texts["category"] = t(f"category.{texts['category']}")
    rows = [[Cell(label=t(f"field.{name}"), text=texts[name]) for name in pair] for pair in _PAIRS]
    rows += [[Cell(label=t(f"field.{name}"), text=texts[name])] for name in _WIDE]
    rows += [[Cell(label=t("print.call"), text=_call_words(t, row.call))]]
    rows += [[Cell(label=t("print.identity"), text=_checks(t, row))]]
    rows += [
        [
            Cell(label=t("print.repeated_back"), text=words.official(row.repeated_back_at) or t("print.not_done")),
            Cell(label=t("print.created_at"), text=words.official(row.created_at)),
        ],
        [
            Cell(label=t("print.finalized_by"), text=officers.get(row.finalized_by or 0, "")),
            Cell(label=t("print.finalized_at"), text=words.official(row.finalized_at)),
        ],
    ]
    voided = row.state == EntryState.VOIDED
    return Sheet(
        room=row.unit.room_name,
        title=t("print.title"),
        number=row.number_text or "",
        void_mark=t("state.voided") if voided else "",
        rows=rows,
        notes_title=t("print.amendments"),
        notes=_amendments(t, row),
        seal=t("print.seal", hash=row.links[0].hash if row.links else "—"),
        page_words=[t("print.page_before"), t("print.page_between"), t("print.page_after")],
    )


def _call_words(t: Catalogue, call: CallRow | None) -> str:
    if call is None:
        return t("print.no_call")
    lasted = words.between(call.answered_at, call.ended_at)
    return t(
        "print.call_words",
        direction=t(f"direction.{call.direction}"),
        at=words.moment(call.arrived_at),
        number=(call.caller_number if call.direction == "inbound" else call.callee_number) or t("call.withheld"),
        length=lasted or "—",
    )


def _checks(t: Catalogue, row: EntryRow) -> str:
    if not row.checks:
        return t("print.not_done")
    return "\n".join(
        "，".join(
            part
            for part in (
                t(f"method.{check.method}"),
                t(f"verdict.{check.verdict}"),
                check.note,
                f"{check.officer.name} {words.minute(check.at)}",
            )
            if part
        )
        for check in row.checks
    )


def _amendments(t: Catalogue, row: EntryRow) -> list[str]:
    found = []
    for amendment in row.amendments:
        changes = "；".join(
            t("print.change", field=t(f"field.{name}"), old=_named(t, name, old), new=_named(t, name, new))
            for name, (old, new) in amendment.changes.items()
        )
        found.append(
            t(
                "print.amendment",
                at=words.minute(amendment.at),
                by=amendment.officer.name,
                changes=changes,
                reason=amendment.reason,
            )
        )
    return found


def _named(t: Catalogue, name: str, value: str) -> str:
    return t.known(f"category.{value}", value) if name == "category" else value or t("print.blank")
