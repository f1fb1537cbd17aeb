"""``dutyline reconcile``: every call has its recording's row, every row its files and every file its row, now
(requirement 6.1-d). It changes nothing; the service itself does the same all the time, and mends what it can."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import asdict

import typer

from config.settings import Settings
from duty.domain.custody import Difference
from duty.store.database import Store
from dutyline.options import out, print_json
from telephony.custody import survey
from web import catalogue

_NICENESS = 10


def run(settings: Settings, *, quick: bool, as_json: bool) -> None:
    """Compare and show; exit status 1 where anything differs."""
    os.nice(_NICENESS)
    read = 0

    def heard(size: int) -> None:
        nonlocal read
        read += size

    with closing(Store(settings.store_url)) as store:
        found = survey(settings, store, deep=not quick, heard=heard)
    if as_json:
        print_json({"ok": not found, "read_bytes": read, "differences": [asdict(each) for each in found]})
    else:
        _show(found)
    if found:
        raise typer.Exit(1)


def _show(found: list[Difference]) -> None:
    words = catalogue.load()
    for each in found:
        place = " ".join(filter(None, (each.call_id, each.place, each.detail)))
        out.print(f"[red]{words(f'difference.{each.kind.value}')}[/red] {place}", highlight=False, soft_wrap=True)
        out.print(f"  {words(f'difference_advice.{each.kind.value}')}", highlight=False, soft_wrap=True)
    if not found:
        out.print("通话、录音登记与录音文件一致")
