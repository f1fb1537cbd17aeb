"""Runs sippy 2.5's ``b2bua_simple`` on loopback: a carrier's back-to-back user agent that passes every call on to one
next hop. It leaves the audio to its parties.

sippy is installed by ``scripts/interop_venv.sh`` into an environment of its own and never imported here.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.peers.ports import Address, free_port
from tests.peers.programs import missing

PROGRAM = Path(__file__).parents[2] / "build" / "interop-venv" / "bin" / "b2bua_simple"
_START_LIMIT_S = 10.0


class SippyError(AssertionError):
    """sippy did not start; the text holds its output."""


@dataclass(slots=True)
class Sippy:
    """One back-to-back user agent; a context manager. Every call goes on to ``next_hop``."""

    work: Path
    next_hop: Address
    host: str = "127.0.0.4"
    port: int = 0
    _process: subprocess.Popen[bytes] = field(init=False, repr=False)

    def __enter__(self) -> Sippy:
        """Raises SippyError."""
        if not PROGRAM.exists():
            missing("sippy is missing: scripts/interop_venv.sh .venv/bin/python build/interop-venv")
        self.port = self.port or free_port(self.host)
        self.work.mkdir(parents=True, exist_ok=True)
        hop = f"{self.next_hop[0]}:{self.next_hop[1]}"
        command = [str(PROGRAM), "-f", "-l", self.host, "-p", str(self.port), "-n", hop]
        with (self.work / "sippy.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"SIPLOG_BEND": "stderr", "PATH": "/usr/bin:/bin"},
            )
        self._wait_until_listening()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> Address:
        """Where it listens."""
        return self.host, self.port

    def log(self) -> str:
        """The messages it saw."""
        return (self.work / "sippy.log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Ends it; kills it after 3 s."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _wait_until_listening(self) -> None:
        packed = int.from_bytes(bytes(int(part) for part in self.host.split(".")), "little")
        wanted = f"{packed:08X}:{self.port:04X}"
        deadline = time.monotonic() + _START_LIMIT_S
        while wanted not in Path("/proc/net/udp").read_text(encoding="ascii"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SippyError(f"sippy does not listen\n{self.log()[-3000:]}")
            time.sleep(0.02)
