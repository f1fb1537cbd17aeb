"""What stands on the printed record of a handover, on the sheet that entries are printed on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from duty.domain.times import from_text
from duty.services.handovers import HandoverView
from web import words
from web.catalogue import Catalogue
from web.print.sheet import Cell, Sheet

PARTS = ("entries", "drafts", "pending", "missed", "alarms", "lines")


def handover_sheet(t: Catalogue, view: HandoverView) -> Sheet:
    """The sheet of a handover that was taken."""
    kept = view.sheet
    rows = [
        [
            Cell(label=t("handover.given_by"), text=f"{view.given_by}\n{words.official(view.given_at)}"),
            Cell(label=t("handover.taken_by"), text=f"{view.taken_by}\n{words.official(view.taken_at)}"),
        ],
        [Cell(label=t("handover.span"), text=span(t, kept))],
        *([Cell(label=t(f"handover.{part}"), text=_listed(t, part, kept))] for part in PARTS),
        [Cell(label=t("handover.documents"), text=view.documents or t("handover.nothing"))],
        [Cell(label=t("handover.notes"), text=view.notes or t("handover.nothing"))],
    ]
    if view.excuse:
        said = f"{view.excuse}\n{view.excused_by} {words.official(view.excused_at)}"
        rows.append([Cell(label=t("handover.excuse"), text=said)])
    return Sheet(
        room=view.room_name,
        title=t("handover.print_title"),
        number=t("handover.print_number", number=view.handover_id),
        void_mark="",
        rows=rows,
        notes_title="",
        notes=[],
        seal=t("print.seal", hash=view.hash),
        page_words=[t("print.page_before"), t("print.page_between"), t("print.page_after")],
    )


def span(t: Catalogue, kept: Mapping[str, Any]) -> str:
    """From when to when the sheet reaches."""
    return t("handover.from_to", start=_at(kept["from"]), end=_at(kept["to"]))


def line_of(t: Catalogue, part: str, item: Mapping[str, Any]) -> str:
    """One item of a part of the sheet in one line."""
    if part == "lines":
        return _line(t, item)
    said: Iterable[str] = ()
    if part == "entries":
        said = (str(item["number"]), t(f"link.{item['link']}"), t(f"category.{item['category']}"))
    if part == "drafts":
        said = (t(f"category.{item['category']}"), str(item["number"]))
    if part == "pending":
        said = (t.known(f"pending.{item['kind']}", str(item["kind"])), str(item["number"]), str(item["text"]))
    if part == "missed":
        said = (str(item["number"]) or t("call.withheld"),)
    if part == "alarms":
        said = (t.known(f"alarm.{item['kind']}", str(item["kind"])),)
    return " ".join([_at(item["at"]), *(text for text in said if text)])


def _line(t: Catalogue, item: Mapping[str, Any]) -> str:
    check = t("checks.line_never")
    if item["check"]:
        verdict = t.known(f"check_verdict.{item['check']}", str(item["check"]))
        check = t("handover.checked", verdict=verdict, at=_at(item["checked_at"]))
    bad = [
        t(
            "handover.bad",
            part=t.known(f"component.{each['kind']}", str(each["kind"])),
            name=each["name"],
            state=t.known(f"component_state.{each['state']}", str(each["state"])),
        )
        for each in item["bad"]
    ]
    return "，".join([f"{item['name']} {item['number']}", check, *(bad or [t("handover.all_good")])])


def _listed(t: Catalogue, part: str, kept: Mapping[str, Any]) -> str:
    return "\n".join(line_of(t, part, item) for item in kept[part]) or t("handover.nothing")


def _at(text: object) -> str:
    return words.minute(from_text(text)) if isinstance(text, str) else ""
