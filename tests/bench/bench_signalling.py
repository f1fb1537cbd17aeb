"""Call set-ups per second without a failed call, and the delay that each system adds, ours and two peers side by side.

``python -m tests.bench.bench_signalling`` prints a table and writes build/bench/signalling.json; ``--help`` tells the
rest. SIPp calls and SIPp is the phone, both with the same scenarios, rates and durations for every system. At each rate
all systems take their turn, in the opposite order the next time, each freshly started; a system is dropped once it has
failed at ``--patience`` rates. A call has failed when SIPp says so: an unexpected answer, or none within 5 s.
Retransmissions are no failure; they are counted. Ours must besides have every call in its database, answered and ended.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.invite_capture import InviteCapture
from tests.bench.systems import HOST, SYSTEMS, System, install_peers
from tests.peers.ports import free_port
from tests.peers.programs import require
from tests.peers.sipp import fill

RING_MS, TALK_MS = 100, 100
ANSWER_LIMIT_MS = 5_000
RATES = (25, 50, 75, 100, 125, 150, 175, 200, 225, 250, 275, 300, 350, 400, 450, 500)
_SCENARIOS = Path(__file__).with_name("scenarios")
_SETTLE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run. Delays are ms from INVITE in to INVITE out; ``again`` counts the callers' and the phone's
    retransmissions; ``core`` is the system's processor time over the time in which calls began and ended (1.0 is one
    core), ``ms_cpu`` the same per call; ``booked`` the calls in the system's own book, all there ``book_s`` after the
    last call ended."""

    system: str
    rate: int
    calls: int
    ended: int
    failed: int
    again: int
    booked: int
    book_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    core: float
    ms_cpu: float
    memory_mib: float
    load: float

    @property
    def whole(self) -> bool:
        """Whether no call failed, and all are in the book of the system that has one."""
        return (
            self.failed == 0 and self.ended == self.calls and (self.system != "dutyline" or self.booked == self.calls)
        )


def measure(kind: type[System], *, rate: int, seconds: float, work: Path) -> Figures:
    """One run of a fresh system: ``rate`` calls a second for ``seconds``."""
    calls, phone_port = int(rate * seconds), free_port()
    system = kind(work / "system", phone_port)
    phone = _sipp("phone", work / "phone", phone_port, {"ring_ms": RING_MS}, [])
    try:
        time.sleep(0.3)
        system.start()
        time.sleep(1.0)
        return _load(system, phone_port, rate=rate, calls=calls, work=work)
    finally:
        system.stop()
        phone.terminate()
        phone.wait()


def _load(system: System, phone_port: int, *, rate: int, calls: int, work: Path) -> Figures:
    capture = InviteCapture()
    try:
        cpu, began = system.cpu_s(), time.monotonic()
        numbers = work / "numbers.csv"
        numbers.write_text("SEQUENTIAL\n" + "".join(f"{number};\n" for number in system.numbers))
        remote = [f"{HOST}:{system.port}", "-m", str(calls), "-r", str(rate), "-l", str(calls), "-inf", str(numbers)]
        caller = _sipp("caller", work / "caller", free_port(), {"talk_ms": TALK_MS}, remote)
        try:
            caller.wait(calls / rate + _SETTLE_S)
        except subprocess.TimeoutExpired:
            caller.terminate()
            caller.wait()
        wall = time.monotonic() - began
        booked, book_s = system.booked(calls)
        cpu = system.cpu_s() - cpu
        delays = sorted(capture.delays_ms(system.port, phone_port).values()) or [float("nan")]
    finally:
        capture.close()
    time.sleep(1.1)  # the phone's last line of statistics
    said, heard = _last(work / "caller"), _last(work / "phone")
    return Figures(
        system=system.name,
        rate=rate,
        calls=calls,
        ended=int(said["SuccessfulCall(C)"]),
        failed=int(said["FailedCall(C)"]),
        again=int(said["Retransmissions(C)"]) + int(heard["Retransmissions(C)"]),
        booked=booked,
        book_s=round(book_s, 2),
        p50_ms=_part(delays, 0.5),
        p95_ms=_part(delays, 0.95),
        p99_ms=_part(delays, 0.99),
        max_ms=round(delays[-1], 2),
        core=round(cpu / wall, 3),
        ms_cpu=round(1000 * cpu / calls, 2),
        memory_mib=round(system.memory_mib(), 1),
        load=round(os.getloadavg()[0], 1),
    )


