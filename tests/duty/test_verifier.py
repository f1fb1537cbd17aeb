"""The independent verifier: a true book is clean, every falsified one is caught at the link that was touched."""

from __future__ import annotations

import ast
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

import duty.verifier
from duty.domain.chain import canonical
from duty.store.database import Store
from duty.verifier import CannotVerify, verify
from duty.verifier.canon import parsed, written
from duty.verifier.report import WORDS
from tests.duty.attacks import ATTACKS, Attack, Attacker, falsify_wav
from tests.duty.postgres import Cluster
from tests.duty.room import TOWN_LINE, Room, wav_facts

TRIALS = int(os.environ.get("DUTYLINE_TRIALS", "312"))
"""How many falsified books; `DUTYLINE_TRIALS=10000` for the long run."""


def furnish(store: Store, recordings: Path) -> Room:
    """A book with everything in it: calls with recordings, checks, amendments, voidings, drafts, two units."""
    room = Room(store)
    hub, town = room.person(), room.person(unit="BS")
    for turn in range(4):
        room.clock.turn(days=20)
        recorded = room.recorded_entry(hub, recordings)
        plain = room.finalized(hub, remarks=f"e\u0301 \U00020bb7 第{turn}条\n“引号”\\")
        room.logbook.amend(hub, recorded.id, {"place": f"更正{turn}"}, reason="笔误")
        room.recorded_entry(town, recordings, line=TOWN_LINE)
        theirs = room.finalized(town)
        room.logbook.amend(town, theirs.id, {"casualties": "1人轻伤"}, reason="续报")
        room.logbook.void(town, theirs.id, reason="重复登记")
        room.drafted(hub)
    room.logbook.amend(hub, recorded.id, {"place": "再更正", "request": "请支援"}, reason="续报")
    room.logbook.void(hub, plain.id, reason="重复登记")
    return room


