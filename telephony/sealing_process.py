"""Sealing in a process of its own: rendering a long call takes seconds of computing, and a thread that computes would
hold the interpreter while packets of other calls wait.

``python -m telephony.sealing_process`` reads a directory per line and answers each with a line of JSON. It ends with
its input, so it does not outlive a killed telephony process.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from telephony.media_errors import NotARecordingError, RecordingNotSealedError
from telephony.sealing import SealedRecording, salvage
from telephony.worker_process import WorkerProcess

_NICENESS = 10
_log = logging.getLogger(__name__)


class SealingProcess:
    """Seals as ``salvage`` does, elsewhere. Used by one or more threads; the process starts with the first need."""

    def __init__(self) -> None:
        self._process = WorkerProcess(__name__, patience_s=5.0)

    def warm_up(self) -> None:
        """Starts the process before it is needed. Raises OSError."""
        self._process.warm_up()

    def salvage(self, directory: Path) -> SealedRecording:
        """``salvage(directory)``, by the process or, should it fail, here. Raises what ``salvage`` raises."""
        try:
            answer: object = self._process.ask(str(directory.absolute()))
        except (OSError, ValueError) as error:
            _log.error("the sealing process failed, sealing here: %s", error)
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
        self._process.close()


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
