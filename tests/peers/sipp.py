"""Runs SIPp 3.6 on the scenarios beside this file and tells what happened on the wire.

Values in a scenario are written ``{{name}}`` (must be given) or ``{{name=default}}`` and filled in before SIPp sees it:
unlike SIPp's own ``-key`` and ``-set`` this reaches attributes too (the expected response, a pause), and a name that is
missing or unknown is an error instead of an empty string.
"""

from __future__ import annotations

import asyncio
import csv
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from tests.peers.audio import RATE_HZ
from tests.peers.ports import Address, free_block, free_port
from tests.peers.programs import require
from tests.peers.sip_trace import SipMessage, parse_trace

SCENARIOS = Path(__file__).parent / "scenarios"
_MEDIA_PORTS = 8  # -mp, the second echo port at +2, their RTCP, and room when a closing call still holds one
_AFTER_UTTERANCE_MS = 300
_VALUE = re.compile(r"\{\{(\w+)(?:=([^}]*))?\}\}")


class SippError(AssertionError):
    """A scenario that did not go as written; the text holds SIPp's errors and the messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SippResult:
    """How a run ended. ``exit_code``: 0 all calls as written, 1 a call failed, 97 stopped, 99 no call, 255 fatal (or
    -timeout reached); negative: ended by that signal. ``statistics`` is the last line of SIPp's counters."""

    scenario: str
    exit_code: int
    messages: tuple[SipMessage, ...]
    errors: str
    statistics: Mapping[str, str]
    screen: str

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def received(self) -> list[str]:
        """What came in, in order: "180", "200", "BYE" …"""
        return [_label(message) for message in self.messages if message.direction == "received"]

    @property
    def sent(self) -> list[str]:
        return [_label(message) for message in self.messages if message.direction == "sent"]

    def check(self) -> SippResult:
        """Itself. Raises SippError unless every call went as the scenario says."""
        if self.ok:
            return self
        arrows = {"sent": "-->", "received": "<--"}
        ladder = "\n".join(f"{m.at} {arrows[m.direction]} {m.start_line}" for m in self.messages)
        detail = self.errors or (self.screen[-1500:] if not self.messages else "")
        raise SippError(f"{self.scenario}: SIPp ended with {self.exit_code}\n{detail}\n{ladder}")


def _label(message: SipMessage) -> str:
    return str(message.status or message.method)


def fill(template: str, values: Mapping[str, str | int], *, name: str = "scenario") -> str:
    """``template`` with its ``{{name}}`` and ``{{name=default}}`` replaced; a value given applies to every place.

    Raises ValueError for a value without a place and for a place without a value."""
    places: dict[str, bool] = {}
    for found in _VALUE.finditer(template):
        places[found[1]] = places.get(found[1], False) or found[2] is None
    if unknown := set(values) - set(places):
        raise ValueError(f"{name} has no place for {', '.join(sorted(unknown))}; it has {', '.join(sorted(places))}")
    if missing := {place for place, needed in places.items() if needed} - set(values):
        raise ValueError(f"{name} needs {', '.join(sorted(missing))}")
    return _VALUE.sub(lambda found: str(values.get(found[1], found[2])), template)


