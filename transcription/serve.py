"""The transcription process: waiting recordings on one thread, live captions on others, at low priority, so that
decoding never takes the processor from an RTP packet."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from config.settings import Settings
from duty.domain.happenings import AlarmKind, Severity
from duty.domain.secrecy import SecrecySource
from duty.domain.times import utc_now
from duty.services.alarms import Alarms
from duty.services.captions import show_caption
from duty.services.recordings import Recordings
from duty.services.secrecy import Secrecy
from duty.services.versions import SpeechModel, Versions
from duty.services.words import Words
from duty.store.database import Store
from duty.vault.keyfile import MasterKeys
from transcription.ahead import Ahead
from transcription.choose import choose_streaming, load
from transcription.engine import StreamingEngine
from transcription.enginehouse import EngineHouse, Share
from transcription.errors import TranscriptionError
from transcription.live import LiveCaption, LiveCaptions
from transcription.live import serve as serve_captions
from transcription.model_store import InstalledModel, installed
from transcription.pieces import Memory
from transcription.secrecy import SecretWords, load_secret_words
from transcription.vocabulary import Vocabulary
from transcription.worker import Foreman, Worker

_log = logging.getLogger(__name__)

NICENESS = 10
PARTIAL_EVERY_S = 0.4
MODEL_LOOK_S = 5.0
NO_ENGINE_SUBJECT = "transcription"


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    os.nice(NICENESS)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    store = Store(settings.store_url)
    recordings = Recordings(store, utc_now, MasterKeys(settings.secrecy.key_file))
    house = _house(settings, store)
    memory, root = Memory(), settings.data.recordings
    vocabulary = Vocabulary(Words(store, utc_now))
    worker = Worker(
        recordings=recordings,
        house=house,
        memory=memory,
        root=root,
        vocabulary=vocabulary,
        secrets=load_secret_words(),
    )
    ahead = Ahead(recordings=recordings, house=house, memory=memory, root=root, vocabulary=vocabulary, clock=utc_now)
    foreman = Foreman(worker=worker, recordings=recordings, house=house, parallel=settings.transcription.workers)
    captions = threading.Thread(target=_captions, args=(settings, store, stop), name="captions", daemon=True)
    captions.start()
    hearing = threading.Thread(target=ahead.run, args=(stop,), name="ahead", daemon=True)
    hearing.start()
    foreman.run(stop)
    captions.join(10.0)
    hearing.join(10.0)
    store.close()


def _house(settings: Settings, store: Store) -> EngineHouse:
    alarms, versions = Alarms(store, utc_now), Versions(store, utc_now)

    def missing(reason: str) -> None:
        if reason:
            _log.warning("no speech model: %s", reason)
            alarms.report(AlarmKind.NO_ENGINE, Severity.WARNING, subject=NO_ENGINE_SUBJECT, reason=reason)
        else:
            alarms.settle(AlarmKind.NO_ENGINE, subject=NO_ENGINE_SUBJECT)

    def changed(models: Sequence[InstalledModel], current: InstalledModel | None) -> None:
        versions.tell_models(
            [
                SpeechModel(
                    name=model.name,
                    engine=model.engine.value,
                    language=model.language,
                    sha256=model.sha256,
                    current=current is not None and model.name == current.name,
                )
                for model in models
            ]
        )

    return EngineHouse(
        models=settings.data.models,
        wanted=settings.transcription.engine,
        share=Share(threads=settings.transcription.threads, parallel=settings.transcription.workers + 1),
        missing=missing,
        changed=changed,
    )


def _captions(settings: Settings, store: Store, stop: threading.Event) -> None:
    """Live captions as soon as a streaming model is installed."""
    secrecy = Secrecy(
        store,
        utc_now,
        MasterKeys(settings.secrecy.key_file),
        opening=timedelta(minutes=settings.secrecy.opening_minutes),
    )
    while not stop.is_set():
        choice = choose_streaming(settings.transcription.engine, installed(settings.data.models))
        if choice.model is None:
            stop.wait(MODEL_LOOK_S)
            continue
        try:
            engine = load(choice.model)
            if isinstance(engine, StreamingEngine):
                writer = CaptionWriter(store, load_secret_words(), secrecy)
                serve_captions(settings.data.live_socket, LiveCaptions(engine, writer.write), stop)
        except (TranscriptionError, OSError):
            _log.exception("live captions stopped")
            stop.wait(MODEL_LOOK_S)


class CaptionWriter:
    """Puts captions into the outbox: every final one, of the partial ones a few a second. Words of ``secrets`` in any
    put the call under secrecy and warn the desk; from then on its captions are told nowhere (requirement 6.5-a)."""

    def __init__(self, store: Store, secrets: SecretWords, secrecy: Secrecy) -> None:
        self._store = store
        self._secrets = secrets
        self._secrecy = secrecy
        self._last: dict[tuple[str, str], float] = {}

    def write(self, caption: LiveCaption) -> None:
        """Write one caption; a store that fails costs this caption only."""
        key = (caption.call_id, caption.speaker.value)
        suspected = bool(self._secrets.said(caption.text))
        now = time.monotonic()
        if not caption.final and not suspected and now - self._last.get(key, -PARTIAL_EVERY_S) < PARTIAL_EVERY_S:
            return
        if caption.final:
            self._last.pop(key, None)
        else:
            self._last[key] = now
        try:
            if suspected and self._secrecy.suspect(caption.call_id, SecrecySource.CAPTIONS):
                return
            show_caption(
                self._store,
                at=utc_now(),
                call_id=caption.call_id,
                speaker=caption.speaker.value,
                text=caption.text,
                final=caption.final,
            )
        except SQLAlchemyError as error:
            _log.warning("a caption could not be written: %s", error)
