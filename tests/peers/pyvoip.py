"""pyVoIP 1.6.8 as a caller, in a process of its own that is killed when its time is over: pyVoIP waits without limits.

It must register before it calls, knows no hold and no CANCEL, sends no keys, and says 8-bit linear audio.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np

from tests.peers.audio import Samples, decode_alaw
from tests.peers.ports import Address, free_block, free_port
from tests.peers.programs import missing

_ROOT = Path(__file__).parents[2]
_LIMIT_S = 20.0


class PyvoipError(AssertionError):
    """pyVoIP did not do what was asked; the text holds what it said."""


@dataclass(slots=True)
class Pyvoip:
    """One caller registered at ``server``; a context manager."""

    work: Path
    server: Address
    user: str
    password: str
    host: str = "127.0.0.1"
    port: int = 0
    _process: subprocess.Popen[bytes] = field(init=False, repr=False)

    def __enter__(self) -> Pyvoip:
        """Registers. Raises PyvoipError."""
        if importlib.util.find_spec("pyVoIP") is None:
            missing("pyVoIP is missing: pip install pyVoIP==1.6.8")
        self.work.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port(self.host)
        with (self.work / "pyvoip.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "tests.peers.pyvoip_agent"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=_ROOT,
                env=os.environ | {"PYTHONPATH": str(_ROOT)},
            )
        try:
            self._order(
                "REGISTERED",
                order="register",
                host=self.server[0],
                port=self.server[1],
                user=self.user,
                password=self.password,
                local=self.host,
                sip_port=self.port,
                rtp_port=free_block(22, self.host),
            )
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def dial(self, number: str) -> None:
        """Calls a number of the server's."""
        self._order("dialling", order="dial", number=number)

    def wait_talking(self) -> None:
        """Until it is answered."""
        self._order("ANSWERED", order="wait", state="ANSWERED")

    def wait_over(self) -> None:
        """Until it has noticed that the other side hung up."""
        self._order("ENDED", order="wait", state="ENDED")

    def state(self) -> str:
        """The name of the state in which pyVoIP sees its call."""
        return self._order("state", order="state")["name"]

    def say(self, samples: Samples) -> None:
        """Says it; returns at once."""
        rounded = np.clip((samples.astype(np.int32) + 128) >> 8, -128, 127)
        linear8 = (rounded + 128).astype(np.uint8).tobytes()
        self._order("saying", order="say", linear8=linear8.hex())

    def hangup(self) -> None:
        self._order("hung up", order="hangup")

    def heard(self) -> tuple[Samples, str]:
        """What it heard, 8 kHz, and the keys that the other side pressed."""
        told = self._order("heard", order="heard")
        return decode_alaw(bytes.fromhex(told["alaw"])), told["keys"]

    def stop(self) -> None:
        """SIGKILL: pyVoIP has threads that end in no other way."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _order(self, awaited: str, **order: str | int) -> dict[str, str]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        told = self._next()
        if told["event"] != awaited:
            raise PyvoipError(f"{order['order']}: {told}\n{self._log()}")
        return told

    def _next(self) -> dict[str, str]:
        stdout = self._process.stdout
        assert stdout is not None
        deadline, line = time.monotonic() + _LIMIT_S, b""
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise PyvoipError(f"pyVoIP is silent\n{self._log()}")
            chunk = os.read(stdout.fileno(), 65536)
            if not chunk:
                raise PyvoipError(f"pyVoIP is gone\n{self._log()}")
            line += chunk
        told: dict[str, str] = json.loads(line)
        return told

    def _log(self) -> str:
        return (self.work / "pyvoip.log").read_text(encoding="utf-8", errors="replace")[-2000:]
