"""The fuzz targets on their seeds and on every input that once failed, as plain tests."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
TARGETS = sorted(path.stem.removeprefix("fuzz_") for path in FOLDER.glob("fuzz_*.py"))


@pytest.mark.parametrize("name", TARGETS)
def test_target_holds_on_its_seeds(name):
    target = import_module(f"tests.fuzz.fuzz_{name}")
    assert target.SEEDS
    for seed in target.SEEDS:
        target.check(seed)


@pytest.mark.parametrize("path", sorted((FOLDER / "found").glob("*-*")), ids=lambda path: path.name)
def test_what_was_found_stays_mended(path):
    """Files are named <target>-<what it was>."""
    import_module(f"tests.fuzz.fuzz_{path.name.partition('-')[0]}").check(path.read_bytes())
