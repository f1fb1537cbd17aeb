"""``dutyline verify``: the independent verifier's word on every unit's logbook (requirement 6.2-c)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer

from config.settings import Settings
from duty.verifier import (
    CannotVerify,
    EvidenceReport,
    Finding,
    HandoverReport,
    RecordingsReport,
    Report,
    UnitReport,
    verify,
)
from duty.verifier.report import CUSTODY, EVIDENCE, HANDOVERS
from duty.verifier.secrets import read_master_keys
from dutyline.options import fail, out, print_json


def run(settings: Settings, *, as_json: bool, anchor: Path | None = None) -> None:
    """Verify the configured store and its recordings, against an earlier report in JSON where one is given; exit status
    1 where a book is not whole or cannot be read."""
    heads = anchored(anchor) if anchor is not None else None
    key_file = settings.secrecy.key_file
    try:
        keys = read_master_keys(key_file) if key_file is not None else {}
        report = verify(settings.store_url, settings.data.recordings, expected_head=heads, keys=keys)
    except CannotVerify as error:
        raise fail(f"登记簿无法读取，不能校验：{error}") from None
    if as_json:
        print_json(as_plain(report))
    else:
        _show(settings, report)
    if report.first_broken is not None:
        raise typer.Exit(1)


def anchored(path: Path) -> dict[str, tuple[int, str]]:
    """The heads that an earlier report noted. Ends the command for what is none."""
    try:
        report = json.loads(path.read_text("utf-8"))
        heads = {unit["code"]: (int(unit["links"]), str(unit["head_hash"])) for unit in report["units"]}
        kept = report.get("recordings", {})
        if kept.get("custody"):
            heads[CUSTODY] = (int(kept["custody"]), str(kept["custody_hash"]))
        guarded = report.get("evidence", {})
        if guarded.get("links"):
            heads[EVIDENCE] = (int(guarded["links"]), str(guarded["head_hash"]))
        handed = report.get("handovers", {})
        if handed.get("links"):
            heads[HANDOVERS] = (int(handed["links"]), str(handed["head_hash"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise fail(f"存证无法读取：{path}（{error}）") from None
    return heads


def as_plain(report: Report) -> dict[str, object]:
    """The report as JSON values; ``ok`` is the verdict on all books."""
    return {
        "ok": report.first_broken is None,
        "units": [asdict(unit) for unit in report.units],
        "recordings": asdict(report.recordings),
        "evidence": asdict(report.evidence),
        "handovers": asdict(report.handovers),
        "warnings": [asdict(warning) for warning in report.warnings],
    }


def _show(settings: Settings, report: Report) -> None:
    names = {unit.code: unit.name for unit in settings.units}
    if not report.units:
        out.print("没有任何单位的登记簿")
    for unit in report.units:
        out.print(_line(unit, names.get(unit.code, "")), highlight=False, soft_wrap=True)
    out.print(_recordings(report.recordings), highlight=False, soft_wrap=True)
    out.print(_evidence(report.evidence), highlight=False, soft_wrap=True)
    out.print(_handovers(report.handovers), highlight=False, soft_wrap=True)
    for warning in report.warnings:
        out.print(f"[yellow]注意[/yellow] {_place(warning)}：{warning.explanation}", highlight=False, soft_wrap=True)


def _line(unit: UnitReport, name: str) -> str:
    counted = f"{unit.code} {name}".strip() + f"：值班记录 {unit.entries} 条，链 {unit.links} 环"
    if unit.broken is None:
        return f"{counted}，[green]完好[/green]"
    return f"{counted}以前完好，[red]{_place(unit.broken)}断裂[/red]：{unit.broken.explanation}"


def _recordings(report: RecordingsReport) -> str:
    counted = f"录音 {report.good} 份，保管链 {report.custody} 环"
    if report.broken is None:
        return f"{counted}，[green]完好[/green]"
    place = f"通话 {report.broken.call}" if report.broken.call else f"保管链第 {report.broken.position} 环"
    return f"{counted}以前完好，[red]{place} 有误[/red]：{report.broken.explanation}"


def _evidence(report: EvidenceReport) -> str:
    counted = f"转移拦截等存证 {report.links} 件"
    if report.broken is None:
        return f"{counted}，[green]完好[/green]"
    about = f"通话 {report.broken.call} 的存证" if report.broken.call else "存证"
    place = f"{about}（存证链第 {report.broken.position} 环）" if report.broken.position else about
    return f"{counted}以前完好，[red]{place}有误[/red]：{report.broken.explanation}"


def _handovers(report: HandoverReport) -> str:
    counted = f"交接班记录 {report.links} 件"
    if report.broken is None:
        return f"{counted}，[green]完好[/green]"
    return f"{counted}以前完好，[red]交接班链第 {report.broken.position} 环有误[/red]：{report.broken.explanation}"


def _place(found: Finding) -> str:
    entry = f"（{found.entry_number}）" if found.entry_number else ""
    return f"第 {found.position} 环{entry}"
