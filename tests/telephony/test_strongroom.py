"""Calls under secrecy and their files: sealed and proven before the plain ones go, killed at every step, looked after
by the keeper like any other recording, and worth nothing to a thief (requirement 6.5-a)."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from config.settings import Settings
from duty.domain.custody import CustodyAct
from duty.domain.errors import Refused
from duty.domain.rights import Actor, Role
from duty.domain.secrecy import SecrecySource
from duty.domain.times import utc_now
from duty.services.custody_acts import CustodyActs, Retention
from duty.services.sealingacts import SealingActs
from duty.services.secrecy import Secrecy
from duty.store.database import Store
from duty.store.tables import RecordingRow, SecrecyRow
from duty.vault.errors import NoMasterKey, NotAuthentic
from duty.vault.files import OpenedFile, sealed_path
from duty.vault.format import context_of
from duty.vault.keyfile import MasterKeys, create_ring
from duty.vault.keys import KeyRing, new_master_key
from duty.verifier import verify
from duty.verifier.secrets import read_master_keys
from telephony.custody import survey
from telephony.strongroom import Strongroom
from tests.telephony.test_custody import Shelf, flip, template

__all__ = ["template"]
pytestmark = pytest.mark.rule("6.5-a")
PLAIN = ["caller.alaw", "events.jsonl", "officer.alaw", "peaks.json", "recording.wav"]


class Sealed(Shelf):
    """A shelf with a key file outside of it."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.keys = MasterKeys(folder.with_name(f"{folder.name}.key"))
        super().__init__(folder, store)
        self.secrecy = Secrecy(store, utc_now, self.keys, opening=timedelta(minutes=30))
        self.strongroom = Strongroom(self.root, store, SealingActs(store, utc_now, self.keys))

    def settings(self, **own: float) -> Settings:
        base = super().settings(**own)
        secrecy = base.secrecy.model_copy(update={"key_file": self.keys.path})
        return base.model_copy(update={"secrecy": secrecy})

    def make_key(self) -> None:
        assert self.keys.path is not None
        create_ring(self.keys.path, KeyRing(keys=(new_master_key(),)))

    def state(self, directory: Path) -> str:
        with self.store.reading() as session:
            return session.get_one(SecrecyRow, directory.name).state

    def opened(self, directory: Path, name: str) -> bytes:
        key = SealingActs(self.store, utc_now, self.keys).key(directory.name).data_key
        return OpenedFile(sealed_path(directory, name), data_key=key, context=context_of(directory.name, name)).read()


@pytest.fixture
def shelf(template: Path, tmp_path: Path) -> Iterator[Sealed]:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(template, folder / "dutyline.db")
    with closing(Store(f"sqlite:///{folder / 'dutyline.db'}")) as store:
        made = Sealed(folder, store)
        made.make_key()
        yield made
        made.keeper.close()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def contents(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in PLAIN}


def leader(shelf: Sealed) -> Actor:
    return shelf.room.person(Role.LEADER)


def test_a_flagged_recording_is_sealed_whole_and_comes_back_byte_for_byte(shelf: Sealed) -> None:
    directory, other = shelf.recording(), shelf.recording()
    before = contents(directory)
    shelf.secrecy.suspect(directory.name, SecrecySource.CAPTIONS)
    shelf.run()
    assert shelf.state(directory) == "sealed"
    assert names(directory) == sorted([*(f"{name}.sealed" for name in PLAIN), "sealed.json", "secrecy.json"])
    assert {name: shelf.opened(directory, name) for name in PLAIN} == before
    assert contents(other).keys() == set(PLAIN), "another call's files are left alone"
    assert (shelf.open(), shelf.alarms("recording_differs")) == ([], [])
    assert shelf.row(directory).verified_at is not None
    assert survey(shelf.settings(), shelf.store, deep=True, heard=lambda _: None) == []
    assert shelf.keys.path is not None
    master = read_master_keys(shelf.keys.path)
    for keys, opened in (({}, 0), (master, 5), ({name: bytes(32) for name in master}, 0)):
        told = verify(shelf.store.url, shelf.root, keys=keys).recordings
        assert told.sealed_opened == opened
        assert (told.broken is None) is (keys != {name: bytes(32) for name in master})
    assert shelf.events(directory)[-2:] == ["secrecy_marked", "secrecy_sealed"]
    person = leader(shelf)
    shelf.secrecy.lift(person, directory.name, reason="误报，属普通通知")
    shelf.run()
    assert contents(directory) == before
    assert names(directory) == sorted([*PLAIN, "sealed.json"])
    assert shelf.open() == []
    assert survey(shelf.settings(), shelf.store, deep=True, heard=lambda _: None) == []
    assert verify(shelf.store.url, shelf.root).first_broken is None


