"""Keeps the four processes running: one that dies is started again and finds its state in the store.

Each child holds the reading end of a pipe whose writing end only the supervisor has; when the supervisor dies in
whatever way, the pipe closes and the child stops too, so that no half of the service is left on the line.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

PROCESSES = ("telephony", "transcription", "web", "custody")
LONGEST_PAUSE_S = 30.0
STEADY_S = 20.0
STOP_LIMIT_S = 12.0


@dataclass(slots=True, kw_only=True)
class Child:
    """One process: when it was started last and how often it died soon after."""

    name: str
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    quick_deaths: int = 0
    due_at: float = 0.0


class Supervisor:
    """Starts, watches and stops the children. ``died`` hears the name and exit status of each that died by itself."""

    def __init__(self, *, config: Path | None, pid_directory: Path, died: Callable[[str, int], None]) -> None:
        self._config = config
        self._pids = pid_directory
        self._died = died
        self._children = [Child(name=name) for name in PROCESSES]
        self._stop = threading.Event()

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        self._pids.mkdir(parents=True, exist_ok=True)
        while not self._stop.is_set():
            for child in self._children:
                self._watch(child)
            self._stop.wait(0.1)
        self._stop_all()

    def _watch(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.due_at:
                self._start(child, now)
            return
        status = child.process.poll()
        if status is None:
            return
        lived = now - child.started_at
        child.quick_deaths = 0 if lived > STEADY_S else child.quick_deaths + 1
        pause = 0.0 if child.quick_deaths <= 1 else min(LONGEST_PAUSE_S, 0.5 * 2**child.quick_deaths)
        child.process, child.due_at = None, now + pause
        _log.error("%s died with status %s after %.1f s; starting it again in %.1f s", child.name, status, lived, pause)
        self._died(child.name, status)

    def _start(self, child: Child, now: float) -> None:
        command = [sys.executable, "-m", "dutyline", "process", child.name]
        if self._config is not None:
            command += ["--config", str(self._config)]
        child.process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 - our own program
        child.started_at = now
        (self._pids / f"{child.name}.pid").write_text(f"{child.process.pid}\n", "ascii")

    def _stop_all(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        limit = time.monotonic() + STOP_LIMIT_S
        for process in running:
            try:
                process.wait(max(0.1, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("process %s does not stop; killed", process.pid)
                process.kill()
        for child in self._children:
            (self._pids / f"{child.name}.pid").unlink(missing_ok=True)


def follow_parent() -> None:
    """In a child: stop like on SIGTERM when the supervisor is gone."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="follow-parent", daemon=True).start()


def pids(directory: Path, names: Sequence[str] = PROCESSES) -> dict[str, int]:
    """Process ids of a running service by name; those that are not running are left out."""
    found = {}
    for name in names:
        file = directory / f"{name}.pid"
        if file.exists():
            found[name] = int(file.read_text("ascii"))
    return found
