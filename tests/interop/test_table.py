"""The table in ``docs/interop.md`` claims what the tests prove, no more and no less."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from tests.interop.cells import CAPABILITIES, Cell, proven

_PAGE = Path(__file__).parents[2] / "docs" / "interop.md"
_TESTS = Path(__file__).parents[1]
_MARKS = {"✓", "✗", "–"}


def _rows() -> dict[tuple[str, str], dict[str, str]]:
    table = _PAGE.read_text(encoding="utf-8").split("<!-- table -->")[1].split("<!-- end -->")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines()]
    header, _, *rows = lines
    assert tuple(header[2:]) == CAPABILITIES
    return {(row[0], row[1]): dict(zip(header[2:], row[2:], strict=True)) for row in rows}


def _noted() -> set[Cell]:
    """Every test that names a cell, in whatever folder of the tests it is."""
    for module in sorted(_TESTS.glob("*/test_*.py")):
        if "from tests.interop.cells import proves" in module.read_text(encoding="utf-8"):
            importlib.import_module(f"tests.{module.parent.name}.{module.stem}")
    return set(proven())


def test_the_page_claims_what_is_proven() -> None:
    claimed = {
        (peer, role, capability)
        for (peer, role), cells in _rows().items()
        for capability, mark in cells.items()
        if mark.startswith("✓")
    }
    noted = _noted()
    assert claimed - noted == set(), "claimed without a test"
    assert noted - claimed == set(), "proven, but not on the page"


def test_what_cannot_be_had_has_its_reason() -> None:
    page = _PAGE.read_text(encoding="utf-8")
    for (peer, role), cells in _rows().items():
        for capability, mark in cells.items():
            kind, _, note = mark.partition(" ")
            assert kind in _MARKS, (peer, role, capability, mark)
            if note:
                assert re.search(rf"^{re.escape(note)}\. ", page, re.MULTILINE), f"note {note} is missing"
            else:
                assert kind == "✓", f"{peer}, {role}: {capability} has no reason"
