"""What must be shown of sealed material (requirement 6.5-a): a real call over the real line, its live frames and its
recording heard by the real worker with an engine that says secret words, for no real one can be made to; and then a
hunt for the words and the voices in everything the service has written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from sqlalchemy import select

from config.settings import Settings
from duty.domain.errors import Forbidden
from duty.domain.rights import Actor, Role, roles_of
from duty.domain.times import utc_now
from duty.services.recordings import Recordings, Turn
from duty.services.secrecy import Secrecy
from duty.services.words import Words
from duty.store.database import Store
from duty.store.tables import AuditRow, EntryRow, EventRow, OfficerRow, RecordingRow, SecrecyRow
from duty.vault.errors import NoMasterKey
from duty.vault.files import OpenedFile, sealed_path
from duty.vault.format import context_of
from duty.vault.keyfile import MasterKeys, create_ring
from duty.vault.keys import KeyRing, new_master_key
from duty.verifier import verify
from duty.verifier.secrets import opened, read_master_keys
from telephony.custody import Keeper
from tests.line.book import Book, CallPage
from tests.line.desk import Desk
from tests.line.service import Line, Service
from tests.peers.audio import decode_alaw
from tests.peers.programs import require
from tests.peers.sipp import Sipp
from transcription.engine import Capabilities, Caption, Heard, Piece, Samples, unheard
from transcription.enginehouse import EngineHouse, Share
from transcription.live import LiveCaptions
from transcription.live import serve as serve_captions
from transcription.pieces import Memory
from transcription.secrecy import load_secret_words
from transcription.serve import CaptionWriter
from transcription.vocabulary import Vocabulary
from transcription.worker import Worker

pytestmark = [pytest.mark.peer, pytest.mark.rule("6.5-a")]

LINE = Line(number="037122590081", phones=("8001",))
PLAIN_CALLER, SECRET_CALLER = "037122660081", "037122660082"
PLAIN = "孙李唐村仓库起火了"
SECRET = "明天有一级警卫任务经过宋都御街"
ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "gb18030")
WINDOW = 96
LIMIT_S = 60.0


@dataclass
class Scripted:
    """Says what it is told to, in recordings and live: half of it, then the whole."""

    text: str
    name: ClassVar[str] = "scripted"
    model: ClassVar[str] = "scripted"
    model_sha256: ClassVar[str] = "ab" * 32
    settings: ClassVar[dict[str, str]] = {}
    capabilities: ClassVar[Capabilities] = Capabilities(
        streaming=True, sample_rates=(8000,), languages=("zh",), word_times=False, phrase_bias=False
    )

    def transcribe(
        self, samples: Samples, sample_rate_hz: int, *, phrases: Sequence[str] = (), heard: Heard = unheard
    ) -> list[Piece]:
        assert len(samples) > sample_rate_hz // 2
        heard(len(samples))
        return [Piece(start_s=0.1, end_s=1.0, text=self.text, confidence=0.9)] if np.any(samples) else []

    def open(self, sample_rate_hz: int) -> ScriptedStream:
        return ScriptedStream(self.text, sample_rate_hz)


class ScriptedStream:
    def __init__(self, text: str, hz: int) -> None:
        self._text, self._hz, self._fed = text, hz, 0

    def feed(self, samples: Samples) -> Caption | None:
        before, self._fed = self._fed, self._fed + len(samples)
        if before < self._hz // 5 <= self._fed:
            return Caption(text=self._text[:4], start_s=0.0, end_s=0.5, final=False)
        if before < self._hz // 2 <= self._fed:
            return Caption(text=self._text, start_s=0.0, end_s=1.0, final=True)
        return None

    def finish(self) -> Caption | None:
        return None


class Transcription:
    """The transcription of ``service`` with a scripted engine, everything but the engine as the service has it."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store, self._stop = store, threading.Event()
        keys, secrets = MasterKeys(settings.secrecy.key_file), load_secret_words()
        self.recordings = Recordings(store, utc_now, keys)
        secrecy = Secrecy(store, utc_now, keys, opening=timedelta(minutes=30))
        self.engine = engine = Scripted(PLAIN)
        house = EngineHouse(
            models=_model_folder(settings.data.dir.parent / "scripted"),
            wanted="auto",
            share=Share(threads=1),
            missing=lambda _: None,
            loader=lambda _model, _share: engine,
        )
        self._worker = Worker(
            recordings=self.recordings,
            house=house,
            memory=Memory(),
            root=settings.data.recordings,
            vocabulary=Vocabulary(Words(store, utc_now)),
            secrets=secrets,
        )
        captions = LiveCaptions(engine, CaptionWriter(store, secrets, secrecy).write)
        self._thread = threading.Thread(target=serve_captions, args=(settings.data.live_socket, captions, self._stop))

    def __enter__(self) -> Transcription:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def hear(self, call_id: str) -> None:
        """The recording of the call, as soon as it may be claimed."""
        wait(lambda: self._state(call_id) not in ("open", "none"), "no recording")
        while self._state(call_id) != "done":
            job = self.recordings.claim(Turn.NEWEST)
            if job is not None:
                self._worker.hear(job, self._stop)

    def _state(self, call_id: str) -> str:
        with self._store.reading() as session:
            return session.get_one(RecordingRow, call_id).state