@pytest.fixture(scope="module")
def sqlite_book(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A furnished SQLite book and its recordings; tests copy it."""
    folder = tmp_path_factory.mktemp("book")
    path, recordings = folder / "dutyline.db", folder / "recordings"
    shutil.copy(sqlite_template, path)
    with closing(Store(f"sqlite:///{path}")) as store:
        furnish(store, recordings)
        with store.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    return path, recordings


@pytest.fixture(scope="module")
def postgres_book(
    postgres: Cluster, postgres_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    """A furnished PostgreSQL book (the name of its database) and its recordings."""
    recordings = tmp_path_factory.mktemp("book") / "recordings"
    url = postgres.database(postgres_template)
    with closing(Store(url)) as store:
        furnish(store, recordings)
    yield url.rpartition("/")[2], recordings
    postgres.drop(url)


def attack(url: str, unit: str, recordings: Path, attack: Attack, dice: random.Random) -> int:
    """Runs one attack on the unit's book; returns the position that must be named."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            unit_id = connection.execute(text("SELECT id FROM units WHERE code = :c"), {"c": unit}).scalar_one()
            position = attack(Attacker(connection, unit_id, recordings, dice))
            connection.commit()
    finally:
        engine.dispose()
    return position


@pytest.mark.rule("6.2-c")
def test_a_true_book_is_clean_on_both_stores(store: Store, tmp_path: Path) -> None:
    room = furnish(store, tmp_path / "recordings")
    report = verify(store.url, tmp_path / "recordings")
    assert (report.first_broken, report.warnings) == (None, ())
    assert [(unit.code, unit.links, unit.entries) for unit in report.units] == [("LT", 14, 8), ("BS", 16, 8)]
    assert (report.links, report.entries) == (30, 16)
    again = verify(store.url, expected_head=report.heads)
    assert again.first_broken is None
    room.finalized(room.person())
    assert verify(store.url, expected_head=report.heads).first_broken is None, "a book that has grown is still true"


@pytest.mark.rule("6.2-c", "7.4-a")
def test_every_falsified_sqlite_book_is_caught_at_the_touched_link(
    sqlite_book: tuple[Path, Path], tmp_path: Path
) -> None:
    book, true_recordings = sqlite_book
    for trial in range(TRIALS):
        dice = random.Random(trial)
        falsify, unit = ATTACKS[trial % len(ATTACKS)], dice.choice(["LT", "BS"])
        path, recordings = tmp_path / "dutyline.db", true_recordings
        shutil.copy(book, path)
        if falsify is falsify_wav:
            recordings = Path(shutil.copytree(true_recordings, tmp_path / str(trial)))
        position = attack(f"sqlite:///{path}", unit, recordings, falsify, dice)
        broken = verify(str(path), recordings).first_broken
        named = broken and ("LT" if broken.unit == "ZZ" and unit == "LT" else broken.unit, broken.position)
        expected = ("ZZ" if falsify.__name__ == "rename_unit" and unit == "BS" else unit, position)
        assert named == expected, f"trial {trial}: {falsify.__name__} on {unit}: {broken}"
        assert broken is not None
        assert broken.what in WORDS
        path.unlink()
    assert verify(str(book), true_recordings).first_broken is None


@pytest.mark.peer
@pytest.mark.rule("6.2-c")
def test_every_falsified_postgresql_book_is_caught_at_the_touched_link(
    postgres: Cluster, postgres_book: tuple[str, Path], tmp_path: Path
) -> None:
    template, true_recordings = postgres_book
    for trial, falsify in enumerate(ATTACKS):
        dice = random.Random(trial)
        recordings = tmp_path / str(trial)
        shutil.copytree(true_recordings, recordings)
        url = postgres.database(template)
        position = attack(url, "LT", recordings, falsify, dice)
        broken = verify(url, recordings).first_broken
        assert broken is not None, falsify.__name__
        assert broken.position == position, f"{falsify.__name__}: {broken}"
        postgres.drop(url)


def _forget_the_end(attacker: Attacker) -> int:
    """Cuts off the last entry with its links, its rows and the head: nothing inside the database tells."""
    last = attacker.pick("finalize", after=attacker.links[-1]["position"] - 3)
    first = next(link for link in attacker.links if link["entry_id"] == last["entry_id"])
    gone = {link["entry_id"] for link in attacker.links if link["position"] >= first["position"]}
    assert len(gone) == 1
    attacker.run("DELETE FROM chain_links WHERE unit_id = :unit AND position >= :p", p=first["position"])
    for table, column in (("identity_checks", "entry_id"), ("amendments", "entry_id"), ("entries", "id")):
        attacker.run(f"DELETE FROM {table} WHERE {column} = :id", id=last["entry_id"])
    attacker.set_head(first["position"] - 1, first["previous"])
    return first["position"]


def _rewrite_history(attacker: Attacker) -> int:
    """Changes an entry and its link and hashes the whole rest again."""
    link = attacker.links[0]
    attacker.reforge(link, lambda record: record["content"].update(casualties="无人伤亡"))
    attacker.run("UPDATE entries SET casualties = '无人伤亡' WHERE id = :id", id=link["entry_id"])
    attacker.hash_again(1)
    return len(attacker.links)


@pytest.mark.rule("6.2-c")
@pytest.mark.parametrize(
    ("falsify", "what"), [(_forget_the_end, "anchor_missing"), (_rewrite_history, "anchor_differs")]
)
def test_an_anchor_kept_elsewhere_catches_what_the_database_cannot_tell(
    sqlite_book: tuple[Path, Path], tmp_path: Path, falsify: Attack, what: str
) -> None:
    path = Path(shutil.copy(sqlite_book[0], tmp_path / "dutyline.db"))
    anchor = verify(str(path)).heads
    position = attack(f"sqlite:///{path}", "BS", sqlite_book[1], falsify, random.Random(1))
    assert verify(str(path)).first_broken is None
    broken = verify(str(path), expected_head=anchor).first_broken
    assert broken is not None
    assert (broken.unit, broken.position, broken.what) == ("BS", position, what)


def test_a_unit_that_vanished_is_known_by_its_anchor(sqlite_book: tuple[Path, Path]) -> None:
    broken = verify(str(sqlite_book[0]), expected_head={"QS": (3, "a" * 64)}).first_broken
    assert broken is not None
    assert (broken.unit, broken.what) == ("QS", "anchor_missing")


def test_the_finding_names_the_entry(sqlite_book: tuple[Path, Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(sqlite_book[0], tmp_path / "dutyline.db"))

    def edit(attacker: Attacker) -> int:
        attacker.run("UPDATE entries SET event = '' WHERE number = 2 AND year = 2026 AND unit_id = :unit")
        return 0

    attack(f"sqlite:///{path}", "LT", sqlite_book[1], edit, random.Random(1))
    broken = verify(str(path)).first_broken
    assert broken is not None
    assert (broken.what, broken.entry_number) == ("entry_differs", "龙亭值〔2026〕2号")
    assert "event" in broken.explanation


@pytest.mark.rule("6.1-d")
def test_a_recording_sealed_after_finalizing_is_a_warning_not_a_break(room: Room, tmp_path: Path) -> None:
    officer = room.person()
    call_id = room.answered_call()
    room.recordings.none_made(call_id)
    entry = room.entry_of(call_id)
    version = room.logbook.edit(officer, entry.id, {"event": "打错", "category": "wrong_number"}, version=entry.version)
    room.logbook.finalize(officer, entry.id, version=version)
    assert verify(room.store.url, tmp_path).warnings == ()
    room.clock.turn(seconds=2)
    room.recordings.seal(wav_facts(tmp_path, call_id))
    report = verify(room.store.url, tmp_path)
    assert report.first_broken is None
    assert [(item.what, item.entry_number) for item in report.warnings] == [
        ("recording_after_finalize", "龙亭值〔2026〕1号")
    ]
    (tmp_path / call_id / "recording.wav").write_bytes(b"RIFF")
    assert (verify(room.store.url, tmp_path).first_broken or report.warnings[0]).what == "recording_altered"


def test_it_works_while_the_service_writes_and_writes_nothing(sqlite_book: tuple[Path, Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(sqlite_book[0], tmp_path / "dutyline.db"))
    with closing(Store(f"sqlite:///{path}")) as store:
        room = Room(store, provision=False)
        officer = room.person()
        with store.writing():
            assert verify(str(path)).first_broken is None
        room.finalized(officer)
        assert verify(str(path)).entries == 17, "what is in the write-ahead log counts"
        before = path.read_bytes()
        verify(str(path))
        assert path.read_bytes() == before


def test_a_copy_on_a_read_only_medium_can_be_verified(sqlite_book: tuple[Path, Path]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(sqlite_book[0], folder))
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        root = os.geteuid() == 0  # whom modes do not bind
        try:
            os.seteuid(65534 if root else os.geteuid())
            with pytest.raises(PermissionError):
                path.with_name("new").touch()
            report = verify(str(path))
        finally:
            os.seteuid(0 if root else os.geteuid())
            Path(folder).chmod(0o755)
    assert (report.links, report.first_broken) == (30, None)


@pytest.mark.parametrize("content", [b"", b"not a database" * 100, None])
def test_what_is_no_logbook_cannot_be_verified(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "some.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CannotVerify):
        verify(str(path))
    assert path.exists() is (content is not None)


@pytest.mark.peer
def test_an_unreachable_postgresql_cannot_be_verified(postgres: Cluster) -> None:
    with pytest.raises(CannotVerify):
        verify(postgres.url("nowhere"))


def test_it_shares_no_code_with_the_writer() -> None:
    allowed = set(sys.stdlib_module_names) | {"psycopg", "cryptography"}
    folder = Path(duty.verifier.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [node.module or ""]
            for name in names:
                assert name.startswith("duty.verifier") or name.split(".")[0] in allowed, f"{path.name}: {name}"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.rule("6.2-c")
@given(_JSON)
def test_both_canonical_forms_are_the_same(value: object) -> None:
    try:
        mine = canonical(value)
        mine.encode()
    except (ValueError, UnicodeEncodeError):
        return
    assert written(value) == mine
    assert json.loads(mine) == json.loads(written(json.loads(mine)))


@given(st.text(max_size=60) | _JSON.map(json.dumps))
def test_any_text_is_parsed_or_refused(payload: str) -> None:
    try:
        value = parsed(payload)
        written(value)
    except ValueError:
        return
    assert isinstance(value, dict)


@pytest.mark.parametrize(
    "payload", ['{"a":1,"a":2}', '{"a":1.0}', '{"a":NaN}', "[1]", "[" * 5000, '{"a":1e5}', "7" * 5000]
)
def test_what_has_no_one_form_is_refused(payload: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each is refused in words of its own
        parsed(payload)
