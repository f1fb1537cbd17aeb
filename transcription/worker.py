"""Takes recordings that wait, one after another, and gives back transcript and draft.

The state is in the recording's row: a worker that dies loses its lease and another takes the recording up. The
worker renews the lease while an engine decodes; a recording whose file is at fault is set aside with the reason, one
that met a failing engine is tried again later.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from duty.domain.happenings import AlarmKind, Severity
from duty.domain.transcripts import Transcript
from duty.services.alarms import Alarms
from duty.services.recordings import Job, Recordings
from transcription.choose import choose, load
from transcription.draft import CallFacts, draft
from transcription.engine import Engine
from transcription.errors import AudioError, TranscriptionError
from transcription.lexicon import Lexicon
from transcription.model_store import InstalledModel, installed
from transcription.recording import transcribe_recording

_log = logging.getLogger(__name__)

IDLE_S = 0.3
RENEW_S = 2.0
NO_MODEL_S = 2.0
STORE_PAUSE_S = 2.0

NO_ENGINE_SUBJECT = "transcription"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where things lie: the recordings' and the models' root folders."""

    recordings: Path
    models: Path


class Worker:
    """One thread's work. ``wanted`` is the engine of the settings; ``loader`` is replaced in fault tests."""

    def __init__(
        self,
        *,
        recordings: Recordings,
        alarms: Alarms,
        place: Place,
        lexicon: Lexicon,
        wanted: str,
        threads: int,
        loader: Callable[[InstalledModel, int], Engine] = lambda model, threads: load(model, threads=threads),
    ) -> None:
        self._recordings, self._alarms, self._place = recordings, alarms, place
        self._lexicon, self._wanted, self._threads = lexicon, wanted, threads
        self._loader = loader
        self._engine: Engine | None = None
        self._loaded = ""
        self._missing: bool | None = None

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop``. A failing store is waited out."""
        while not stop.is_set():
            try:
                pause = self.step(stop)
            except SQLAlchemyError as error:
                _log.error("the store fails: %s", error)
                pause = STORE_PAUSE_S
            stop.wait(pause)

    def step(self, stop: threading.Event) -> float:
        """One look: transcribe the next recording, if there is one and a model; seconds to pause before the next."""
        engine = self._ready()
        if engine is None:
            return NO_MODEL_S
        job = self._recordings.claim()
        if job is None:
            return IDLE_S
        self._transcribe(job, engine, stop)
        return 0.0

    def _ready(self) -> Engine | None:
        """The engine to use now; a model installed or removed meanwhile is noticed."""
        choice = choose(self._wanted, installed(self._place.models))
        if choice.model is None:
            self._tell_missing(choice.reason)
            self._engine, self._loaded = None, ""
            return None
        if self._loaded != choice.model.sha256:
            try:
                self._engine = self._loader(choice.model, self._threads)
            except TranscriptionError as error:
                self._tell_missing(str(error))
                return None
            self._loaded = choice.model.sha256
            _log.info("speech model %s loaded", choice.model.name)
        if self._missing is not False:
            self._alarms.settle(AlarmKind.NO_ENGINE, subject=NO_ENGINE_SUBJECT)
            self._missing = False
        return self._engine

    def _tell_missing(self, reason: str) -> None:
        if self._missing is not True:
            _log.warning("no speech model: %s", reason)
            self._alarms.report(AlarmKind.NO_ENGINE, Severity.WARNING, subject=NO_ENGINE_SUBJECT, reason=reason)
            self._missing = True

    def _transcribe(self, job: Job, engine: Engine, stop: threading.Event) -> None:
        path = self._place.recordings / job.path
        with _Renewal(self._recordings, job.call_id) as renewal:
            try:
                _check(path, job.sha256)
                transcript = transcribe_recording(path, engine, phrases=self._lexicon.phrases, progress=renewal.advance)
            except AudioError as error:
                _log.error("recording %s set aside: %s", job.call_id, error)
                self._recordings.fail(job.call_id, str(error), final=True)
                return
            except TranscriptionError as error:
                _log.error("recording %s could not be transcribed: %s", job.call_id, error)
                self._recordings.fail(job.call_id, str(error))
                return
        if stop.is_set() and not transcript.segments:
            self._recordings.give_back(job.call_id)
            return
        self._keep(job, transcript)

    def _keep(self, job: Job, transcript: Transcript) -> None:
        facts = CallFacts(
            started_at=job.arrived_at,
            caller_number=job.caller_number,
            contact_unit=job.contact_unit,
            contact_name=job.contact_name,
            contact_title=job.contact_title,
        )
        self._recordings.complete(job.call_id, transcript, draft(transcript, facts, self._lexicon))
        _log.info(
            "recording %s transcribed: %.1f s of audio in %.1f s",
            job.call_id,
            transcript.audio_seconds,
            transcript.decode_seconds,
        )


class _Renewal:
    """Keeps a job's lease alive while the block runs, and shows how far it is."""

    def __init__(self, recordings: Recordings, call_id: str) -> None:
        self._recordings, self._call_id = recordings, call_id
        self._share = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def advance(self, share: float) -> None:
        """So much of the recording is decoded, 0..1; written at the next renewal."""
        self._share = share

    def _renew(self) -> None:
        while not self._done.wait(RENEW_S):
            try:
                self._recordings.progress(self._call_id, self._share)
            except SQLAlchemyError as error:
                _log.warning("the lease of %s could not be renewed: %s", self._call_id, error)


def _check(path: Path, sha256: str) -> None:
    """The file is the one that was sealed. Raises AudioError."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AudioError(f"录音文件无法读取：{error.strerror}") from error
    if found != sha256:
        raise AudioError("录音文件与封存时的校验值不符，可能已被改动")