class SippRun:
    """A SIPp process that runs; a context manager that ends it. Made by ``Sipp.start``."""

    def __init__(
        self,
        *,
        scenario: str,
        command: list[str],
        folder: Path,
        address: Address,
        media_port: int,
        timeout_s: float,
    ):
        self.scenario = scenario
        self.host, self.port = address
        self.media_port = media_port
        self.folder = folder
        self._timeout_s = timeout_s
        with (folder / "screen.log").open("wb") as screen:
            self._process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=screen, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> SippRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> Address:
        """Where this SIPp sends from and listens."""
        return self.host, self.port

    def messages(self) -> tuple[SipMessage, ...]:
        """What went over the wire so far."""
        return parse_trace(self._read("messages.log"))

    def wait_for_message(self, wanted: Callable[[SipMessage], bool], timeout_s: float = 10.0) -> SipMessage:
        """The first message for which ``wanted`` is true, past or to come. Raises SippError when none comes."""
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self._process.poll() is not None
            for message in self.messages():
                if wanted(message):
                    return message
            if ended or time.monotonic() > deadline:
                raise SippError(f"{self.scenario}: the awaited message did not come; {self.collect().received}")
            time.sleep(0.01)

    def wait_for_audio_address(self, timeout_s: float = 10.0) -> Address:
        """Where the other side's SDP wants its audio, as soon as it has come."""
        message = self.wait_for_message(
            lambda one: one.direction == "received" and one.audio_address is not None, timeout_s
        )
        assert message.audio_address is not None
        return message.audio_address

    def wait(self) -> SippResult:
        """Waits for the end, bounded by the run's own timeout and 5 s; a SIPp that hangs longer is killed."""
        try:
            self._process.wait(self._timeout_s + 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self.collect()

    async def finished(self) -> SippResult:
        """As ``wait``, for a test whose event loop must go on meanwhile."""
        return await asyncio.to_thread(self.wait)

    def stop(self) -> None:
        """Ends the process now, if it still runs."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP: the peer's port stays open, and nothing is answered any more."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """SIGKILL: the peer vanishes without a word."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def collect(self) -> SippResult:
        """The result so far; ``exit_code`` is 99 while SIPp still runs."""
        code = self._process.poll()
        return SippResult(
            scenario=self.scenario,
            exit_code=99 if code is None else code,
            messages=self.messages(),
            errors=self._read("errors.log").decode("utf-8", "replace"),
            statistics=_last_row(self._read("statistics.csv").decode("utf-8", "replace")),
            screen=self._read("screen.log").decode("utf-8", "replace"),
        )

    def wait_until_listening(self) -> None:
        """Waits until the SIP port is open. Raises SippError when SIPp ended before."""
        wanted = f"{int.from_bytes(_ip_bytes(self.host), 'little'):08X}:{self.port:04X}"
        deadline = time.monotonic() + 5
        while not any(wanted in Path(f"/proc/net/{table}").read_text(encoding="ascii") for table in ("udp", "tcp")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SippError(f"{self.scenario}: SIPp does not listen\n{self._read('screen.log').decode()[-1500:]}")
            time.sleep(0.01)

    def _read(self, name: str) -> bytes:
        path = self.folder / name
        return path.read_bytes() if path.exists() else b""


def _ip_bytes(host: str) -> bytes:
    return bytes(int(part) for part in host.split("."))


def _last_row(text: str) -> Mapping[str, str]:
    rows = list(csv.DictReader(text.splitlines(), delimiter=";"))
    return {key: value for key, value in rows[-1].items() if key and isinstance(value, str)} if rows else {}


@dataclass(slots=True)
class Sipp:
    """Starts SIPp runs whose files are kept under ``work`` and ends them all in ``close``."""

    work: Path
    _runs: list[SippRun]

    def __init__(self, work: Path) -> None:
        self.work = work
        self._runs = []

    def start(
        self,
        scenario: str,
        *,
        remote: Address | None = None,
        values: Mapping[str, str | int] | None = None,
        audio: bytes | None = None,
        pcap: Path | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
        transport: Literal["udp", "tcp"] = "udp",
        calls: int = 1,
        calls_per_s: int = 10,
        echo: bool = False,
        auth_uri: str | None = None,
        timeout_s: int = 30,
        scenarios: Path = SCENARIOS,
    ) -> SippRun:
        """Runs ``scenarios/<scenario>.xml`` for ``calls`` calls, at most ``timeout_s`` seconds, and returns at once
        (a scenario that waits for calls, without ``remote``, is listening by then).

        ``audio``: A-law bytes in whole frames that the scenario's ``rtp_stream`` says; ``talk_ms`` is set to their
        length and 300 ms unless given. ``pcap``: for ``play_pcap_audio``. ``auth_uri``: digest-uri of the credentials
        without ``sip:``, by default the remote address. Raises ValueError for a value, audio or pcap that is missing
        or that the scenario has no place for."""
        template = (scenarios / f"{scenario}.xml").read_text(encoding="utf-8")
        if audio and calls > 1:
            raise ValueError("SIPp 3.6 sends the audio of all its calls from one RTP port: start one SIPp for one call")
        chosen = dict(values or {})
        folder = self._folder(scenario)
        _put_media(template, folder, audio=audio, pcap=pcap)
        if audio and "{{talk_ms}}" in template:
            chosen.setdefault("talk_ms", len(audio) * 1000 // RATE_HZ + _AFTER_UTTERANCE_MS)
        (folder / "scenario.xml").write_text(fill(template, chosen, name=scenario), encoding="utf-8")
        address, media_port = (host, port or free_port(host)), free_block(_MEDIA_PORTS, host)
        command = _command(address, media_port, transport=transport, calls=calls, rate=calls_per_s, timeout_s=timeout_s)
        command += ["-rtp_echo"] if echo else []
        command += ["-auth_uri", auth_uri] if auth_uri else []
        command += [f"{remote[0]}:{remote[1]}"] if remote else []
        run = SippRun(
            scenario=scenario,
            command=command,
            folder=folder,
            address=address,
            media_port=media_port,
            timeout_s=timeout_s,
        )
        self._runs.append(run)
        if remote is None:
            run.wait_until_listening()
        return run

    def close(self) -> None:
        """Ends every run that still goes on."""
        for run in self._runs:
            run.stop()

    def _folder(self, scenario: str) -> Path:
        folder = self.work / f"sipp-{len(self._runs)}-{scenario}"
        folder.mkdir(parents=True)
        return folder


def _put_media(template: str, folder: Path, *, audio: bytes | None, pcap: Path | None) -> None:
    for name, content in (("audio.alaw", audio), ("audio.pcap", pcap.read_bytes() if pcap else None)):
        if (f'"{name}' in template) != (content is not None):
            raise ValueError(f"{name} is {'missing' if content is None else 'not played by this scenario'}")
        if content is not None:
            (folder / name).write_bytes(content)


def _command(address: Address, media_port: int, *, transport: str, calls: int, rate: int, timeout_s: int) -> list[str]:
    host, port = address
    options = {
        "-sf": "scenario.xml",
        "-i": host,
        "-p": port,
        "-mi": host,
        "-mp": media_port,
        "-t": {"udp": "u1", "tcp": "t1"}[transport],
        "-m": calls,
        "-l": calls,
        "-r": rate,
        "-timeout": timeout_s,
        "-ci": host,
        "-cp": free_port(host),
        "-message_file": "messages.log",
        "-error_file": "errors.log",
        "-stf": "statistics.csv",
        "-fd": 1,
    }
    flags = ["-bind_local", "-nostdin", "-skip_rlimit", "-timeout_error", "-trace_msg", "-trace_err", "-trace_stat"]
    return [require("sipp"), *(str(part) for option in options.items() for part in option), *flags]
