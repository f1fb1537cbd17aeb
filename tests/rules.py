"""Ties tests to the rows of the requirement table, so that what is proven can be printed instead of claimed.

A pytest plugin (``-p tests.rules``). A test names the rows it proves with ``@pytest.mark.rule("6.1-e")``; an
id that is not in ``docs/requirements.tsv`` ends the run with an error. ``--rules`` prints the table after the
run and closes with ``rules proven: N of M``. A row is proven when it has tests and every one of them ran and
passed: one that failed, was skipped, expected to fail or deselected leaves its row unproven.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

TABLE = Path(__file__).resolve().parent.parent / "docs" / "requirements.tsv"
"""Tab-separated, with a header: id (the regulation's own numbering), rule, what the software does."""

_ID = re.compile(r"[0-9]+(\.[0-9]+)?-[a-z]")


class TableError(Exception):
    """The requirement table itself is broken: our fault, not that of a test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the requirement table."""

    id: str
    rule: str
    software: str


def read_table(path: Path) -> dict[str, Rule]:
    """The rows by id, in the file's order.

    Raises TableError for a row without all its columns, an id of another form or given twice, and for an
    empty table.
    """
    rules: dict[str, Rule] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        for number, row in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), start=1):
            if number == 1:
                if row != ["id", "rule", "software"]:
                    raise TableError(f"{path.name}:1: the columns are id, rule, software, not {row}")
                continue
            if len(row) != 3 or not all(row) or not _ID.fullmatch(row[0]) or row[0] in rules:
                raise TableError(f"{path.name}:{number}: incomplete, misnumbered or repeated row {row}")
            rules[row[0]] = Rule(id=row[0], rule=row[1], software=row[2])
    if not rules:
        raise TableError(f"{path.name}: no row")
    return rules


def outcome_of(report: pytest.TestReport) -> str | None:
    """What a phase of a test says about it: None for a phase that merely went well around the test's own."""
    if hasattr(report, "wasxfail"):
        return "expected to fail"
    if report.outcome != "passed":
        return report.outcome
    return "passed" if report.when == "call" else None


@dataclass(slots=True, kw_only=True)
class Proofs:
    """Which tests stand for which row, and what became of each in this run."""

    rules: dict[str, Rule]
    claims: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    outcomes: dict[str, str] = field(default_factory=dict)

    def claim(self, rule_id: str, test: str) -> None:
        """Note that the test (a pytest node id) claims to prove the row."""
        if test not in self.claims[rule_id]:
            self.claims[rule_id].append(test)

    def note(self, test: str, outcome: str) -> None:
        """Keep the test's outcome; a later phase can spoil a pass, never mend a failure."""
        if self.outcomes.get(test, "passed") == "passed":
            self.outcomes[test] = outcome

    def outcome(self, test: str) -> str:
        return self.outcomes.get(test, "not run")

    def proven(self, rule_id: str) -> bool:
        tests = self.claims.get(rule_id, [])
        return bool(tests) and all(self.outcome(test) == "passed" for test in tests)

    def closing_line(self) -> str:
        return f"rules proven: {sum(map(self.proven, self.rules))} of {len(self.rules)}"

    def table(self) -> list[str]:
        """The lines to print: each row with its mark, below it its test functions and what became of them."""
        lines: list[str] = []
        for rule in self.rules.values():
            lines.append(f"{self._mark(rule.id)} {rule.id:<6} {rule.rule}")
            cases: dict[str, Counter[str]] = defaultdict(Counter)
            for test in self.claims.get(rule.id, []):
                cases[test.partition("[")[0]][self.outcome(test)] += 1
            lines.extend(f"             {name}{_tally(counts)}" for name, counts in cases.items())
        return lines

    def _mark(self, rule_id: str) -> str:
        if self.proven(rule_id):
            return "proven"
        return "broken" if self.claims.get(rule_id) else "   -  "


def _tally(counts: Counter[str]) -> str:
    """`` (3 passed, 1 skipped)``; nothing for a single test that passed."""
    if counts == {"passed": 1}:
        return ""
    return " (" + ", ".join(f"{number} {outcome}" for outcome, number in counts.items()) + ")"


def named_ids(item: pytest.Item) -> list[str]:
    """The ids in the test's rule markers, its class's and its module's.

    Raises pytest.UsageError for a marker that holds anything but ids.
    """
    ids: list[str] = []
    for marker in item.iter_markers("rule"):
        if marker.kwargs or not marker.args or not all(isinstance(arg, str) for arg in marker.args):
            raise pytest.UsageError(f'{item.nodeid}: write the rule marker as rule("6.1-e"), not {marker}')
        ids.extend(marker.args)
    return ids


class RulesPlugin:
    """Collects claims and outcomes from pytest's hooks and prints them if asked."""

    def __init__(self, config: pytest.Config, rules: dict[str, Rule]) -> None:
        self.proofs = Proofs(rules=rules)
        self.asked = bool(config.getoption("--rules"))

    @pytest.hookimpl(tryfirst=True)  # before -m and -k deselect: a test that was left out must not look proven
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        unknown: list[str] = []
        for item in items:
            for rule_id in named_ids(item):
                if rule_id in self.proofs.rules:
                    self.proofs.claim(rule_id, item.nodeid)
                else:
                    unknown.append(f"{item.nodeid}: no rule {rule_id!r} in docs/{TABLE.name}")
        if unknown:
            raise pytest.UsageError("\n".join(unknown))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcome = outcome_of(report)
        if outcome is not None:
            self.proofs.note(report.nodeid, outcome)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.asked:
            terminalreporter.section("requirements")
            for line in self.proofs.table():
                terminalreporter.write_line(line)

    # pytest prints its own closing line after the summary; ours has to be the very last.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        yield
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if self.asked and reporter is not None:
            reporter.write_line(self.proofs.closing_line())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rules", action="store_true", help="print the requirement table with the tests that prove each row"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule(id, ...): the rows of docs/requirements.tsv that this test proves")
    try:
        rules = read_table(TABLE)
    except (OSError, TableError) as error:
        raise pytest.UsageError(f"requirement table: {error}") from error
    config.pluginmanager.register(RulesPlugin(config, rules), "duty-rules")