def _sipp(
    scenario: str, work: Path, port: int, values: dict[str, str | int], remote: Sequence[str]
) -> subprocess.Popen[bytes]:
    work.mkdir(parents=True)
    text = (_SCENARIOS / f"{scenario}.xml").read_text(encoding="utf-8")
    (work / "scenario.xml").write_text(fill(text, values, name=scenario), encoding="utf-8")
    command = [
        *(require("sipp"), "-sf", "scenario.xml", "-i", HOST, "-p", str(port), "-t", "u1", "-cp", str(free_port())),
        *("-recv_timeout", str(ANSWER_LIMIT_MS), "-nostdin", "-skip_rlimit", "-buff_size", "4194304"),
        *("-trace_stat", "-stf", "statistics.csv", "-fd", "1", "-trace_err", "-error_file", "errors.log", *remote),
    ]
    with (work / "screen.log").open("wb") as screen:
        return subprocess.Popen(command, cwd=work, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen)


def _last(work: Path) -> dict[str, str]:
    *_, last = csv.DictReader((work / "statistics.csv").read_text().splitlines(), delimiter=";")
    return last


def _part(values: Sequence[float], part: float) -> float:
    return round(values[min(len(values) - 1, int(part * len(values)))], 2)


def climb(
    kinds: Sequence[type[System]], rates: Iterable[int], *, seconds: float, patience: int, work: Path
) -> Iterator[Figures]:
    """All systems at every rate, from the lowest, until each has failed ``patience`` times."""
    missed = dict.fromkeys(kinds, 0)
    for step, rate in enumerate(rates):
        still = [kind for kind in kinds if missed[kind] < patience]
        for kind in still if step % 2 == 0 else reversed(still):
            figures = measure(kind, rate=rate, seconds=seconds, work=work / f"{kind.name}-{rate}")
            missed[kind] += not figures.whole
            yield figures


def highest(runs: Sequence[Figures], system: str) -> int:
    """The highest rate at which no run of ``system`` lost a call, with none lost below it either; 0 for none."""
    rates = sorted({run.rate for run in runs if run.system == system})
    lossless = itertools.takewhile(
        lambda rate: all(run.whole for run in runs if (run.system, run.rate) == (system, rate)), rates
    )
    return max(lossless, default=0)


def _row(run: Figures) -> str:
    verdict = "whole" if run.whole else f"{run.calls - run.ended} lost"
    if run.system == "dutyline" and run.booked != run.calls:
        verdict += f", {run.booked} booked"
    return (
        f"{run.system:9} {run.rate:5}/s {run.calls:6} {verdict:>16} {run.again:6} {run.p50_ms:8.2f} {run.p95_ms:8.2f} "
        f"{run.p99_ms:8.2f} {run.max_ms:8.2f} {100 * run.core:6.1f} {run.ms_cpu:6.2f} {run.memory_mib:7.1f} "
        f"{run.book_s:6.2f} {run.load:5.1f}"
    )


_HEAD = (
    f"{'system':9} {'rate':>7} {'calls':>6} {'':>16} {'again':>6} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} "
    f"{'max ms':>8} {'core %':>6} {'ms CPU':>6} {'MiB':>7} {'book s':>6} {'load':>5}"
)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--rates", nargs="+", type=int, default=RATES, help="calls per second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of calling at each rate")
    parser.add_argument("--rounds", type=int, default=1, help="how often all of it is done")
    parser.add_argument("--patience", type=int, default=2, help="rates with failures after which a system is dropped")
    parser.add_argument("--json", type=Path, default=Path("build/bench/signalling.json"))
    parser.add_argument("--keep", type=Path, help="where the systems' files stay; they are thrown away otherwise")
    options = parser.parse_args()
    if set(options.systems) - {"dutyline"}:
        install_peers()
    kinds, runs = [SYSTEMS[name] for name in options.systems], list[Figures]()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {options.seconds:g} s each"
    )
    print(_HEAD)
    with tempfile.TemporaryDirectory() as thrown_away:
        for turn in range(options.rounds):
            work = (options.keep or Path(thrown_away)).resolve() / f"round-{turn}"
            order = kinds if turn % 2 == 0 else kinds[::-1]
            for run in climb(order, options.rates, seconds=options.seconds, patience=options.patience, work=work):
                runs.append(run)
                print(_row(run), flush=True)
    print("\nhighest rate without a failed call, calls/s:")
    for kind in kinds:
        print(f"{kind.name:9} {highest(runs, kind.name):5}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([asdict(run) for run in runs], indent=1))


if __name__ == "__main__":
    sys.exit(main())