def test_a_thief_of_database_and_recordings_has_nothing(shelf: Sealed, tmp_path: Path) -> None:
    directory = shelf.recording()
    before = contents(directory)
    shelf.secrecy.suspect(directory.name, SecrecySource.CAPTIONS)
    shelf.run()
    loot = tmp_path / "loot"
    shutil.copytree(shelf.folder, loot)
    stolen = b"".join(path.read_bytes() for path in sorted(loot.rglob("*")) if path.is_file())
    for name, content in before.items():
        for at in range(0, len(content) - 64, 4096):
            assert content[at : at + 64] not in stolen or len(set(content[at : at + 64])) < 8, (name, at)
    assert shelf.keys.ring().current.secret not in stolen
    other = tmp_path / "other.key"
    create_ring(other, KeyRing(keys=(new_master_key(),)))
    with closing(Store(f"sqlite:///{loot / 'dutyline.db'}")) as store:
        for keys in (MasterKeys(None), MasterKeys(other)):
            with pytest.raises(NoMasterKey):
                SealingActs(store, utc_now, keys).key(directory.name)
    with pytest.raises(NotAuthentic):
        OpenedFile(
            sealed_path(directory, "recording.wav"),
            data_key=bytes(32),
            context=context_of(directory.name, "recording.wav"),
        ).read()


FAULTS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "a sealed file is gone": (lambda at: (at / "recording.wav.sealed").unlink(), ["file_missing"]),
    "one is cut": (lambda at: os.truncate(at / "caller.alaw.sealed", 900), ["file_altered", "file_length"]),
    "one bit of one": (lambda at: flip(at / "recording.wav.sealed", 60_000), ["file_altered"]),
    "a plain one is back": (lambda at: (at / "recording.wav").write_bytes(b"RIFF"), ["locked_in_clear"]),
}


@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_done_to_sealed_files_is_found_without_a_key(shelf: Sealed, fault: str) -> None:
    directory = shelf.recording()
    shelf.secrecy.suspect(directory.name, SecrecySource.CAPTIONS)
    shelf.run()
    assert shelf.keys.path is not None
    shelf.keys.path.unlink()
    harm, kinds = FAULTS[fault]
    harm(directory)
    found = sorted({each.kind.value for each in survey(shelf.settings(), shelf.store, deep=True, heard=lambda _: None)})
    assert found == kinds
    broken = verify(shelf.store.url, shelf.root).first_broken
    assert broken is None if kinds == ["locked_in_clear"] else broken is not None
    shelf.keeper.reconcile()
    assert shelf.open() == [kind for kind in kinds if kind != "file_altered"]
    assert [alarm.cleared_at for alarm in shelf.alarms("recording_differs")] == [None] * len(shelf.open())


@pytest.mark.rule("6.2-c")
def test_what_is_under_secrecy_is_neither_archived_nor_released_and_goes_after_its_retention(shelf: Sealed) -> None:
    directory = shelf.recording(ago=timedelta(days=500))
    shelf.secrecy.suspect(directory.name, SecrecySource.CAPTIONS)
    with shelf.store.writing() as session:
        session.get_one(RecordingRow, directory.name).sealed_at = utc_now() - timedelta(days=499)
    keeper = shelf.kept(archive_after_days=1, release_wav_after_days=1)
    shelf.run(keeper)
    keeper.close()
    assert "recording.wav.sealed" in names(directory)
    assert shelf.row(directory).archive_path == ""
    acts = CustodyActs(shelf.store, utc_now, Retention(general=timedelta(days=400), by_unit={}))
    for act in (CustodyAct.RELEASE_RAW, CustodyAct.RELEASE_WAV):
        assert list(acts.candidates(act, sealed_before=utc_now(), tried_before=utc_now())) == []
        with pytest.raises(Refused, match="under_secrecy"):
            acts.perform(act, directory.name, reason="free_mb")
    acts.perform(CustodyAct.REMOVE, directory.name, reason="free_mb")
    shelf.keeper.reconcile()
    assert names(directory) == ["sealed.json"]


def test_without_a_key_it_waits_and_is_sealed_as_soon_as_there_is_one(shelf: Sealed) -> None:
    assert shelf.keys.path is not None
    shelf.keys.path.rename(shelf.keys.path.with_suffix(".away"))
    directory = shelf.recording()
    shelf.secrecy.suspect(directory.name, SecrecySource.CAPTIONS)
    shelf.run()
    assert shelf.state(directory) == "flagged"
    assert (directory / "recording.wav").exists()
    [alarm] = shelf.alarms("secrecy_no_key")
    assert alarm.cleared_at is None
    shelf.make_key()
    shelf.run()
    assert shelf.state(directory) == "sealed"
    [alarm] = shelf.alarms("secrecy_no_key")
    assert alarm.cleared_at is not None


