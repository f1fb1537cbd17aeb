"""The repository's habits, kept by a check instead of by memory."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("config", "duty", "telephony", "transcription", "web", "dutyline")
LOCKS = ("build", "runtime", "dev")

REGISTRY_HOST = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|yarnpkg\.com)\b"
    r"|//[\w.-]*(?:pypi|mirror|registry|artifactory|nexus)[\w.-]*[/:]",
    re.IGNORECASE,
)
HOME_DIRECTORY = re.compile(r"(?<![\w.:}/-])/(?:root|home/[a-z][\w-]*|Users/\w[\w-]*)/\w")
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


@cache
def tracked() -> tuple[Path, ...]:
    """The files git knows, relative to the root; all of them outside hidden folders where there is no git."""
    if (ROOT / ".git").exists():
        git = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
        names = subprocess.run(git, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    else:
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
        names = [name for name in names if not name.startswith((".venv/", "data/", "build/", "dist/"))]
    return tuple(Path(name) for name in names if name and (ROOT / name).is_file())


@cache
def text_of(path: Path) -> str | None:
    """The file's text; None for one that is not text."""
    try:
        return (ROOT / path).read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return None


def matches(pattern: re.Pattern[str], *, skip: tuple[str, ...] = ()) -> list[str]:
    """``path:line: match`` for every hit in a tracked text file, but for this file and those skipped."""
    found = []
    for path in tracked():
        if path.as_posix().startswith(("tests/test_repository.py", *skip)):
            continue
        for number, line in enumerate((text_of(path) or "").splitlines(), start=1):
            found += [f"{path}:{number}: {hit.group()}" for hit in pattern.finditer(line)]
    return found


def trees(*tops: str) -> list[tuple[Path, ast.Module]]:
    paths = [path for path in tracked() if path.suffix == ".py" and path.parts[0] in tops]
    return [(path, ast.parse(text_of(path) or "", str(path))) for path in paths]


def pins(lock: str) -> dict[str, str]:
    found = PIN.findall((ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8"))
    assert len(found) == len(dict(found)), f"{lock}.lock pins a package twice"
    return dict(found)


def declared(*extras: str) -> set[str]:
    """The normalised names pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [w for e in extras for w in project["optional-dependencies"][e]]
    return {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower() for name in wanted}


def test_no_registry_host() -> None:
    # Vendored scripts may name their origin in their own licence comment.
    assert matches(REGISTRY_HOST, skip=("web/static/",)) == []


@pytest.mark.parametrize(
    "text",
    [
        "https://pypi.org/simple",
        "--index-url http://mirror.example/simple",
        "https://registry.npmjs.org/htmx",
        "https://files.pythonhosted.org/packages/a.whl",
        "http://nexus.intern:8081/repository",
    ],
)
def test_a_registry_host_would_be_seen(text: str) -> None:
    assert REGISTRY_HOST.search(text)


def test_no_path_of_one_machine() -> None:
    assert matches(HOME_DIRECTORY) == []
    assert matches(re.compile(rf"(?<![\w.~-]){re.escape(str(ROOT))}(?![\w-])")) == []


@pytest.mark.parametrize("text", ["see /home/li/dutyline", '"/root/x"', "=/Users/wang/src"])
def test_a_path_of_one_machine_would_be_seen(text: str) -> None:
    assert HOME_DIRECTORY.search(text)


def test_every_module_says_why_it_exists() -> None:
    assert [str(path) for path, tree in trees(*PACKAGES) if not ast.get_docstring(tree)] == []


def test_no_relative_import() -> None:
    relative = [
        f"{path}:{node.lineno}"
        for path, tree in trees(*PACKAGES, "tests", "scripts")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_decisions_are_numbered_without_gaps() -> None:
    records = sorted(path.name for path in tracked() if path.parent == Path("docs/decisions"))
    assert [name for name in records if not re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", name)] == []
    assert [int(name[:4]) for name in records] == list(range(1, len(records) + 1))
    titles = {name: (ROOT / "docs/decisions" / name).read_text(encoding="utf-8") for name in records}
    assert [name for name, text in titles.items() if not text.startswith(f"# {int(name[:4])}. ")] == []


@pytest.mark.parametrize("readme", ["README.md", "README.zh.md"])
def test_readme_says_how_to_run_and_test(readme: str) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    assert "make run" in text
    assert "make test" in text


def test_every_make_target_is_explained_and_listed() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split())
    explained = set(re.findall(r"^([a-z]+):.*## \S", makefile, re.MULTILINE))
    assert explained == phony
    shown = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=30).stdout
    assert set(re.findall(r"^  make (\w+)", shown, re.MULTILINE)) == phony


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_origin(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    requirements = text.replace("\\\n", " ").splitlines()
    assert requirements
    line = re.compile(r"[\w.-]+==\S+( ;[^#@]+?)?(\s+--hash=sha256:[0-9a-f]{64})+")
    assert [entry for entry in requirements if not line.fullmatch(entry)] == []


def test_locks_hold_what_is_declared_and_agree() -> None:
    build, runtime, dev = (pins(lock) for lock in LOCKS)
    assert declared("postgres") <= set(runtime)
    assert declared("postgres", "peers", "dev") <= set(dev)
    assert runtime.items() <= dev.items()
    assert {name: pin for name, pin in build.items() if dev.get(name, pin) != pin} == {}


def test_scripts_can_be_run_and_parse() -> None:
    scripts = [ROOT / path for path in tracked() if path.suffix == ".sh" or path == Path(".ci/run")]
    assert scripts
    assert [script.name for script in scripts if not script.stat().st_mode & 0o100] == []
    for script in scripts:
        shell = "bash" if script.name == "run" else "sh"
        subprocess.run([shell, "-n", str(script)], check=True, timeout=10)


def test_notable_changes_are_kept() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
