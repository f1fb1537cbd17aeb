"""The requirement table's plugin: what it takes for proven, and what it refuses."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rules import TABLE, Proofs, Rule, TableError, read_table

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parent.parent
OUTCOMES = ["passed", "failed", "skipped", "expected to fail"]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs pytest in a process of its own over one test file with the plugin loaded, as the project does."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # other tools' plugins cost seconds per process

    def run_file(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-p", "tests.rules", "--strict-markers", *options, timeout=60)

    return run_file


def test_table_of_the_project_reads_whole() -> None:
    rules = read_table(TABLE)
    assert len(rules) == len(TABLE.read_text(encoding="utf-8").splitlines()) - 1
    assert "`**21*…#`" in rules["6.1-e"].software


@pytest.mark.parametrize(
    "rows",
    [
        "",
        "3-a\tonly a rule",
        "3-a\t\tsoftware",
        "3a\trule\tsoftware",
        "3-a\trule\tsoftware\n3-a\tagain\tsoftware",
        "3-a\trule\tsoftware\tmore",
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "table.tsv"
    path.write_text(f"id\trule\tsoftware\n{rows}\n" if rows else "id\trule\tsoftware\n", encoding="utf-8")
    with pytest.raises(TableError):
        read_table(path)


@given(st.lists(st.lists(st.sampled_from(OUTCOMES), max_size=3), max_size=4))
def test_proven_only_when_every_test_ran_and_passed(tests: list[list[str]]) -> None:
    proofs = Proofs(rules={"3-a": Rule(id="3-a", rule="r", software="s")})
    for number, phases in enumerate(tests):
        proofs.claim("3-a", f"t.py::test[{number}]")
        for phase in phases:
            proofs.note(f"t.py::test[{number}]", phase)
    expected = bool(tests) and all(phases and set(phases) == {"passed"} for phases in tests)
    assert proofs.proven("3-a") is expected
    assert proofs.closing_line() == f"rules proven: {int(expected)} of 1"


def test_table_is_printed_and_the_count_closes(run) -> None:
    result = run(
        """
        import pytest

        @pytest.mark.rule("3-a")
        @pytest.mark.parametrize("n", [1, 2])
        def test_cases(n): pass

        @pytest.mark.rule("3-b", "4-a")
        def test_two_rows(): pass

        @pytest.mark.rule("4-a")
        def test_left_out_of_the_machine(): pytest.skip("no machine")

        @pytest.mark.rule("4-b")
        @pytest.mark.xfail(reason="known")
        def test_known(): assert False
        """,
        "--rules",
    )
    lines = [line for line in result.outlines if line.strip()]
    assert lines[-1] == f"rules proven: 2 of {len(read_table(TABLE))}"
    result.stdout.fnmatch_lines(
        [
            "proven 3-a *",
            "*::test_cases (2 passed)",
            "proven 3-b *",
            "broken 4-a *",
            "*::test_left_out_of_the_machine (1 skipped)",
            "broken 4-b *",
            "*::test_known (1 expected to fail)",
            "   -   4-c *",
            "*3 passed*",
        ]
    )
    assert result.ret == pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("body", "fixture", "options"),
    [
        ("assert False", "yield", ()),
        ("pass", "yield; raise OSError('left open')", ()),
        ("pass", "raise OSError('no port')", ()),
        ("pass", "yield", ("-k", "test_other")),
    ],
    ids=["fails", "teardown fails", "setup fails", "deselected"],
)
def test_a_row_with_one_unsound_test_is_not_proven(run, body: str, fixture: str, options: tuple[str, ...]) -> None:
    result = run(
        f"""
        import pytest

        @pytest.fixture
        def around():
            {fixture}
            {"yield" if "yield" not in fixture else ""}

        @pytest.mark.rule("3-a")
        def test_one(around): {body}

        @pytest.mark.rule("3-a")
        def test_other(): pass
        """,
        "--rules",
        *options,
    )
    result.stdout.fnmatch_lines(["broken 3-a *", f"rules proven: 0 of {len(read_table(TABLE))}"])


def test_unasked_it_prints_nothing(run) -> None:
    result = run("def test_one(): pass")
    result.stdout.no_fnmatch_line("*rules proven*")


@pytest.mark.parametrize("marker", ['rule("6.1-z")', "rule", "rule()", "rule(6)", 'rule(id="3-a")'])
def test_a_marker_that_names_no_row_is_an_error(run, marker: str) -> None:
    result = run(
        f"""
        import pytest

        @pytest.mark.{marker}
        def test_one(): pass
        """
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = "\n".join(itertools.chain(result.outlines, result.errlines))
    assert "test_one" in said
    assert "INTERNALERROR" not in said
