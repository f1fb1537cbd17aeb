"""How many characters each installed engine mishears on the telephone, through our front and called naked, in one run.

``python -m tests.bench.bench_speech --models build/models`` prints a table and writes build/bench/speech.json: the
character error rate with its 95 % interval and the real-time factor on one core, on the 30 utterances beside the
checkout at 8 kHz A-law and on a copy with noise; and in how many of fifty sounds without speech words are written. Ours
is what the worker runs; naked is the engine's own example.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.naked_speech import naked
from tests.bench.speech_sets import CONDITIONS, HZ, Utterance, halves, utterances
from tests.peers.audio import write_wav
from tests.transcription.nonspeech import clips
from transcription import models
from transcription.choose import load
from transcription.evaluation.characters import Errors, errors, interval, rate, ratio_interval
from transcription.model_store import InstalledModel

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What was made of one utterance, and the processor time and the time it took, in seconds."""

    name: str
    said: str
    heard: str
    seconds: float
    cpu_s: float
    wall_s: float
    errors: Errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One engine on one set. ``rtf_cpu`` is processor time, ``rtf_wall`` time on the clock, per second of sound."""

    model: str
    way: str
    condition: str
    cer: float
    low: float
    high: float
    cer_judging: float
    rtf_cpu: float
    rtf_wall: float
    said: int
    heard: tuple[Heard, ...]


def hear_all(said: Sequence[Utterance], listen: Callable[[Utterance], str]) -> list[Heard]:
    """What ``listen`` makes of every utterance."""
    listen(said[0])  # the first one pays for caches and pages, whoever it is
    found = []
    for one in said:
        cpu, wall = time.process_time(), time.perf_counter()
        text = listen(one)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        found.append(
            Heard(
                name=one.name,
                said=one.text,
                heard=text,
                seconds=one.seconds,
                cpu_s=cpu,
                wall_s=wall,
                errors=errors(one.text, text),
            )
        )
    return found


def figures(model: str, way: str, condition: str, heard: Sequence[Heard], judging: frozenset[str]) -> Figures:
    """The figures of ``heard``; ``judging`` names the utterances no setting was chosen by."""
    counted = [one.errors for one in heard]
    low, high = interval(counted)
    seconds = sum(one.seconds for one in heard)
    return Figures(
        model=model,
        way=way,
        condition=condition,
        cer=rate(counted),
        low=low,
        high=high,
        cer_judging=rate([one.errors for one in heard if one.name in judging]),
        rtf_cpu=sum(one.cpu_s for one in heard) / seconds,
        rtf_wall=sum(one.wall_s for one in heard) / seconds,
        said=sum(one.said for one in counted),
        heard=tuple(heard),
    )


def measure(model: InstalledModel, scratch: Path, ways: Sequence[str]) -> list[Figures]:
    """``model`` on both sets, in turn through our front and naked."""
    found = []
    for condition in CONDITIONS:
        said = utterances(condition, scratch)
        judging = frozenset(one.name for one in halves(said)[1])
        for way in ways:
            found.append(figures(model.name, way, condition, hear_all(said, _listener(model, way)), judging))
            _show(found[-1])
        both = {one.way: [heard.errors for heard in one.heard] for one in found if one.condition == condition}
        if len(both) == 2:
            low, high = ratio_interval(both["ours"], both["naked"])
            print(f"  ours/naked {rate(both['ours']) / rate(both['naked']):.3f} ({low:.3f} to {high:.3f})", flush=True)
    return found


def inventions(model: InstalledModel, scratch: Path, way: str) -> None:
    """Print in how many of fifty sounds without speech ``model`` writes words."""
    found = []
    for number, clip in enumerate(clips(50, seed=2026)):
        path = scratch / f"nobody-{number}.wav"
        write_wav(path, clip.samples, HZ)
        found.append(Utterance(name=clip.kind, text="", samples=clip.samples, path=path))
    listen = _listener(model, way)
    texts = [(one.name, text) for one in found if (text := listen(one).strip())]
    print(f"{model.name:16} {way:6} text in {len(texts)} of {len(found)} sounds without speech", flush=True)
    for kind, text in texts:
        print(f"    {kind}: {text[:60]}", flush=True)


def _listener(model: InstalledModel, way: str) -> Callable[[Utterance], str]:
    if way == "naked":
        hear = naked(model)
        return lambda one: hear(one.path)
    engine = load(model, threads=1)
    return lambda one: "".join(piece.text for piece in engine.transcribe(one.samples, HZ))


def _show(one: Figures) -> None:
    print(
        f"{one.model:16} {one.way:6} {one.condition:10} CER {one.cer:6.1%} ({one.low:.1%} to {one.high:.1%}), "
        f"judging half {one.cer_judging:6.1%}, RTF {one.rtf_cpu:.2f} (clock {one.rtf_wall:.2f})",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=_ROOT / "build" / "models")
    parser.add_argument("--model", action="append", default=[], help="only this one; may be repeated")
    parser.add_argument("--way", action="append", choices=("ours", "naked"), default=[])
    parser.add_argument("--texts", action="store_true", help="print what was heard")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if not options.model:
        models.fetch("whisper-base", options.models)
    out = _ROOT / "build" / "bench"
    found: list[Figures] = []
    for model in models.installed(options.models):
        if not options.model or model.name in options.model:
            found += measure(model, out / "speech", options.way or ("naked", "ours"))
            for way in options.way or ("naked", "ours"):
                inventions(model, out / "speech", way)
    (out / "speech.json").write_text(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=1))
    if options.texts:
        for figure in found:
            for one in figure.heard:
                print(f"{figure.condition} {figure.way} {one.errors.wrong}/{one.errors.said} {one.said} | {one.heard}")


if __name__ == "__main__":
    main()
