"""What an engine makes of a list of recordings, measured in a process of its own so that its memory is its own.

The recordings go the way of every recording: both channels through the same front, whole.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
import wave
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from duty.domain.transcripts import Transcript
from transcription.audio import read_recording
from transcription.choose import load
from transcription.engine import Engine
from transcription.errors import EngineError, TranscriptionError
from transcription.evaluation.characters import Errors, errors, interval, rate
from transcription.evaluation.corpus import GoldCall
from transcription.evaluation.degrade import Degradation, degraded
from transcription.evaluation.fieldscore import FieldReport, measure_fields
from transcription.evaluation.manifest import Line, groups
from transcription.lexicon import load_lexicon
from transcription.model_store import InstalledModel
from transcription.recording import transcribe_recording

Progress = Callable[[int], None]
_ALL = "全部"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One recording: what was said, what was heard, the wrong and the said characters, and times in s. ``fault`` is why
    it could not be heard, else empty."""

    file: str
    group: str
    said: str
    heard: str
    errors: Errors
    seconds: float
    cpu_s: float
    wall_s: float
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFigures:
    """Character error rate of a set with its 95 % interval (bootstrap over recordings), shares of 1."""

    group: str
    recordings: int
    characters: int
    cer: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One engine on one list in one condition. ``rtf`` is processor time and ``rtf_wall`` time on the clock per second
    of sound; ``peak_mib`` the most memory the process held."""

    engine: str
    model: str
    model_sha256: str
    settings: dict[str, str]
    condition: str
    sets: tuple[SetFigures, ...]
    rtf: float
    rtf_wall: float
    peak_mib: float
    heard: tuple[Heard, ...]
    fields: FieldReport | None = None


def evaluate(model: InstalledModel, lines: Sequence[Line], how: Degradation, progress: Progress) -> Evaluation:
    """``lines`` through ``model`` after ``how``; ``progress`` is told how many recordings are done.

    Raises TranscriptionError where the model does not load, or its process dies.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_measure, args=(theirs, model, tuple(lines), how), daemon=True)
    child.start()
    theirs.close()
    try:
        while True:
            told = ours.recv()
            if isinstance(told, Evaluation):
                return told
            if isinstance(told, TranscriptionError):
                raise told
            progress(told)
    except EOFError:
        child.join()
        raise EngineError(f"语音模型 {model.name} 的进程意外结束（{child.exitcode}）") from None
    finally:
        child.kill()
        child.join()
        ours.close()


def set_figures(heard: Sequence[Heard], names: Sequence[str]) -> tuple[SetFigures, ...]:
    """The figures of each set, and where there are several of all together."""
    wanted = [(name, [one.errors for one in heard if one.group == name]) for name in names]
    if len(names) > 1:
        wanted.append((_ALL, [one.errors for one in heard]))
    found = []
    for name, counted in wanted:
        low, high = interval(counted)
        said = sum(one.said for one in counted)
        found.append(
            SetFigures(group=name, recordings=len(counted), characters=said, cer=rate(counted), low=low, high=high)
        )
    return tuple(found)


def _measure(tell: Connection, model: InstalledModel, lines: Sequence[Line], how: Degradation) -> None:
    """The child's part."""
    try:
        tell.send(_evaluated(model, lines, how, tell.send))
    except TranscriptionError as error:
        tell.send(error)
    tell.close()


def _evaluated(model: InstalledModel, lines: Sequence[Line], how: Degradation, progress: Progress) -> Evaluation:
    engine = load(model, threads=1)
    heard: list[Heard] = []
    transcripts: dict[str, Transcript] = {}
    with tempfile.TemporaryDirectory(prefix="dutyline-evaluate-") as scratch:
        for number, line in enumerate(lines, 1):
            one, transcript = _hear(engine, line, how, Path(scratch) / "heard.wav")
            heard.append(one)
            if transcript is not None and line.gold is not None:
                transcripts[line.gold.call_id] = transcript
            progress(number)
    gold = [line.gold for line in lines if line.gold is not None and line.gold.call_id in transcripts]
    seconds = sum(one.seconds for one in heard) or 1.0
    return Evaluation(
        engine=engine.name,
        model=engine.model,
        model_sha256=engine.model_sha256,
        settings=engine.settings,
        condition=str(how),
        sets=set_figures(heard, groups(lines)),
        rtf=sum(one.cpu_s for one in heard) / seconds,
        rtf_wall=sum(one.wall_s for one in heard) / seconds,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        heard=tuple(heard),
        fields=_fields(gold, transcripts) if gold else None,
    )


def _fields(gold: Sequence[GoldCall], transcripts: dict[str, Transcript]) -> FieldReport:
    return measure_fields(gold, load_lexicon(), lambda call: transcripts[call.call_id])


def _hear(engine: Engine, line: Line, how: Degradation, scratch: Path) -> tuple[Heard, Transcript | None]:
    """A recording that cannot be heard counts as one of which nothing was."""
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        _write(scratch, line.path, how)
        wall, cpu = time.perf_counter(), time.process_time()
        transcript = transcribe_recording(scratch, engine)
    except TranscriptionError as error:
        return _heard(line, "", wall, cpu, fault=str(error)), None
    text = "".join(segment.text for segment in transcript.segments)
    return _heard(line, text, wall, cpu, seconds=transcript.audio_seconds), transcript


def _heard(line: Line, text: str, wall: float, cpu: float, *, seconds: float = 0.0, fault: str = "") -> Heard:
    return Heard(
        file=line.path.name,
        group=line.group,
        said=line.text,
        heard=text,
        errors=errors(line.text, text),
        seconds=seconds,
        cpu_s=time.process_time() - cpu,
        wall_s=time.perf_counter() - wall,
        fault=fault,
    )


def _write(scratch: Path, source: Path, how: Degradation) -> None:
    """The recording at ``source`` as the line would have delivered it."""
    audio = read_recording(source)
    seed = zlib.crc32(source.name.encode())
    made = [degraded(channel, audio.sample_rate_hz, how, seed=seed + n) for n, channel in enumerate(audio.channels)]
    with wave.open(str(scratch), "wb") as writer:
        writer.setnchannels(len(made))
        writer.setsampwidth(2)
        writer.setframerate(made[0][1])
        writer.writeframes(np.stack([samples for samples, _ in made], axis=1).astype("<i2").tobytes())
