"""Scenarios that differ from a shipped one in a line: written where the test keeps its files, so that only the
difference stands in the test."""

from __future__ import annotations

from pathlib import Path

from tests.peers.sipp import SCENARIOS, Sipp


def variant(sipp: Sipp, name: str, *changes: tuple[str, str]) -> Path:
    """A folder with the scenario ``name`` in which each (old, new) of ``changes`` is replaced once. Raises ValueError
    for an old text that is not there."""
    text = (SCENARIOS / f"{name}.xml").read_text(encoding="utf-8")
    for old, new in changes:
        if old not in text:
            raise ValueError(f"{name} has no {old!r}")
        text = text.replace(old, new, 1)
    folder = sipp.work / f"variant-{name}"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.xml").write_text(text, encoding="utf-8")
    return folder


def with_header(sipp: Sipp, name: str, header: str) -> Path:
    """A folder with the scenario ``name`` whose first request carries one header line more."""
    return variant(sipp, name, ("Max-Forwards: 70\n", f"Max-Forwards: 70\n    {header}\n"))