def test_a_file_that_no_database_can_open_any_more_is_never_thrown_away(shelf: Sealed) -> None:
    """The database was restored from before the flag: what is sealed is all there is."""
    directory = shelf.recording()
    kept = shelf.folder / "before.db"
    shelf.store.scrub()
    shutil.copy(shelf.folder / "dutyline.db", kept)
    shelf.secrecy.suspect(directory.name, SecrecySource.CAPTIONS)
    shelf.run()
    left = {path.name: path.read_bytes() for path in directory.iterdir()}
    with closing(Store(f"sqlite:///{kept}")) as store:
        Secrecy(store, utc_now, shelf.keys, opening=timedelta(1)).suspect(directory.name, SecrecySource.CAPTIONS)
        strongroom = Strongroom(shelf.root, store, SealingActs(store, utc_now, shelf.keys))
        for _ in range(3):
            strongroom.step()
        with store.reading() as session:
            assert session.get_one(SecrecyRow, directory.name).state == "sealing"
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == left


# Killed at every step


class Killer:
    """Ends this process by SIGKILL at the ``at``-th thing done to the disk or the database."""

    def __init__(self, at: int) -> None:
        self._left = at

    def tick(self, *_: object) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, module: Any, name: str) -> None:
        real = getattr(module, name)

        def watched(*args: Any, **options: Any) -> Any:
            self.tick()
            done = real(*args, **options)
            self.tick()
            return done

        setattr(module, name, watched)


def killed_at(at: int, folder: Path, keys: MasterKeys) -> bool:
    """Strongroom work in a process of its own that is killed at step ``at``; False where it came to its end first."""
    child = os.fork()
    if child == 0:
        try:
            store = Store(f"sqlite:///{folder / 'dutyline.db'}")
            killer = Killer(at)
            for name in ("fsync", "replace", "rename", "unlink"):
                killer.around(os, name)
            event.listen(store.engine, "commit", killer.tick)
            strongroom = Strongroom(folder / "recordings", store, SealingActs(store, utc_now, keys))
            while strongroom.step():
                pass
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def whole(shelf: Sealed, directory: Path, before: dict[str, bytes]) -> None:
    """Either everything plain, or everything sealed and proven."""
    if shelf.state(directory) in ("flagged", "sealing"):
        assert contents(directory) == before
    elif shelf.state(directory) in ("wiping", "sealed"):
        assert {name: shelf.opened(directory, name) for name in PLAIN} == before
    else:
        there = {}
        for name in PLAIN:
            plain = directory / name
            there[name] = plain.read_bytes() if plain.exists() else shelf.opened(directory, name)
        assert there == before


@pytest.mark.parametrize("way", ["sealing", "lifting"])
@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_killed_at_any_step_nothing_is_lost_and_the_next_one_finishes(
    template: Path, tmp_path: Path, way: str, stride: int
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    shutil.copy(template, base / "dutyline.db")
    with closing(Store(f"sqlite:///{base / 'dutyline.db'}")) as store:
        first = Sealed(base, store)
        first.make_key()
        directory = first.recording()
        before = contents(directory)
        first.secrecy.suspect(directory.name, SecrecySource.CAPTIONS)
        if way == "lifting":
            first.run()
            first.secrecy.lift(leader(first), directory.name, reason="误报，属普通通知")
        first.keeper.close()
        store.scrub()
    place = directory.relative_to(base)
    kills = 0
    for at in range(1, 400, stride):
        folder = tmp_path / f"at{at}"
        shutil.copytree(base, folder)
        if not killed_at(at, folder, first.keys):
            break
        kills += 1
        with closing(Store(f"sqlite:///{folder / 'dutyline.db'}")) as store:
            again = object.__new__(Sealed)
            again.store, again.keys = store, first.keys
            whole(again, folder / place, before)
            strongroom = Strongroom(folder / "recordings", store, SealingActs(store, utc_now, first.keys))
            while strongroom.step():
                pass
            if way == "sealing":
                assert again.state(folder / place) == "sealed"
                assert {name: again.opened(folder / place, name) for name in PLAIN} == before
                assert not any((folder / place / name).exists() for name in PLAIN)
            else:
                assert again.state(folder / place) == "lifted"
                assert contents(folder / place) == before
                assert names(folder / place) == sorted([*PLAIN, "sealed.json"])
            assert not [name for name in names(folder / place) if name.startswith(".")]
        shutil.rmtree(folder)
    assert kills * stride > 40


@pytest.mark.rule("6.2-c")
def test_a_file_put_in_the_place_of_a_sealed_one_with_its_row_is_found_by_the_chain(shelf: Sealed) -> None:
    directory = shelf.recording()
    shelf.secrecy.suspect(directory.name, SecrecySource.CAPTIONS)
    shelf.run()
    flip(directory / "recording.wav.sealed", 60_000)
    sha256 = hashlib.sha256((directory / "recording.wav.sealed").read_bytes()).hexdigest()
    with shelf.store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE sealed_files SET sealed_sha256 = ? WHERE name = 'recording.wav'", (sha256,))
    broken = verify(shelf.store.url, shelf.root).first_broken
    assert broken is not None
    assert (broken.what, broken.call) == ("custody_row_differs", directory.name)
