"""Runs baresip 1.0 as a softphone on loopback, without sound hardware, steered over its ctrl_tcp socket.

What it says comes from a WAV (aufile; Debian's ausine only does 48 kHz); what it hears and says is written as
WAV (sndfile). The player is ``aubridge``: a device of its own that takes the decoded audio at the pace of a sound
card and drops it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np

from tests.peers.audio import RATE_HZ, Samples, read_wav, write_wav
from tests.peers.ports import Address, free_block, free_port
from tests.peers.programs import missing, require

_MODULES = ("g711.so", "aufile.so", "aubridge.so", "sndfile.so", "menu.so", "ctrl_tcp.so", "account.so")
_MODULE_FOLDERS = (Path("/usr/lib/baresip/modules"), Path("/usr/local/lib/baresip/modules"))
_RTP_PORTS = 40
_SILENCE_AFTER_SOURCE_S = 120  # baresip ends the call at the end of the file


class BaresipError(AssertionError):
    """baresip did not do what was asked; the text holds its last output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaresipAccount:
    """``registrar`` is also where calls go. ``expires_s`` 0: no registration. ``answer`` "auto" answers at once.
    ``encryption``: keys beside plain RTP, or RTP/SAVP and nothing else."""

    user: str
    registrar: Address
    password: str = ""
    auth_user: str | None = None
    expires_s: int = 0
    answer: Literal["manual", "auto"] = "manual"
    transport: Literal["udp", "tcp", "tls"] = "udp"
    codecs: tuple[str, ...] = ("PCMA",)
    encryption: Literal["", "srtp", "srtp-mand"] = ""
    digits: Literal["rtp", "info"] = "rtp"

    @property
    def modules(self) -> tuple[str, ...]:
        """What baresip must load."""
        return (*_MODULES, *(["g722.so"] if "G722" in self.codecs else []), *(["srtp.so"] if self.encryption else []))

    @property
    def aor(self) -> str:
        host, port = self.registrar
        return f"sip:{self.user}@{host}:{port}"

    def line(self) -> str:
        """The account as baresip's ``accounts`` file writes it."""
        parameters = {
            "auth_user": self.auth_user or self.user,
            "auth_pass": self.password,
            "regint": self.expires_s,
            "answermode": self.answer,
            "audio_codecs": ",".join("G722/16000/1" if name == "G722" else name for name in self.codecs),
            "mediaenc": self.encryption,
            "ptime": 20,
            "dtmfmode": {"rtp": "rtpevent", "info": "info"}[self.digits],
        }
        given = (f"{name}={value}" for name, value in parameters.items() if value != "")
        return ";".join((f"<{self.aor};transport={self.transport}>", *given))


@dataclass(frozen=True, slots=True, kw_only=True)
class BaresipEvent:
    """An event of baresip's: REGISTER_OK, REGISTER_FAIL, UNREGISTERING, CALL_INCOMING, CALL_RINGING, CALL_PROGRESS,
    CALL_ESTABLISHED, CALL_RTPESTAB, CALL_CLOSED …; ``parameter`` is e.g. the reason of the end."""

    type: str
    parameter: str
    fields: dict[str, object]


