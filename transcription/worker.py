"""Hears recordings that wait, a stated number at once, and gives back transcript and draft.

The state is in the recording's row: a worker that dies loses its lease and another takes the recording up. The
worker renews the lease while an engine decodes; a recording whose file is at fault is set aside with the reason, one
that met a failing engine is tried again later. Work is pulled from the rows when there is room for it: nobody waits to
hand it over, least of all the line.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from duty.domain.transcripts import Transcript
from duty.services.recordings import Job, Recordings, Turn
from duty.vault.errors import VaultError
from duty.vault.files import OpenedFile, in_memory, sealed_path
from duty.vault.format import context_of
from transcription.draft import CallFacts, draft
from transcription.engine import Engine
from transcription.enginehouse import EngineHouse
from transcription.errors import AudioError, ModelError, TranscriptionError
from transcription.pieces import Memory, PieceEngine
from transcription.recording import transcribe_recording
from transcription.secrecy import SecretWords
from transcription.vocabulary import CallVocabulary, Vocabulary

_log = logging.getLogger(__name__)

IDLE_S = 0.2
RENEW_S = 2.0
NO_MODEL_S = 2.0
STORE_PAUSE_S = 2.0
OLDEST_EVERY = 4
"""Of so many turns one is that of the recording that waits longest."""


class InterruptedWorkError(Exception):
    """The work on a recording ends here through no fault of its own: the service stops, or something urgent waits."""


class Worker:
    """Hears one recording after another on a thread of its caller."""

    def __init__(
        self,
        *,
        recordings: Recordings,
        house: EngineHouse,
        memory: Memory,
        root: Path,
        vocabulary: Vocabulary,
        secrets: SecretWords,
    ) -> None:
        self._recordings, self._house, self._memory, self._root = recordings, house, memory, root
        self._vocabulary, self._secrets = vocabulary, secrets

    def hear(self, job: Job, stop: threading.Event) -> None:
        """Bring ``job`` to an end, whichever. Raises SQLAlchemyError where the store fails: the lease then runs out."""
        vocabulary = self._vocabulary.of(job.call_id)
        try:
            with (
                _Renewal(self._recordings, job.call_id, stop) as renewal,
                self._engine(job) as engine,
                _file_of(job, self._root) as path,
            ):
                renewal.advance(0.0)
                _check(path, job.sha256)
                pieces = PieceEngine(engine, self._memory)
                transcript = transcribe_recording(path, pieces, phrases=vocabulary.hints, progress=renewal.advance)
        except InterruptedWorkError:
            self._recordings.give_back(job.call_id)
        except (AudioError, ModelError) as error:
            _log.error("recording %s set aside: %s", job.call_id, error)
            self._recordings.fail(job.call_id, str(error), final=True)
        except (TranscriptionError, VaultError) as error:
            _log.error("recording %s could not be transcribed: %s", job.call_id, error)
            self._recordings.fail(job.call_id, str(error))
        except MemoryError:
            _log.exception("no memory for recording %s", job.call_id)
            self._recordings.fail(job.call_id, "内存不足，无法转写")
        else:
            self._keep(job, transcript, vocabulary)

    @contextmanager
    def _engine(self, job: Job) -> Iterator[Engine]:
        current = self._house.current()
        if job.wanted_model:
            with self._house.named(job.wanted_model) as engine:
                yield engine
        elif current is None:
            raise InterruptedWorkError
        else:
            yield current

    def _keep(self, job: Job, transcript: Transcript, vocabulary: CallVocabulary) -> None:
        facts = CallFacts(
            started_at=job.arrived_at,
            caller_number=job.caller_number,
            contact_unit=job.contact_unit,
            contact_name=job.contact_name,
            contact_title=job.contact_title,
        )
        self._recordings.complete(
            job.call_id,
            transcript,
            draft(transcript, facts, vocabulary.lexicon),
            suggestions=vocabulary.suggester.suggestions(transcript),
            suspected=any(self._secrets.said(segment.text) for segment in transcript.segments),
        )
        _log.info(
            "recording %s transcribed: %.1f s of audio in %.1f s",
            job.call_id,
            transcript.audio_seconds,
            transcript.decode_seconds,
        )


class Foreman:
    """Takes jobs from the rows as long as there is room, for ``parallel`` threads."""

    def __init__(self, *, worker: Worker, recordings: Recordings, house: EngineHouse, parallel: int) -> None:
        self._worker, self._recordings, self._house = worker, recordings, house
        self._room = threading.Semaphore(parallel)
        self._threads = ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="hearing")
        self._turns = 0

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop``; what is being heard then goes back to its row. A failing store is waited out."""
        try:
            while not stop.is_set():
                try:
                    pause = self.step(stop)
                except SQLAlchemyError as error:
                    _log.error("the store fails: %s", error)
                    pause = STORE_PAUSE_S
                stop.wait(pause)
        finally:
            self._threads.shutdown(wait=True)

    def step(self, stop: threading.Event) -> float:
        """One look: start on the next recording, if there is one, a model and room; seconds to pause before the
        next."""
        if not self._room.acquire(timeout=IDLE_S):
            return 0.0
        job = None
        try:
            if stop.is_set():
                return 0.0
            if self._house.current() is None:
                return NO_MODEL_S
            if not self._recordings.any_due():
                return IDLE_S
            self._turns += 1
            job = self._recordings.claim(Turn.LONGEST_WAITING if self._turns % OLDEST_EVERY == 0 else Turn.NEWEST)
            if job is None:
                return IDLE_S
            self._threads.submit(self._hear, job, stop)
        finally:
            if job is None:
                self._room.release()
        return 0.0

    def _hear(self, job: Job, stop: threading.Event) -> None:
        try:
            self._worker.hear(job, stop)
        except SQLAlchemyError as error:
            _log.error("the store fails, recording %s stays for later: %s", job.call_id, error)
        except Exception:  # noqa: BLE001 - the edge: one recording must not end the hearing of the others
            _log.exception("recording %s met a fault of ours", job.call_id)
            with suppress(SQLAlchemyError):
                self._recordings.fail(job.call_id, "转写程序出错，已记入运行日志")
        finally:
            self._room.release()