def _model_folder(root: Path) -> Path:
    """A folder that is told to hold a Chinese model."""
    folder = root / "scripted"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {"engine": "vosk", "language": "zh", "sha256": "ab" * 32, "size_bytes": 0, "known": False, "files": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return root


def wait(done: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    end = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, MasterKeys]]:
    """The line's own process with a master key outside its data."""
    require("sipp")
    path = tmp_path / "keys" / "master.key"
    create_ring(path, KeyRing(keys=(new_master_key(),)))
    monkeypatch.setenv("DUTYLINE_SECRECY__KEY_FILE", str(path))
    with Service(tmp_path / "house", (LINE,)) as service:
        yield service, MasterKeys(path)


def talk(service: Service, sipp: Sipp, book: Book, caller: str, audio: bytes) -> CallPage:
    """A call from ``caller`` who speaks ``audio``; the phone says nothing that is not its own."""
    desk = Desk(service, sipp)
    phone = desk.phone("phone_answers_and_talks", "8001", audio=audio[::-1])
    call = sipp.start(
        "caller_talks_then_bye",
        remote=service.address,
        audio=audio,
        values={"line": LINE.number, "caller": caller, "talk_ms": 2000},
    )
    call.wait().check()
    phone.wait().check()
    desk.clear()
    return book.ended(caller)


def needles(text: str) -> list[bytes]:
    """The words as any program may write them, whole and in parts."""
    parts = [text[at : at + 4] for at in range(0, len(text) - 3, 2)]
    found = [part.encode(encoding) for part in parts for encoding in ENCODINGS]
    found += [json.dumps(part)[1:-1].encode() for part in parts]
    return [each for each in found if len(each) > 5]


