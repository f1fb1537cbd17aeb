"""The keeper of the recordings as a process of its own: killed at any moment, and on a disk that is full."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from duty.domain.times import utc_now
from duty.domain.transcripts import Speaker
from duty.store.database import Store
from duty.store.tables import CallEventRow, RecordingRow
from duty.verifier import verify
from telephony.custody import survey
from telephony.recorder import Recorder
from telephony.rtp.g711 import Law
from telephony.sealing import salvage
from tests.telephony.test_custody import VOICE, Shelf, _age, shelf, template

__all__ = ["shelf", "template"]

_ROOT = Path(__file__).resolve().parents[2]


class KeeperProcess:
    """``dutyline process custody`` over a folder."""

    def __init__(self, folder: Path, **own: float) -> None:
        self._config = folder / "settings.toml"
        values = "\n".join(f"{name} = {value}" for name, value in own.items())
        self._config.write_text(
            f'[data]\ndir = "{folder}"\nlow_disk_mb = 500\n[recordings]\n{values}\n', encoding="utf-8"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dutyline", "process", "custody", "--config", str(self._config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=_ROOT,
            env=os.environ | {"PYTHONPATH": str(_ROOT)},
        )

    def kill(self) -> None:
        """SIGKILL, as the system does when memory is short."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("a disk of its own needs root")
    point = tmp_path / "disk"
    point.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(point)]
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def wait(done: Callable[[], bool], what: str, limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def _states(shelf: Shelf) -> list[tuple[bool, bool]]:
    with shelf.store.reading() as session:
        return [
            (bool(row.archive_path), row.wav_released_at is not None) for row in session.scalars(select(RecordingRow))
        ]


@pytest.mark.rule("6.2-c")
@pytest.mark.rule("6.1-d")
def test_killed_at_any_moment_every_recording_comes_to_the_same_end(shelf: Shelf) -> None:
    """Each is copied once, proven, and released once, whenever the keeper and its worker die."""
    for number in range(6):
        _age(shelf, shelf.recording(ago=timedelta(days=90 - number)), days=90 - number)
    keeper = KeeperProcess(
        shelf.folder, archive_after_days=1, release_wav_after_days=2, verify_mb_per_second=1000, free_mb=1
    )
    dice, kills = random.Random(20261125), 0
    end = time.monotonic() + 120
    while not all(released for _, released in _states(shelf)):
        assert time.monotonic() < end, _states(shelf)
        before = sum(map(sum, _states(shelf)))
        keeper.start()
        # Now and then before it has done anything, else at a random moment after its next act; so it comes forward.
        patience = 1.2 + dice.random() if kills % 3 == 0 else 10.0
        until = time.monotonic() + patience
        while sum(map(sum, _states(shelf))) == before and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(dice.random() * 0.1)
        keeper.kill()
        kills += 1
    assert kills >= 2
    shelf.keeper.reconcile()
    assert shelf.open() == []
    assert sorted(shelf.acts()) == ["archive"] * 6 + ["release_wav"] * 6
    assert survey(shelf.settings(), shelf.store, deep=True, heard=lambda _: None) == []
    assert verify(shelf.store.url, shelf.root).first_broken is None
    with shelf.store.reading() as session:
        told = session.scalars(select(CallEventRow.kind)).all()
    assert (told.count("archived"), told.count("wav_released")) == (6, 6)
    assert {path.name for path in shelf.root.rglob("*") if path.name.startswith(".")} <= _LEFT


_LEFT: set[str] = set()
"""Nothing half-made stays: what a killed worker left is cleared by the next."""


@pytest.mark.rule("6.4-a")
@pytest.mark.rule("6.1-d")
def test_on_a_full_disk_the_keeper_makes_room_and_the_running_call_loses_nothing(
    template: Path, small_disk: Path
) -> None:
    shutil.copy(template, small_disk / "dutyline.db")
    with closing(Store(f"sqlite:///{small_disk / 'dutyline.db'}")) as store:
        shelf = Shelf(small_disk, store)
        old = [shelf.recording(ago=timedelta(days=90 - number)) for number in range(10)]
        for number, directory in enumerate(old):
            _age(shelf, directory, days=90 - number)
        kept = [(path, path.read_bytes()) for directory in old for path in [directory / "recording.wav"]]
        recorder = Recorder(root=shelf.root, call_id="a" * 32, started_at=utc_now())
        recorder.tick(0.0)
        filler = small_disk / "filler"
        keeper = KeeperProcess(small_disk, archive_after_days=0, verify_mb_per_second=1000, free_mb=1)
        keeper.start()
        try:
            wait((small_disk / "run" / "ballast").exists, "no room is kept", 30)
            with filler.open("wb") as file:
                file.write(b"\0" * (shutil.disk_usage(small_disk).free - 40_000))
            for at in range(0, 30 * len(VOICE), 160):
                piece = VOICE[at % len(VOICE) :][:160]
                recorder.write(Speaker.CALLER, position=at, payload=piece, law=Law.PCMA)
                if at % 16_000 == 0:
                    recorder.tick(1.0 + at / 8000)
                    if shutil.disk_usage(small_disk).free < 20_000:
                        break
            wait(lambda: not (old[0] / "caller.alaw").exists(), "nothing was freed", 60)
            wait(lambda: shutil.disk_usage(small_disk).free >= 1_000_000, "too little was freed", 60)
        finally:
            keeper.kill()
        recorder.tick(10_000.0)
        assert recorder.disk_state().failing is None
        assert recorder.disk_state().lost_samples == 0
        filler.unlink()
        sealed = recorder.seal()
        assert sealed.damaged is None
        assert (sealed.directory / "caller.alaw").read_bytes() == (VOICE * 31)[: sealed.samples]
        assert salvage(sealed.directory) == sealed
        assert [(path, path.read_bytes()) for path, _ in kept] == kept, "no WAV went: none has a copy or is old enough"
        assert set(shelf.acts()) == {"release_raw"}
        shelf.keeper.close()
