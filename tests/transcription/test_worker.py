"""The foreman and his workers over real rows and a real model: in order, several at once, interrupted, and at fault."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from duty.domain.calls import RecordingFacts
from duty.services.recordings import Urgency
from duty.services.words import Words
from duty.store.tables import RecordingRow
from tests.duty.conftest import hurried
from tests.duty.room import Room
from tests.transcription.telephone import write_stereo
from transcription.engine import Capabilities, Heard, Piece, Samples, unheard
from transcription.enginehouse import EngineHouse, Share
from transcription.errors import EngineError
from transcription.lexicon import Lexicon
from transcription.pieces import Memory
from transcription.secrecy import load_secret_words
from transcription.vocabulary import Vocabulary
from transcription.worker import Foreman, Worker


class SlowEngine:
    """Hears a tenth at a time, each when it is let, and counts how many it hears at once; the faults of engines cannot
    be had from real ones at will."""

    name, model_sha256 = "slow", "ee" * 32
    settings: ClassVar[dict[str, str]] = {}
    capabilities = Capabilities(
        streaming=False, sample_rates=(8000,), languages=("zh",), word_times=False, phrase_bias=False
    )

    def __init__(self, model: str = "slow") -> None:
        self.model = model
        self.go = threading.Event()
        self.fault: Exception | None = None
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def transcribe(
        self, samples: Samples, sample_rate_hz: int, *, phrases: Sequence[str] = (), heard: Heard = unheard
    ) -> list[Piece]:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            while not self.go.wait(0.02):
                heard(len(samples) // 2)
            if self.fault is not None:
                raise self.fault
            return [Piece(start_s=0.0, end_s=1.0, text="北书店街着火了", confidence=0.9)]
        finally:
            with self._lock:
                self.at_once -= 1


class Works:
    """A room, recordings of its calls, and a foreman over them."""

    def __init__(self, room: Room, root: Path, lexicon: Lexicon, *, parallel: int) -> None:
        self.room, self.root = room, root
        self.engine = SlowEngine()
        self.missing: list[str] = []
        self.models: list[str] = []
        self.house = EngineHouse(
            models=root / "models",
            wanted="auto",
            share=Share(threads=1, parallel=parallel),
            missing=self.missing.append,
            changed=lambda models, current: self.models.append(current.name if current else ""),
            loader=lambda model, share: self.engine,
        )
        self.install()
        vocabulary = Vocabulary(Words(room.store, room.clock), lexicon)
        secrets = load_secret_words()
        worker = Worker(
            recordings=room.recordings,
            house=self.house,
            memory=Memory(),
            root=root,
            vocabulary=vocabulary,
            secrets=secrets,
        )
        self._sounds = count(1)
        self.stop = threading.Event()
        self.foreman = Foreman(worker=worker, recordings=room.recordings, house=self.house, parallel=parallel)
        self.thread = threading.Thread(target=self.foreman.run, args=(self.stop,))

    def install(self) -> None:
        """A folder that is told to hold a Chinese model."""
        folder = self.root / "models" / "slow"
        folder.mkdir(parents=True)
        manifest = {"engine": "vosk", "language": "zh", "sha256": "ee" * 32, "size_bytes": 0, "known": False}
        (folder / "manifest.json").write_text(json.dumps({**manifest, "files": {}}), encoding="utf-8")

    def recording(self, caller: Samples | None = None, officer: Samples | None = None, **row: object) -> str:
        """Each has a sound of its own: what was heard once is remembered."""
        call_id = self.room.answered_call()
        sounds = (np.full(800, next(self._sounds), np.int16) if side is None else side for side in (caller, officer))
        path = write_stereo(self.root / f"{call_id}.wav", *sounds)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        facts = RecordingFacts(call_id=call_id, path=path.name, sha256=sha256, seconds=0.1, samples=800)
        self.room.recordings.seal(facts)
        with self.room.store.writing() as session:
            for name, value in row.items():
                setattr(session.get_one(RecordingRow, call_id), name, value)
        return call_id

    def row(self, call_id: str) -> RecordingRow:
        with self.room.store.reading() as session:
            return session.get_one(RecordingRow, call_id)

    def wait(self, done: Callable[[], bool], what: str, seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, what
            time.sleep(0.02)

    def end(self) -> None:
        self.stop.set()
        if self.thread.is_alive():
            self.thread.join(10)


@pytest.fixture
def open_works(sqlite_template: Path, tmp_path: Path, lexicon: Lexicon) -> Iterator[Callable[[int], Works]]:
    shutil.copy(sqlite_template, tmp_path / "dutyline.db")
    opened: list[Works] = []
    with closing(hurried(f"sqlite:///{tmp_path / 'dutyline.db'}")) as store:

        def new(parallel: int) -> Works:
            opened.append(Works(Room(store), tmp_path, lexicon, parallel=parallel))
            return opened[-1]

        yield new
        for works in opened:
            works.end()


def test_so_many_are_heard_at_once_and_no_more(open_works: Callable[[int], Works]) -> None:
    works = open_works(4)
    calls = [works.recording() for _ in range(7)]
    works.thread.start()
    works.wait(lambda: works.engine.at_once == 4, "four are not heard at once")
    time.sleep(0.5)
    assert works.engine.most_at_once == 4
    assert sorted(works.row(call).state for call in calls) == ["running"] * 4 + ["waiting"] * 3
    works.engine.go.set()
    works.wait(lambda: all(works.row(call).state == "done" for call in calls), "not all are done")
    assert works.engine.most_at_once == 4


def test_a_stop_gives_back_what_is_being_heard_uncounted(open_works: Callable[[int], Works]) -> None:
    works = open_works(2)
    calls = [works.recording() for _ in range(2)]
    works.thread.start()
    works.wait(lambda: works.engine.at_once == 2, "they are not begun")
    works.end()
    assert not works.thread.is_alive()
    assert [(works.row(call).state, works.row(call).attempts) for call in calls] == [("waiting", 0)] * 2


def test_a_long_import_makes_way_for_a_call(
    open_works: Callable[[int], Works], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transcription.worker.RENEW_S", 0.1)
    works = open_works(1)
    imported = works.recording(urgency=Urgency.IMPORT)
    works.thread.start()
    works.wait(lambda: works.row(imported).state == "running", "it is not begun")
    call = works.recording()
    time.sleep(0.3)
    assert works.row(imported).state == "running"
    works.room.clock.turn(seconds=2)
    works.wait(lambda: works.row(call).state == "running", "the call waits for the import")
    assert (works.row(imported).state, works.row(imported).attempts) == ("waiting", 0)
    works.engine.go.set()
    works.wait(lambda: works.row(imported).state == "done", "the import is forgotten")
    assert works.row(call).state == "done"


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        (EngineError("语音识别失败"), "waiting", "语音识别失败"),
        (MemoryError(), "waiting", "内存不足"),
        (ZeroDivisionError(), "waiting", "程序出错"),
    ],
)
def test_a_fault_is_told_in_the_row_and_the_next_recording_goes_on(
    open_works: Callable[[int], Works], fault: Exception, state: str, reason: str
) -> None:
    works = open_works(1)
    poison = works.recording()
    works.engine.fault = fault
    works.engine.go.set()
    works.thread.start()
    works.wait(lambda: reason in works.row(poison).last_error, "the reason is not told")
    row = works.row(poison)
    assert (row.state, row.attempts) == (state, 1)
    assert row.due_at is not None
    assert row.due_at > works.room.clock()
    works.engine.fault = None
    good = works.recording()
    works.wait(lambda: works.row(good).state == "done", "a poison recording holds up the others")


def test_a_file_that_is_not_the_sealed_one_is_set_aside(open_works: Callable[[int], Works]) -> None:
    works = open_works(1)
    altered, gone = works.recording(), works.recording()
    (works.root / f"{gone}.wav").unlink()
    with (works.root / f"{altered}.wav").open("ab") as file:
        file.write(b"more")
    works.engine.go.set()
    works.thread.start()
    works.wait(lambda: works.row(gone).state == works.row(altered).state == "set_aside", "they are not set aside")
    assert "校验值" in works.row(altered).last_error
    assert "无法读取" in works.row(gone).last_error


def test_a_model_that_is_asked_for_and_gone_sets_aside(open_works: Callable[[int], Works]) -> None:
    works = open_works(1)
    call = works.recording(wanted_model="no-such")
    works.engine.go.set()
    works.thread.start()
    works.wait(lambda: works.row(call).state == "set_aside", "it is not set aside")
    assert "no-such" in works.row(call).last_error


def test_without_a_model_recordings_wait_and_are_heard_when_one_comes(
    open_works: Callable[[int], Works], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transcription.enginehouse.LOOK_S", 0.05)
    monkeypatch.setattr("transcription.worker.NO_MODEL_S", 0.05)
    works = open_works(1)
    shutil.rmtree(works.root / "models")
    works.engine.go.set()
    call = works.recording()
    works.thread.start()
    works.wait(lambda: bool(works.missing), "nobody is told")
    assert (works.row(call).state, works.row(call).attempts) == ("waiting", 0)
    works.install()
    works.wait(lambda: works.row(call).state == "done", "it waits for ever")
    assert [bool(reason) for reason in works.missing] == [True, False]
    assert works.models == ["", "slow"]