def voices(audio: bytes) -> list[bytes]:
    """Stretches of the sound as raw A-law and as samples, of which no other sound has the like."""
    spoken = [audio[at : at + WINDOW] for at in range(0, len(audio) - WINDOW, WINDOW)]
    telling = [each for each in spoken if len(set(each)) > 24]
    assert len(telling) > 20
    telling = telling[:: max(1, len(telling) // 16)]
    return telling + [decode_alaw(each).astype("<i2").tobytes() for each in telling]


def hunt(folder: Path, wanted: Sequence[bytes]) -> set[str]:
    """The files below ``folder`` that hold any of it, also as one side of a stereo recording."""
    found = set()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            forms = [content, *(_one_side(content, start) for start in range(4))]
            if any(each in form for form in forms for each in wanted):
                found.add(path.name)
    return found


def _one_side(content: bytes, start: int) -> bytes:
    whole = np.frombuffer(content, np.uint8)[start:]
    return whole[: len(whole) // 4 * 4].reshape(-1, 4)[:, :2].tobytes()


def people(store: Store) -> dict[Role, Actor]:
    with store.reading() as session:
        return {
            role: Actor(officer_id=row.id, name=row.name, unit_id=row.unit_id, roles=roles_of(row.roles))
            for row in session.scalars(select(OfficerRow)).unique()
            for role in roles_of(row.roles)
        }


def test_nothing_of_a_secret_call_is_anywhere_but_sealed(
    house: tuple[Service, MasterKeys], sipp: Sipp, utterance: bytes, tmp_path: Path
) -> None:
    service, keys = house
    settings = service.settings
    half = len(utterance) // 320 * 160
    plain_voice, secret_voice = utterance[:half], utterance[half : 2 * half]
    with ExitStack() as stack:
        store = stack.enter_context(closing(Store(settings.store_url)))
        book = Book(store, settings.data.recordings)
        with Transcription(settings, store) as transcription:
            plain = talk(service, sipp, book, PLAIN_CALLER, plain_voice)
            transcription.hear(plain.call_id)
            transcription.engine.text = SECRET
            secret = talk(service, sipp, book, SECRET_CALLER, secret_voice)

            def flagged() -> bool:
                with store.reading() as session:
                    flag = session.get(SecrecyRow, secret.call_id)
                    return flag is not None and flag.source == "captions"

            wait(flagged, "the live captions do not flag it", 10)
            transcription.hear(secret.call_id)

        keeper = Keeper(settings, store)
        stack.callback(keeper.close)

        def sealed() -> bool:
            keeper.step()
            with store.reading() as session:
                return session.get_one(SecrecyRow, secret.call_id).state == "sealed"

        wait(sealed, "the keeper does not seal")
        keeper.step()
        words, sound = needles(SECRET), [*voices(secret_voice), *voices(secret_voice[::-1])]
        assert "dutyline.db" in {name.removesuffix("-wal") for name in hunt(service.root, needles(PLAIN))}
        assert {"caller.alaw", "recording.wav"} <= hunt(service.root, voices(plain_voice))
        wait(lambda: hunt(service.root, words) == set(), "the words are left somewhere", 30)
        assert hunt(service.root, sound) == set()

        # What the house says about it, in its own files and through its commands
        told = tmp_path / "told"
        told.mkdir()
        for number, command in enumerate((["verify", "--json"], ["reconcile", "--json"], ["secrecy", "status"])):
            (told / f"{number}.txt").write_text(_command(service, command), encoding="utf-8")
        assert hunt(told, words) == set()
        with store.reading() as session:
            assert session.scalars(select(EntryRow.event).where(EntryRow.call_id == secret.call_id)).all() == [""]
            kinds = session.scalars(select(EventRow.kind).where(EventRow.call_id == secret.call_id)).all()
            assert "call.caption" in kinds, "there were captions before the words, and their text is gone"

        # A thief of all data without the master key, and one with another
        loot = tmp_path / "loot"
        shutil.copytree(service.data, loot, ignore=shutil.ignore_patterns("*.sock", "run"))
        wrong = tmp_path / "wrong.key"
        create_ring(wrong, KeyRing(keys=(new_master_key(),)))
        thief = stack.enter_context(closing(Store(f"sqlite:///{loot / 'dutyline.db'}")))
        leader = people(store)[Role.LEADER]
        for stolen in (MasterKeys(None), MasterKeys(wrong)):
            secrecy = Secrecy(thief, utc_now, stolen, opening=timedelta(minutes=30))
            secrecy.open(leader, secret.call_id, reason="没有密钥的人")
            with pytest.raises(NoMasterKey):
                secrecy.read(leader, secret.call_id)
        path = sealed_path(service.data / "recordings" / Path(secret.recording_path).parent, "recording.wav")
        context = context_of(secret.call_id, "recording.wav")
        assert opened(bytes(32), context, path.read_bytes()) is None

        # Who may not is refused, and it is written down; who may hears and reads, and leaves nothing behind
        secrecy = Secrecy(store, utc_now, keys, opening=timedelta(minutes=30))
        officer = people(store)[Role.OFFICER]
        with pytest.raises(Forbidden):
            secrecy.open(officer, secret.call_id, reason="想听一听")
        secrecy.open(leader, secret.call_id, reason="核实来电内容")
        read = secrecy.read(leader, secret.call_id)
        assert read is not None
        assert SECRET in [segment.text for segment in read.transcripts[0].segments]
        heard = secrecy.hear(leader, secret.call_id, told=False)
        assert heard.data_key is not None
        wav = OpenedFile(path, data_key=heard.data_key, context=context).read()
        stereo = np.frombuffer(wav[44:], dtype="<i2").reshape(-1, 2)
        caller = stereo[:, 0].astype("<i2").tobytes()
        assert sum(each in caller for each in voices(secret_voice)) > 5, "the caller's own voice"
        with store.reading() as session:
            query = select(AuditRow.action, AuditRow.officer_id).where(AuditRow.subject == f"call:{secret.call_id}")
            rows = [tuple(row) for row in session.execute(query.order_by(AuditRow.id))]
        assert ("secret_refuse", officer.officer_id) in rows
        assert rows[-3:] == [(f"secret_{act}", leader.officer_id) for act in ("open", "look", "look")]
        store.scrub()
        wait(lambda: hunt(service.root, words) == set(), "reading left words", 10)
        assert hunt(service.root, sound) == set()
        assert keys.path is not None
        report = verify(settings.store_url, settings.data.recordings, keys=read_master_keys(keys.path))
        assert (report.first_broken, report.recordings.sealed_opened) == (None, 5)


def _command(service: Service, command: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dutyline", *command, "--config", str(service.root / "settings.toml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
