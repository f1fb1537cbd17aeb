"""A module of ours that runs as a process of its own and answers one line of JSON with another: what takes long or may
die does so there (``sealing_process``, ``custody_worker``)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import IO, Any

import telephony


class WorkerProcess:
    """``python -m module``, started with the first question and again after it died; one question at a time, asked by
    any thread. It ends with its input, so that it does not outlive a killed parent."""

    def __init__(self, module: str, *, patience_s: float = 0.0) -> None:
        """``patience_s``: how long it may take to end by itself when it is no longer needed."""
        self._module = module
        self._patience_s = patience_s
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int | None:
        """That of the process, where one was started."""
        process = self._process
        return process.pid if process is not None else None

    def warm_up(self) -> None:
        """Starts the process before it is needed. Raises OSError."""
        with self._lock:
            self._running()

    def ask(self, question: object) -> Any:
        """The answer. Raises OSError and ValueError where the process died or answers no JSON; the next question starts
        another."""
        with self._lock:
            try:
                to, back = self._running()
                to.write(f"{json.dumps(question)}\n")
                to.flush()
                return json.loads(back.readline())
            except (OSError, ValueError):
                self._stop(patience_s=0.0)
                raise

    def kill(self) -> None:
        """In the middle of whatever it does; may be called from a signal handler, while a thread asks."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._stop(patience_s=self._patience_s)

    def _running(self) -> tuple[IO[str], IO[str]]:
        if self._process is None or self._process.poll() is not None:
            self._stop(patience_s=0.0)
            root = str(Path(telephony.__file__).parents[1])
            paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": paths},
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise OSError(f"{self._module} has no pipes")
        return self._process.stdin, self._process.stdout

    def _stop(self, *, patience_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if not patience_s:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # it is gone already
                    pipe.close()
        try:
            process.wait(timeout=patience_s or None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
