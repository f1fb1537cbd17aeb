"""Every text has its place in the catalogue, and the catalogue has every text."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from duty.domain.calls import CallEventKind, CallState, Direction, Outcome, Purpose
from duty.domain.chain import LinkKind
from duty.domain.custody import DifferenceKind
from duty.domain.drafts import FieldName, Source
from duty.domain.entries import Category, EntryContent, EntryState
from duty.domain.errors import DutyError, Forbidden, Refused
from duty.domain.handover import HandoverState
from duty.domain.happenings import AlarmKind, EventKind
from duty.domain.identity import Method, Verdict
from duty.domain.rights import Right, Role
from duty.domain.roster import Duty, FaultKind, Pattern
from duty.domain.transcripts import Speaker
from duty.domain.vocabulary import WordClass
from duty.domain.workdays import DayKind
from telephony.guard import Way
from telephony.sip.causes import of_status
from web import catalogue, errors, sse, words
from web.failures import message_of

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "web/templates").rglob("*.html"))
SOURCES = sorted((ROOT / "web").rglob("*.py"))
T = catalogue.load()
IDEOGRAPH = re.compile(r"[\u4e00-\u9fff]")


def keys_used() -> Iterator[tuple[str, str]]:
    """Keys written out whole in templates and sources."""
    for path in [*TEMPLATES, *SOURCES]:
        text = path.read_text("utf-8")
        for key in re.findall(r"""\bt\(\s*["']([a-z_.]+[a-z_])["']\s*[,)]""", text):
            yield path.name, key


def test_every_key_that_is_used_exists() -> None:
    used = list(keys_used())
    assert len(used) > 250
    assert [(name, key) for name, key in used if key not in T.texts] == []


@pytest.mark.parametrize(
    ("group", "values"),
    [
        ("outcome", Outcome),
        ("call_state", CallState),
        ("call_event", CallEventKind),
        ("direction", Direction),
        ("purpose", Purpose),
        ("state", EntryState),
        ("category", Category),
        ("method", Method),
        ("verdict", Verdict),
        ("link", LinkKind),
        ("alarm", AlarmKind),
        ("role", Role),
        ("right", Right),
        ("speaker", Speaker),
        ("source", Source),
        ("field", FieldName),
        ("way", Way),
        ("difference", DifferenceKind),
        ("difference_advice", DifferenceKind),
        ("word_class", WordClass),
        ("day_kind", DayKind),
        ("handover_state", HandoverState),
        ("roster_duty", Duty),
        ("roster_pattern", Pattern),
        ("roster_fault", FaultKind),
    ],
)
def test_every_value_that_is_shown_has_words(group: str, values: type[StrEnum]) -> None:
    assert {value.value for value in values} - set(T.under(group)) == set()


def test_fields_steps_and_states_that_are_no_enumeration_have_words() -> None:
    assert {*EntryContent().as_dict(), "caller"} <= set(T.under("field"))
    assert {words.confidence(value) for value in (0.0, 0.5, 0.8)} == set(T.under("confidence"))
    written = (ROOT / "duty/services/recordings.py").read_text("utf-8") + (
        ROOT / "duty/services/callpages.py"
    ).read_text("utf-8")
    states = set(re.findall(r'"(open|none|waiting|running|done|set_aside|kept)"', written))
    assert states <= set(T.under("recording"))
    stages = {"new", "taken"} | {state.value for state in CallState}
    assert stages <= set(T.under("call_back"))
    pages = (ROOT / "duty/services/callpages.py").read_text("utf-8")
    pending = set(re.findall(r'_PENDING, [^)]*kind="(\w+)"', pages))
    assert pending
    assert pending <= set(T.under("pending"))


Q850 = (
    1, 2, 3, 16, 17, 18, 19, 20, 21, 22, 25, 26, 27, 28, 29, 31, 34, 38, 41, 42, 44, 47, 50, 55, 57, 58, 63, 65, 69,
    79, 88, 102, 111, 127,
)  # fmt: skip
"""The causes of ITU-T Q.850 that carriers send, and those that we read into a SIP status."""


def test_every_cause_that_carriers_send_has_words() -> None:
    known = T.under("cause")
    assert {
        *map(str, Q850),
        *(str(of_status(status).code) for status in range(401, 607) if of_status(status).code),
    } <= {*known}
    assert {code: text for code, text in known.items() if not IDEOGRAPH.search(text)} == {}


def codes() -> set[str]:
    """Every code an error is raised with in duty and web, and each class's own."""
    found = set()
    for path in [*(ROOT / "duty").rglob("*.py"), *SOURCES]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and _is_error(node.func.id):
                found |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    for module in (errors,):
        found |= {kind.code for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, DutyError)}
    return {code for code in found if isinstance(code, str)}


def _is_error(name: str) -> bool:
    return isinstance(kind := getattr(errors, name, None), type) and issubclass(kind, DutyError)


def test_every_refusal_has_a_message() -> None:
    assert len(codes()) > 40
    assert {code for code in codes() if f"error.{code}" not in T.texts} == set()
    obstacles = ("entry_field_missing", "identity_unchecked", "recording_unsealed", "secrecy_unsealed")
    assert {f"obstacle.{name}" for name in obstacles} <= set(T.texts)


def test_a_refusal_names_fields_and_rights_in_words() -> None:
    assert message_of(T, Refused("entry_field_missing", field="place")) == "还不能定稿：请填写“事发地点”。"
    assert message_of(T, Forbidden("forbidden", right=Right.LISTEN)) == "您没有“听取录音”的权限。"
    assert message_of(T, Refused("nobody_foresaw_this")) == T("error.error")
    assert "—" in message_of(T, Refused("entry_field_missing")), "a missing detail costs no message"


def test_no_ideograph_outside_the_catalogue() -> None:
    scripts = [*(ROOT / "web/static").glob("*.css"), *(ROOT / "web/static/js").glob("*.js")]
    assert [path.name for path in [*TEMPLATES, *scripts] if IDEOGRAPH.search(path.read_text("utf-8"))] == []
    for path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        docs = {
            id(node.body[0].value)  # type: ignore[attr-defined]
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node)
        }
        said = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
        }
        # Names of fonts and the parts of a Chinese date are no sentences.
        left = {text for text in said if IDEOGRAPH.search(text) and path.name not in ("words.py", "pdf.py")}
        assert left == set(), path


def test_every_text_can_be_filled() -> None:
    for key, text in T.texts.items():
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        assert all(name.isidentifier() for name in names), key
        assert text.strip(), key


def test_every_event_kind_has_a_right() -> None:
    assert set(sse._NEEDS) == set(EventKind)


def test_an_unknown_key_is_our_own_fault() -> None:
    with pytest.raises(catalogue.UnknownText):
        T("no.such.key")
