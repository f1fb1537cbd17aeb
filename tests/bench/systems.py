"""The three systems of the signalling bench, each a program of its own that hands every call on to one phone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import closing
from pathlib import Path

from sqlalchemy import select

from duty.store.database import Store
from duty.store.tables import CallRow
from tests.line.desk import Desk
from tests.line.service import Line, Service, ask, options
from tests.peers.ports import free_port
from tests.peers.sipp import Sipp

HOST = "127.0.0.1"
PEERS = Path("build/peers")
LINES = 10
"""Lines of the service, since a line takes a hundred calls at once; the peers take any number."""
RTP_PORTS = (10_000, 19_999)
"""Four a call, until its recording is sealed; below those that ``free_port`` gives."""
_START_LIMIT_S = 30.0
_BOOK_LIMIT_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


class System(ABC):
    """A system under test, from ``start`` to ``stop``; ``numbers`` are what callers may dial."""

    name: str
    numbers: tuple[str, ...] = ("8001",)

    def __init__(self, work: Path, phone_port: int) -> None:
        self.work, self.phone_port = work, phone_port
        work.mkdir(parents=True)
        self.port = free_port()

    @abstractmethod
    def start(self) -> None:
        """Return when it takes calls."""

    @abstractmethod
    def stop(self) -> None:
        """End it."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """Its first process; those that it began count as its own too."""

    def booked(self, calls: int) -> tuple[int, float]:
        """Of ``calls`` calls, how many stand in its book as answered and ended, and after how many s they did."""
        return 0, 0.0

    def cpu_s(self) -> float:
        """Processor time of all its processes so far."""
        return sum(sum(map(int, _stat(pid)[11:15])) / _TICKS for pid in self._pids())

    def memory_mib(self) -> float:
        """Resident memory of all its processes now."""
        page = os.sysconf("SC_PAGE_SIZE")
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in self._pids()) / 2**20

    def _pids(self) -> list[int]:
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        return found


class Dutyline(System):
    """The telephony process as in production: SQLite synced at every commit, media ports and a recording for each
    call."""

    name = "dutyline"
    numbers = tuple(f"0371225900{number:02}" for number in range(1, LINES + 1))

    def __init__(self, work: Path, phone_port: int) -> None:
        super().__init__(work, phone_port)
        self._lines = tuple(
            Line(number=number, phones=(f"10{place:02}",), max_calls=100) for place, number in enumerate(self.numbers)
        )
        self._service = Service(work / "service", self._lines, port=self.port, rtp=RTP_PORTS)

    def start(self) -> None:
        """Start, and register a phone for each line."""
        self._service.start()
        desk = Desk(self._service, Sipp(self.work))
        for line in self._lines:
            desk.register(line.phones[0], self.phone_port)

    def stop(self) -> None:
        """End it."""
        self._service.end()

    @property
    def pid(self) -> int:
        """The telephony process."""
        return self._service.pid()

    def booked(self, calls: int) -> tuple[int, float]:
        """Waits until all are there, but not for ever."""
        began = time.monotonic()
        with closing(Store(self._service.settings.store_url)) as store:
            while True:
                with store.reading() as session:
                    rows = session.execute(select(CallRow.caller_number, CallRow.state, CallRow.outcome)).all()
                whole = Counter(number for number, state, outcome in rows if (state, outcome) == ("ended", "answered"))
                passed = time.monotonic() - began
                if len(whole) >= calls or passed > _BOOK_LIMIT_S:
                    return sum(times == 1 for times in whole.values()), passed
                time.sleep(0.05)


class _Program(System):
    """A peer: one program in the foreground, without a record of calls and without media."""

    def start(self) -> None:
        """Start and wait until the port is open."""
        with (self.work / "output.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(), stdout=log, stderr=log, env=os.environ | {"SIPLOG_BEND": "none"}
            )
        deadline = time.monotonic() + _START_LIMIT_S
        while not ask((HOST, self.port), options((HOST, self.port)), timeout_s=0.2):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not start: {(self.work / 'output.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """Its only process."""
        return self._process.pid

    def _command(self) -> list[str]:
        raise NotImplementedError


class Sippy(_Program):
    """sippy 2.5's own ``b2bua_simple``, its log switched off."""

    name = "sippy"

    def _command(self) -> list[str]:
        script, phone = str(PEERS / "bin" / "b2bua_simple"), f"{HOST}:{self.phone_port}"
        return [_python(), script, "-f", "-l", HOST, "-p", str(self.port), "-n", phone]


class Aiosipua(_Program):
    """The plain B2BUA on aiosipua 0.7 beside this module."""

    name = "aiosipua"

    def _command(self) -> list[str]:
        script = Path(__file__).with_name("aiosipua_b2bua.py")
        return [_python(), str(script), HOST, str(self.port), HOST, str(self.phone_port)]


SYSTEMS: dict[str, type[System]] = {kind.name: kind for kind in (Dutyline, Sippy, Aiosipua)}


def install_peers() -> None:
    """Have the peers in ``build/peers``; nothing happens where they are there."""
    subprocess.run(["scripts/bench_peers.sh", str(PEERS), sys.executable], check=True)


def _python() -> str:
    return str(PEERS / "bin" / "python")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
