"""Sealing in a process of its own: rendering a long call takes seconds of computing, and a thread that computes would
hold the interpreter while packets of other calls wait.

``python -m telephony.sealing_process`` reads a directory per line and answers each with a line of JSON. It ends with
its input, so it does not outlive a killed telephony process.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import IO

import telephony
from telephony.media_errors import NotARecordingError, RecordingNotSealedError
from telephony.sealing import SealedRecording, salvage

_NICENESS = 10
_log = logging.getLogger(__name__)


class SealingProcess:
    """Seals as ``salvage`` does, elsewhere. Used by one or more threads; the process starts with the first need."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None

    def warm_up(self) -> None:
        """Starts the process before it is needed."""
        with self._lock:
            self._running()

    def salvage(self, directory: Path) -> SealedRecording:
        """``salvage(directory)``, by the process or, should it fail, here. Raises what ``salvage`` raises."""
        with self._lock:
            try:
                answer = self._ask(directory)
            except (OSError, ValueError) as error:
                _log.error("the sealing process failed, sealing here: %s", error)
                self._stop()
                return salvage(directory)
        match answer:
            case {"sealed": dict(content)}:
                return SealedRecording.from_json(directory, content)
            case {"not_sealed": str(reason)}:
                raise RecordingNotSealedError(directory, reason)
            case {"no_recording": str(reason)}:
                raise NotARecordingError(reason)
        _log.error("the sealing process answered %r, sealing here", answer)
        return salvage(directory)

    def close(self) -> None:
        """Ends the process."""
        with self._lock:
            self._stop()

    def _running(self) -> tuple[IO[str], IO[str]]:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            root = str(Path(telephony.__file__).parents[1])
            paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": paths},
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise OSError("the sealing process has no pipes")
        return self._process.stdin, self._process.stdout

    def _ask(self, directory: Path) -> object:
        to, back = self._running()
        to.write(f"{json.dumps(str(directory.absolute()))}\n")
        to.flush()
        return json.loads(back.readline())

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    _log.debug("the sealing process was gone already")
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answer(directory: Path) -> dict[str, object]:
    try:
        return {"sealed": salvage(directory).as_json()}
    except RecordingNotSealedError as error:
        return {"not_sealed": error.reason}
    except NotARecordingError as error:
        return {"no_recording": str(error)}


def main() -> None:
    """Serves until its input ends."""
    os.nice(_NICENESS)
    for line in sys.stdin:
        print(json.dumps(_answer(Path(json.loads(line))), ensure_ascii=True), flush=True)


if __name__ == "__main__":
    main()