class _Renewal:
    """Keeps a job's lease alive while the block runs, shows how far it is, and ends the work where it has to make
    way."""

    def __init__(self, recordings: Recordings, call_id: str, stop: threading.Event) -> None:
        self._recordings, self._call_id, self._stop = recordings, call_id, stop
        self._share = 0.0
        self._make_way = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def advance(self, share: float) -> None:
        """So much of the recording is decoded, 0..1; written at the next renewal. Raises InterruptedWorkError."""
        self._share = share
        if self._make_way or self._stop.is_set():
            raise InterruptedWorkError

    def _renew(self) -> None:
        while not self._done.wait(RENEW_S):
            try:
                self._make_way = self._recordings.progress(self._call_id, self._share)
            except SQLAlchemyError as error:
                _log.warning("the lease of %s could not be renewed: %s", self._call_id, error)


@contextmanager
def _file_of(job: Job, root: Path) -> Iterator[Path]:
    """The recording as a file; of a call under secrecy it lies in memory alone. Raises AudioError, VaultError."""
    path = root / job.path
    if job.sealed_with is None:
        yield path
        return
    try:
        data_key, context = job.sealed_with(), context_of(job.call_id, path.name)
        opened = OpenedFile(sealed_path(path.parent, path.name), data_key=data_key, context=context)
    except OSError as error:
        raise AudioError(f"录音文件无法读取：{error.strerror}") from error
    with in_memory(opened) as plain:
        yield plain


def _check(path: Path, sha256: str) -> None:
    """The file is the one that was sealed. Raises AudioError."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AudioError(f"录音文件无法读取：{error.strerror}") from error
    if found != sha256:
        raise AudioError("录音文件与封存时的校验值不符，可能已被改动")
