"""What is shipped to the browser: old enough in its syntax, whole, licensed, and named."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from fastapi.testclient import TestClient

STATIC = Path(__file__).resolve().parents[2] / "web/static"
VENDOR = STATIC / "vendor"
LATER_SYNTAX = re.compile(r"\?\.(?!\d)|\?\?")
LATER_SCRIPT = re.compile(r"\.replaceAll\(|\.replaceChildren\(|\.at\(-|Object\.hasOwn|structuredClone|\bawait import\b")
LATER_SHEET = re.compile(r":has\(|:is\(|:where\(|@layer|@container|\binset:")


def without_strings(text: str) -> str:
    """Scripts without comments and short strings: a question mark in a text is no syntax."""
    return re.sub(r"""/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", "", text, flags=re.DOTALL)


def test_scripts_and_sheets_are_read_by_chromium_78() -> None:
    scripts = sorted(STATIC.rglob("*.js"))
    assert len(scripts) >= 7
    for path in scripts:
        text = without_strings(path.read_text("utf-8"))
        assert LATER_SYNTAX.search(text) is None, path.name
    for path in sorted((STATIC / "js").glob("*.js")):
        assert LATER_SCRIPT.search(path.read_text("utf-8")) is None, path.name
    assert ":has(" not in (VENDOR / "bootstrap.min.css").read_text("utf-8")
    own = (STATIC / "app.css").read_text("utf-8")
    assert LATER_SHEET.search(own) is None
    assert re.search(r"(?<!grid-)\bgap:", own) is None, "flex gap came with Chromium 84"


def test_the_syntax_check_would_see_it() -> None:
    for text in ("a?.b", "a ?? b", "a ??= b", "f?.(x)"):
        assert LATER_SYNTAX.search(text)
    assert LATER_SYNTAX.search("a?.5:b") is None


def test_vendored_files_are_what_was_put_there() -> None:
    listed = dict(reversed(line.split("  ")) for line in (VENDOR / "SHA256SUMS").read_text("utf-8").splitlines())
    present = {path.name for path in VENDOR.iterdir()} - {"SHA256SUMS", "README.md"}
    assert set(listed) == present
    for name, digest in listed.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name
    readme = (VENDOR / "README.md").read_text("utf-8")
    assert all(name in readme for name in present if not name.endswith(".LICENSE"))


def test_every_file_a_page_names_is_there(officer: TestClient) -> None:
    templates = (STATIC.parent / "templates").rglob("*.html")
    named = {name for path in templates for name in re.findall(r'"(/static/[^"]+)"', path.read_text("utf-8"))}
    named |= set(re.findall(r'"(/static/[^"]+)"', (STATIC / "app.css").read_text("utf-8")))
    assert len(named) > 8
    assert [name for name in named if officer.get(name).status_code != 200] == []
