"""The loaded models, shared by all who transcribe: the current one once in memory however many hear with it, and at
most one more while a recording is heard by a model that somebody asked for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from transcription.choose import choose, load
from transcription.engine import Engine
from transcription.errors import TranscriptionError
from transcription.model_store import InstalledModel, find, installed

_log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often the folder of models is looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What of the machine hearing may take: ``threads`` in all, ``parallel`` recordings at once."""

    threads: int
    parallel: int = 1


Loader = Callable[[InstalledModel, Share], Engine]


def load_shared(model: InstalledModel, share: Share) -> Engine:
    """The engine of ``model`` for that share. Raises EngineError when it does not load."""
    return load(model, threads=share.threads, parallel=share.parallel)


class EngineHouse:
    """``wanted`` is the engine of the settings. ``missing`` is told the reason when there comes to be no engine, and ""
    when there is one again; ``changed`` hears which models there are and which is the current one. Used by several
    threads."""

    def __init__(
        self,
        *,
        models: Path,
        wanted: str,
        share: Share,
        missing: Callable[[str], None],
        changed: Callable[[Sequence[InstalledModel], InstalledModel | None], None] = lambda _models, _current: None,
        loader: Loader = load_shared,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._models, self._wanted, self._share = models, wanted, share
        self._missing, self._changed, self._loader, self._clock = missing, changed, loader, clock
        self._lock = threading.Lock()
        self._other = threading.Lock()
        self._engine: Engine | None = None
        self._loaded = ""
        self._looked_at: float | None = None
        self._told_missing: str | None = None
        self._told_models: tuple[tuple[str, ...], str] | None = None

    def current(self) -> Engine | None:
        """The engine to use now, None where there is none; a model installed or removed meanwhile is noticed."""
        with self._lock:
            now = self._clock()
            if self._looked_at is None or now - self._looked_at >= LOOK_S:
                self._look()
                self._looked_at = now
            return self._engine

    @contextmanager
    def named(self, name: str) -> Iterator[Engine]:
        """The engine of the model ``name`` while the block runs. Raises TranscriptionError where it is not there."""
        current = self.current()
        if current is not None and current.model == name:
            yield current
            return
        with self._other:
            yield self._loader(find(name, self._models), self._share)

    def _look(self) -> None:
        found = installed(self._models)
        choice = choose(self._wanted, found)
        reason = "" if choice.model is not None else choice.reason
        if choice.model is None:
            self._engine, self._loaded = None, ""
        elif self._loaded != choice.model.sha256:
            self._engine, self._loaded = None, ""
            try:
                self._engine = self._loader(choice.model, self._share)
            except TranscriptionError as error:
                reason = str(error)
            else:
                self._loaded = choice.model.sha256
                _log.info("speech model %s loaded", choice.model.name)
        if reason != self._told_missing:
            self._missing(reason)
            self._told_missing = reason
        told = (tuple(model.sha256 for model in found), self._loaded)
        if told != self._told_models:
            self._changed(found, choice.model if self._engine is not None else None)
            self._told_models = told