@dataclass(slots=True)
class Baresip:
    """One softphone; a context manager. ``source``: a mono 8 kHz 16-bit WAV to say in each call, followed by two
    minutes of silence, because baresip hangs up at the end of a file; None: silence only. ``work`` keeps the files;
    ``trace`` has its output hold every SIP message."""

    work: Path
    account: BaresipAccount
    source: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    rtcp_mux: bool = False
    trace: bool = False
    events: list[BaresipEvent] = field(default_factory=list)
    _process: subprocess.Popen[bytes] = field(init=False, repr=False)
    _control: socket.socket = field(init=False, repr=False)
    _reader: threading.Thread = field(init=False, repr=False)
    _answers: dict[str, tuple[bool, str]] = field(default_factory=dict, init=False, repr=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False, repr=False)
    _tokens: int = field(default=0, init=False, repr=False)

    def __enter__(self) -> Baresip:
        """Starts baresip and adds the account (which registers if it should). Raises BaresipError."""
        program = require("baresip")
        self.port = self.port or free_port(self.host)
        control_port = free_port(self.host)
        self._write_files(control_port)
        with (self.work / "output.log").open("wb") as output:
            arguments = [program, "-f", str(self.work), "-v", *(["-s"] if self.trace else [])]
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            self._control = self._connect((self.host, control_port))
        except BaseException:
            self._end_process()
            raise
        self._reader = threading.Thread(target=self._read, name=f"baresip-{self.port}", daemon=True)
        self._reader.start()
        # The account comes after the connection, else its first registration would be over before anybody listens.
        self.command("uanew", self.account.line())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> Address:
        """Where it speaks SIP."""
        return self.host, self.port

    @property
    def uri(self) -> str:
        """How to call it directly, without a registrar."""
        return f"sip:{self.account.user}@{self.host}:{self.port}"

    def command(self, name: str, params: str = "") -> str:
        """baresip's answer to a long command (``help`` lists them). Raises BaresipError when it fails or is silent."""
        self._tokens += 1
        token = str(self._tokens)
        request = {"command": name, "token": token} | ({"params": params} if params else {})
        body = json.dumps(request).encode()
        self._control.sendall(b"%d:%s," % (len(body), body))
        if not self._wait(lambda: token in self._answers, 5.0):
            raise BaresipError(f"no answer to {name}\n{self.output()[-2000:]}")
        ok, data = self._answers[token]
        if not ok:
            raise BaresipError(f"{name} failed: {data}\n{self.output()[-2000:]}")
        return data

    def dial(self, uri: str) -> None:
        """Calls ``uri``; the outcome comes as an event."""
        self.command("dial", uri)

    def answer(self) -> None:
        self.command("accept")

    def hangup(self) -> None:
        """Ends, refuses (486) or cancels the current call."""
        self.command("hangup")

    def hold(self) -> None:
        """Re-INVITE with ``a=sendonly`` (RFC 3264 8.4)."""
        self.command("hold")

    def resume(self) -> None:
        self.command("resume")

    def transfer(self, uri: str) -> None:
        """A blind transfer: REFER within the call (RFC 3515). When it is refused, baresip 1.0 ends the call with a BYE
        of its own; for a phone that goes on talking use the SIPp scenario phone_refers."""
        self.command("transfer", uri)

    def unregister(self) -> None:
        """Removes the account, and with it the registration (REGISTER with expiry 0)."""
        self.command("uadel", self.account.aor)

    def wait_event(self, type_: str, timeout_s: float = 10.0, *, count: int = 1) -> BaresipEvent:
        """The ``count``-th event of a type, past or to come. Raises BaresipError when it does not come."""

        def of_type() -> list[BaresipEvent]:
            return [event for event in self.events if event.type == type_]

        if not self._wait(lambda: len(of_type()) >= count, timeout_s):
            raise BaresipError(f"no {type_}, only {[event.type for event in self.events]}\n{self.output()[-2000:]}")
        return of_type()[count - 1]

    def heard(self) -> Samples:
        """The 8 kHz samples received in the last call; complete once CALL_CLOSED has come. Raises BaresipError
        without a recording."""
        return self._recording("dec")

    def said(self) -> Samples:
        """The 8 kHz samples sent in the last call."""
        return self._recording("enc")

    @property
    def secured(self) -> bool:
        """Whether the audio of its last call was encrypted (SRTP)."""
        return "SRTP is Enabled" in self.output()

    def output(self) -> str:
        """What baresip printed."""
        return (self.work / "output.log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Hangs up, unregisters and ends; kills it after 3 s."""
        if self._process.poll() is None:
            try:
                self.command("quit")
            except (BaresipError, OSError):
                self._process.terminate()
        self._end_process()
        self._reader.join(5)
        self._control.close()

    def kill(self) -> None:
        """SIGKILL: the phone vanishes without a word."""
        self._process.kill()
        self._process.wait()

    def _end_process(self) -> None:
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _write_files(self, control_port: int) -> None:
        recordings = self.work / "recordings"
        recordings.mkdir(parents=True)
        rtp = free_block(_RTP_PORTS, self.host)
        for name in ("accounts", "contacts"):
            (self.work / name).write_text("# empty on purpose\n", encoding="utf-8")
        lines = {
            "poll_method": "epoll",
            "sip_listen": f"{self.host}:{self.port}",
            "net_interface": self.host,
            "call_local_timeout": 120,
            "call_max_calls": 4,
            "audio_player": "aubridge,speaker",
            "audio_alert": "aubridge,bell",
            "audio_source": self._source(),
            "ausrc_srate": RATE_HZ,
            "auplay_srate": RATE_HZ,
            "ausrc_channels": 1,
            "auplay_channels": 1,
            "audio_buffer": "20-160",
            "jitter_buffer_delay": "1-2",
            "rtp_ports": f"{rtp}-{rtp + _RTP_PORTS - 2}",
            "rtcp_mux": "yes" if self.rtcp_mux else "no",
            "ringback_disabled": "yes",
            "statmode_default": "off",
            "snd_path": recordings,
            "ctrl_tcp_listen": f"{self.host}:{control_port}",
            "module_path": _module_folder(self.account.modules),
        }
        text = "".join(f"{name}\t{value}\n" for name, value in lines.items())
        kinds = {"account.so": "module_tmp", "menu.so": "module_app", "ctrl_tcp.so": "module_app"}
        text += "".join(f"{kinds.get(name, 'module')}\t{name}\n" for name in self.account.modules)
        (self.work / "config").write_text(text, encoding="utf-8")

    def _source(self) -> str:
        samples, rate = read_wav(self.source) if self.source else (np.zeros(0, np.int16), RATE_HZ)
        if rate != RATE_HZ or samples.ndim != 1:
            raise ValueError(f"{self.source} is not mono at {RATE_HZ} Hz")
        padded = np.pad(samples, (0, _SILENCE_AFTER_SOURCE_S * RATE_HZ))
        return f"aufile,{write_wav(self.work / 'source.wav', padded)}"

    def _connect(self, address: Address) -> socket.socket:
        deadline = time.monotonic() + 5
        while True:
            try:
                control = socket.create_connection(address, timeout=1)
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise BaresipError(f"baresip did not start\n{self.output()[-2000:]}") from None
                time.sleep(0.02)
            else:
                control.settimeout(None)
                return control

    def _read(self) -> None:
        buffer = b""
        while chunk := self._receive():
            buffer += chunk
            while (message := _netstring(buffer)) is not None:
                body, buffer = message
                self._take(json.loads(body))

    def _receive(self) -> bytes:
        try:
            return self._control.recv(65536)
        except OSError:
            return b""

    def _take(self, message: dict[str, object]) -> None:
        with self._changed:
            if message.get("event"):
                self.events.append(
                    BaresipEvent(type=str(message["type"]), parameter=str(message.get("param", "")), fields=message)
                )
            else:
                self._answers[str(message.get("token"))] = bool(message["ok"]), str(message.get("data", ""))
            self._changed.notify_all()

    def _wait(self, done: Callable[[], bool], timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(done, timeout_s)

    def _recording(self, side: str) -> Samples:
        found = sorted((self.work / "recordings").glob(f"dump-*-{side}.wav"), key=lambda path: path.stat().st_mtime_ns)
        if not found:
            raise BaresipError(f"no recording of {side}\n{self.output()[-2000:]}")
        samples, rate = read_wav(found[-1])
        return samples[:: rate // RATE_HZ]


def _netstring(buffer: bytes) -> tuple[bytes, bytes] | None:
    length, colon, rest = buffer.partition(b":")
    if not colon or len(rest) <= int(length):
        return None
    return rest[: int(length)], rest[int(length) + 1 :]


def _module_folder(modules: tuple[str, ...]) -> Path:
    complete = [folder for folder in _MODULE_FOLDERS if all((folder / name).exists() for name in modules)]
    if not complete:
        missing(f"baresip's modules {', '.join(modules)} are missing: apt-get install baresip-core")
    return complete[0]
