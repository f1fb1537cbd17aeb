"""A private instance of the real service for one test module: its own data, free ports, its own process.

``Service`` runs either the telephony process alone (``dutyline process telephony``) or the whole (``dutyline serve``).
Nothing is replaced: SIP and RTP on real sockets, SQLite on a real disk.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

from config.secrets import Secrets
from config.settings import Settings, load
from dutyline.first_start import prepare
from dutyline.supervisor import pids
from tests.peers.ports import Address, free_block, free_port

HOST = "127.0.0.1"
_RTP_PORTS = 100
_SLICES = 8
_START_LIMIT_S = 30.0
_STOP_LIMIT_S = 20.0
_ROOT = Path(__file__).resolve().parents[2]


class _RtpRanges:
    """Ranges of RTP ports for the services of one run, taken as one block while there still is one, and given back."""

    def __init__(self) -> None:
        self._free: list[int] | None = None

    def take(self) -> int:
        """The first of ``_RTP_PORTS`` ports. Raises IndexError when more services run than there are ranges."""
        if self._free is None:
            first = free_block(_RTP_PORTS * _SLICES)
            self._free = [first + index * _RTP_PORTS for index in range(_SLICES)]
        return self._free.pop(0)

    def give_back(self, first: int) -> None:
        """The service that had it is gone."""
        if self._free is not None:
            self._free.append(first)


_ranges = _RtpRanges()


class ServiceError(AssertionError):
    """The service did not start or stop; the text holds the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trunk:
    """The PBX of a line, as the settings name it, or several: addresses or SIP URIs. No OPTIONS are sent unless asked
    for, since a scripted PBX expects none."""

    registrar: Address | tuple[Address | str, ...]
    username: str = ""
    password: str = ""
    keep_alive_s: float = 0.0

    def toml(self) -> list[str]:
        """Its part of a settings file."""
        given = self.registrar
        several = [given] if isinstance(given[-1], int) else given
        uris = [each if isinstance(each, str) else f"sip:{each[0]}:{each[1]}" for each in several]
        account = {"username": self.username, "password": self.password, "keep_alive_seconds": self.keep_alive_s}
        return ["[lines.trunk]", f"registrar = {json.dumps(uris)}", *_pairs(account)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The account from which the line's probe dials."""

    server: Address
    caller_number: str
    username: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Siprec:
    """Who may fork the line's calls to the service, and what they call the line."""

    peers: tuple[str, ...]
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line as a test wants it; see the settings for what each value means. ``encryption`` is that of the phones'
    and the trunk's side."""

    number: str
    phones: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    max_calls: int = 2
    when_busy: Literal["queue", "busy"] = "queue"
    ring_seconds: float = 20.0
    no_answer: Literal["announcement", "hangup"] = "announcement"
    announcement: Path | None = None
    trunk: Trunk | None = None
    probe: Probe | None = None
    siprec: Siprec | None = None
    encryption: tuple[str, str] = ("optional", "optional")
    keys_without_tls: tuple[str, ...] = ()

    def toml(self) -> str:
        """The line's part of a settings file."""
        values: dict[str, str | int | float] = {
            "number": self.number,
            "name": "值班专线",
            "unit": "LT",
            "max_calls": self.max_calls,
            "when_busy": self.when_busy,
            "ring_seconds": self.ring_seconds,
            "no_answer": self.no_answer,
            "announcement": str(self.announcement or ""),
        }
        parts = ["[[lines]]", *_pairs(values)]
        if not self.phones:
            parts.append("phones = []")
        if self.trunk is not None:
            parts += self.trunk.toml()
        if self.probe is not None:
            host, port = self.probe.server
            shown = {"caller_number": self.probe.caller_number, "username": self.probe.username}
            account = {"server": f"sip:{host}:{port}", **shown, "password": self.probe.password}
            parts += ["[lines.probe]", *_pairs(account)]
        if self.siprec is not None:
            parts += ["[lines.siprec]", f"peers = {json.dumps(self.siprec.peers)}"]
            parts.append(f"numbers = {json.dumps(self.siprec.numbers)}")
        phones, trunk = self.encryption
        parts += ["[lines.media_encryption]", *_pairs({"phones": phones, "trunk": trunk})]
        parts.append(f"keys_without_tls = {json.dumps(self.keys_without_tls)}")
        for extension in self.phones:
            parts += ["[[lines.phones]]", *_pairs({"extension": extension}), f"networks = {json.dumps(self.networks)}"]
        return "\n".join(parts) + "\n"


def _pairs(values: dict[str, str | int | float]) -> list[str]:
    return [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]


@dataclass(slots=True)
class Service:
    """One instance below ``root``; a context manager that starts and stops it. ``whole`` runs all four processes;
    ``data_on`` is a folder, perhaps a disk of its own, that takes the data; ``rtp`` its first and last RTP port, where
    it needs more than the rest."""

    root: Path
    lines: tuple[Line, ...]
    whole: bool = False
    models: Path | None = None
    data_on: Path | None = None
    engine: str = "auto"
    agent: str = "softphone"
    rtp: tuple[int, int] | None = None
    port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    settings: Settings = field(init=False)
    secrets: Secrets = field(init=False)
    _taken: int | None = field(default=None, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        if self.rtp is None:
            self._taken = _ranges.take()
            self.rtp = (self._taken, self._taken + _RTP_PORTS - 1)
        data = self.root / "data"
        file = self.root / "settings.toml"
        parts = [
            *("[data]", *_pairs({"dir": str(data)})),
            *("[web]", *_pairs({"port": self.web_port})),
            *("[sip]", *_pairs({"host": HOST, "port": self.port})),
            'digest_algorithms = ["MD5"]',
            *_pairs({"rtp_first_port": self.rtp[0], "rtp_last_port": self.rtp[1]}),
            *("[checks]", *_pairs({"line_checks_per_day": 0, "spot_checks_per_day": 0, "ring_seconds": 3})),
            *_pairs({"spot_ring_seconds": 5, "agent": self.agent}),
            *("[transcription]", *_pairs({"engine": self.engine, "threads": 2})),
        ]
        file.write_text("\n".join(parts) + "\n" + "\n".join(line.toml() for line in self.lines), encoding="utf-8")
        self.settings = load(file)
        if self.data_on is None:
            data.mkdir(parents=True, exist_ok=True)
        else:
            data.symlink_to(self.data_on)
        if self.models is not None:
            (data / "models").symlink_to(self.models)
        self.secrets = prepare(self.settings).secrets

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        if self._taken is not None:
            _ranges.give_back(self._taken)

    @property
    def address(self) -> Address:
        """Where the line listens."""
        return HOST, self.port

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.settings.data.dir

    def password(self, extension: str) -> str:
        """What a desk phone registers with."""
        return self.secrets.phone_password(self.settings, extension)

    def start(self) -> None:
        """Start and wait until the line answers OPTIONS. Raises ServiceError."""
        self.launch()
        self.wait(self.answers, "the line does not answer OPTIONS", _START_LIMIT_S)

    def launch(self) -> None:
        """Start and wait for nothing."""
        command = ["serve"] if self.whole else ["process", "telephony"]
        with (self.root / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dutyline", *command, "--config", str(self.root / "settings.toml")],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=_ROOT,
                env=os.environ | {"PYTHONPATH": str(_ROOT)},
            )

    @property
    def first_pid(self) -> int:
        """The process id of what was started: the supervisor of the whole service, or telephony alone."""
        return self._running.pid

    @property
    def running(self) -> bool:
        """Whether it was started and is not ended, by whatever."""
        return self._process is not None and self._process.poll() is None

    def answers(self) -> bool:
        """Whether the line answers OPTIONS now."""
        return b"SIP/2.0 200" in ask(self.address, options(self.address), timeout_s=0.2)

    def pid(self, name: str = "telephony") -> int:
        """The process id of one of the service's processes."""
        if not self.whole:
            return self._running.pid
        return pids(self.data / "run").get(name, 0)

    def kill(self, name: str = "telephony") -> int:
        """SIGKILL one process; its id."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        if not self.whole:
            self._running.wait()
            self.end()
        return pid

    def stop(self) -> int:
        """SIGTERM; the exit status. Raises ServiceError when it does not end in time."""
        process = self._running
        process.terminate()
        try:
            status = process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.end()
            raise ServiceError(f"the service does not stop\n{self.log()[-3000:]}") from None
        self.end()
        return status

    def end(self) -> None:
        """Make sure that nothing of it runs any more; a telephony process that was never asked to stop is asked."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdin is not None:
            process.stdin.close()

    def wait(self, done: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
        """Wait until ``done``. Raises ServiceError with ``what`` and the log when it does not come."""
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline or self._running.poll() is not None:
                raise ServiceError(f"{what}\n{self.log()[-3000:]}")
            time.sleep(0.03)

    def log(self) -> str:
        """What the service said."""
        file = self.root / "service.log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServiceError("the service is not started")
        return self._process


def options(to: Address) -> bytes:
    """An OPTIONS request as a PBX sends it to see whether we live (RFC 3261 11)."""
    unique = os.urandom(6).hex()
    return (
        f"OPTIONS sip:{to[0]}:{to[1]} SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{unique};rport\r\n"
        "Max-Forwards: 70\r\n"
        f"From: <sip:probe@127.0.0.1>;tag={unique}\r\n"
        f"To: <sip:{to[0]}:{to[1]}>\r\n"
        f"Call-ID: {unique}\r\n"
        "CSeq: 1 OPTIONS\r\n"
        "Content-Length: 0\r\n\r\n"
    ).encode()


def ask(to: Address, datagram: bytes, *, timeout_s: float) -> bytes:
    """The first datagram that comes back; empty when none does in time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        probe.settimeout(timeout_s)
        probe.sendto(datagram, to)
        try:
            return probe.recv(65535)
        except OSError:
            return b""


def ask_console(service: Service) -> int:
    """The status of the console's sign-in page; 0 while nobody answers."""
    connection = http.client.HTTPConnection(HOST, service.web_port, timeout=2.0)
    try:
        connection.request("GET", "/sign-in")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
    return status
