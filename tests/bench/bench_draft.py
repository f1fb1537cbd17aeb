"""How soon after a call its draft is there: real speech, the real recorder, the real transcription process.

``python -m tests.bench.bench_draft --calls 10 --seconds 180`` prints one line a call and the medians. Each call is a
conversation of the utterances beside the checkout at 8 kHz A-law, written by the recorder at the pace at which it would
arrive, so that it is heard while it grows; then the same recording, new to the process, is heard as a whole.
``--at-once 4`` writes so many calls at the same time and prints the most memory that the process held.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from duty.domain.calls import CallEventKind, Outcome, RecordingFacts
from duty.domain.transcripts import Speaker
from duty.store.database import Store
from duty.store.tables import RecordingRow
from telephony.recorder import Recorder
from telephony.rtp.g711 import Law
from telephony.sealing import SealedRecording
from tests.bench.speech_sets import HZ, utterances
from tests.duty.room import Room
from tests.dutyline.service import prepare
from transcription import models
from transcription.engine import Samples
from transcription.g711 import encode_alaw

_ROOT = Path(__file__).parents[2]
_FRAME = 160
_LIMIT_S = 600.0
_SIDES = (Speaker.CALLER, Speaker.OFFICER)


def conversation(seconds: float, seed: int, scratch: Path) -> dict[Speaker, Samples]:
    """Both sides by turns, with pauses of 0.4 to 2 s, over faint noise."""
    dice = np.random.default_rng(seed)
    said = utterances("telephone", scratch)
    size = int(seconds * HZ)
    sides = {side: dice.normal(0, 20, size).astype(np.int16) for side in _SIDES}
    at, turn = int(1.5 * HZ), 0
    while at < size:
        speech = said[int(dice.integers(len(said)))].samples[: size - at]
        sides[_SIDES[turn % 2]][at : at + len(speech)] += speech
        at += len(speech) + int(dice.uniform(0.4, 2.0) * HZ)
        turn += 1
    return sides


class Bench:
    """A book, a folder of recordings, and the process that hears them."""

    def __init__(self, folder: Path) -> None:
        base = models.fetch("whisper-base", _ROOT / "build" / "models")
        self.instance = prepare(folder, models=base.path.parent)
        self.store = Store(f"sqlite:///{self.instance.database}")
        self.store.migrate()
        self.room = Room(self.store)
        self.root = self.instance.data / "recordings"
        self.root.mkdir()
        program = [sys.executable, "-m", "dutyline", "process", "transcription", "--config", str(self.instance.config)]
        self.log = (folder / "transcription.log").open("wb")
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        self.store.close()

    def peak_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024

    def call(self, sides: dict[Speaker, Samples], *, live: bool) -> tuple[str, float]:
        """One call; its id, and the seconds from its end to its draft."""
        call_id = self.room.arrive()
        recorder = Recorder(root=self.root, call_id=call_id, started_at=self.room.clock())
        for kind in (CallEventKind.RINGING, CallEventKind.ANSWERED):
            self.room.happen(call_id, kind, extension="1001")
        _write(recorder, sides, live=live)
        self.room.happen(call_id, CallEventKind.ENDED, Outcome.ANSWERED)
        began = time.monotonic()
        self._keep(call_id, recorder.seal())
        while self._state(call_id) != "done":
            if time.monotonic() > began + _LIMIT_S or self.process.poll() is not None:
                raise TimeoutError(f"no draft; the recording is {self._state(call_id)}")
            time.sleep(0.05)
        return call_id, time.monotonic() - began

    def _keep(self, call_id: str, sealed: SealedRecording) -> None:
        self.room.recordings.seal(
            RecordingFacts(
                call_id=call_id,
                path=str(sealed.wav_path.relative_to(self.root)),
                sha256=sealed.wav_sha256,
                seconds=sealed.seconds,
                samples=sealed.samples,
            )
        )

    def _state(self, call_id: str) -> str:
        with self.store.reading() as session:
            return session.get_one(RecordingRow, call_id).state


def _write(recorder: Recorder, sides: dict[Speaker, Samples], *, live: bool) -> None:
    coded = {side: encode_alaw(sound) for side, sound in sides.items()}
    began = time.monotonic()
    for at in range(0, len(coded[Speaker.CALLER]), _FRAME):
        for side, payload in coded.items():
            recorder.write(side, position=at, payload=payload[at : at + _FRAME], law=Law.PCMA)
        if at % (HZ // 2) == 0:
            recorder.tick(time.monotonic())
            if live:
                time.sleep(max(0.0, began + at / HZ - time.monotonic()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--at-once", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-draft-") as scratch:
        folder = Path(scratch)
        with closing(Bench(folder / "unit")) as bench:
            waits: dict[bool, list[float]] = {True: [], False: []}
            for first in range(0, options.calls, options.at_once):
                for live in (True, False):
                    several = range(first, min(first + options.at_once, options.calls))
                    # another seed: what was heard once is remembered, and would cost nothing
                    said = [conversation(options.seconds, 2 * n + live, folder / "speech") for n in several]
                    found = _together(bench, said, live=live)
                    waits[live] += found
                    line = {"live": live, "wait_s": [round(one, 2) for one in found]}
                    print(json.dumps(line | {"peak_mib": round(bench.peak_mib())}), flush=True)
            print(
                f"{options.seconds:g} s calls, {options.at_once} at once: draft after the end, median "
                f"{statistics.median(waits[True]):.2f} s where it was heard while it went on; as a whole "
                f"{statistics.median(waits[False]) / options.seconds:.2f} of its length; "
                f"peak {bench.peak_mib():.0f} MiB"
            )


def _together(bench: Bench, said: list[dict[Speaker, Samples]], *, live: bool) -> list[float]:
    waits: list[float] = []
    threads = [
        threading.Thread(target=lambda sides=sides: waits.append(bench.call(sides, live=live)[1])) for sides in said
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waits


if __name__ == "__main__":
    main()
