"""Runs linphone 5.1 (Debian's ``linphonec``) on loopback, without sound hardware, steered over its standard input.

In its file mode it says a WAV and writes what it hears as WAV, both at the pace of a sound card. linphonec knows no
machine interface: what happened is read from the state changes in its debug log.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

from tests.peers.audio import Samples, read_wav
from tests.peers.ports import Address, free_block, free_port
from tests.peers.programs import require

_RTP_PORTS = 20
_START_LIMIT_S = 15.0
_KEY = re.compile(r"Receiving tone (.) from")
_STATE = re.compile(r"moving from state \w+ to LinphoneCall(\w+)")
_CODECS = (("PCMA", 8), ("PCMU", 0), ("telephone-event", 101))


class LinphoneError(AssertionError):
    """linphone did not do what was asked; the text holds its last output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinphoneAccount:
    """``registrar`` is also where calls go. ``expires_s`` 0: no registration. ``digits``: how a key is sent, as RTP
    events (RFC 4733) or by INFO."""

    user: str
    registrar: Address
    password: str = ""
    expires_s: int = 0
    digits: Literal["rtp", "info"] = "rtp"
    codecs: tuple[str, ...] = ("PCMA",)
    ipv6: bool = False
    """Whether its audio is on ``::1``, over signalling by IPv4."""

    def sections(self) -> list[str]:
        """The account as linphone's configuration file writes it."""
        host, port = self.registrar
        lines = [
            "[proxy_0]",
            f"reg_proxy=<sip:{host}:{port};transport=udp>",
            f"reg_identity=<sip:{self.user}@{host}:{port}>",
            f"reg_expires={self.expires_s or 600}",
            f"reg_sendregister={int(bool(self.expires_s))}",
            "publish=0",
        ]
        if self.password:
            lines += ["[auth_info_0]", f"username={self.user}", f"passwd={self.password}"]
        return lines


@dataclass(slots=True)
class Linphone:
    """One softphone; a context manager. ``source``: a mono 8 kHz 16-bit WAV to say in each call. ``work`` keeps the
    files."""

    work: Path
    account: LinphoneAccount
    source: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    _process: subprocess.Popen[bytes] = field(init=False, repr=False)
    _reader: threading.Thread = field(init=False, repr=False)
    _said: str = field(default="", init=False, repr=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False, repr=False)

    def __enter__(self) -> Linphone:
        """Starts linphonec, which registers if it should. Raises LinphoneError."""
        program = require("linphonec")
        self.port = self.port or free_port(self.host)
        self._write_files()
        self._process = subprocess.Popen(
            [program, "-c", str(self.work / "linphonerc"), "-l", str(self.work / "debug.log"), "-d", "5", "-S"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"HOME": str(self.work), "LC_ALL": "C"},
        )
        self._reader = threading.Thread(target=self._read, name=f"linphone-{self.port}", daemon=True)
        self._reader.start()
        self._wait_for_prompt()
        self.command("soundcard use files")
        if self.source is not None:
            self.command(f"play {self.source}")
        self.command(f"record {self.recording}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def recording(self) -> Path:
        """The WAV of what it hears."""
        return self.work / "heard.wav"

    def command(self, line: str) -> None:
        """One line as a person types it."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> None:
        self.command("answer")

    def dial(self, uri: str) -> None:
        """Calls ``uri``."""
        self.command(f"call {uri}")

    def hangup(self) -> None:
        """Ends, refuses or cancels the current call."""
        self.command("terminate")

    def hold(self) -> None:
        """Re-INVITE with ``a=sendonly``."""
        self.command("pause")

    def resume(self) -> None:
        self.command("resume")

    def press(self, digits: str) -> None:
        """Keys pressed in a call, 0 to 9 and ``*``: a line that holds only that key. linphonec reads one a second."""
        for digit in digits:
            self.command(digit)

    def pressed(self) -> str:
        """The keys that the other side pressed."""
        return "".join(_KEY.findall(self._said))

    def transfer(self, uri: str) -> None:
        """A blind transfer (RFC 3515)."""
        self.command(f"transfer {uri}")

    def wait_state(self, state: str, timeout_s: float = 10.0, *, count: int = 1) -> None:
        """Until a call has come ``count`` times to ``state`` (IncomingReceived, OutgoingRinging, StreamsRunning,
        Paused, PausedByRemote, Error, End, Released …), past or to come. Raises LinphoneError."""
        deadline = time.monotonic() + timeout_s
        while self.states().count(state) < count:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise LinphoneError(
                    f"linphone is not {count} times {state}, only {self.states()}\n{self._said[-2000:]}"
                )
            time.sleep(0.03)

    def states(self) -> list[str]:
        """The states its calls came to, in order."""
        return _STATE.findall(self._log())

    def wait_registered(self, timeout_s: float = 10.0) -> None:
        """Until its registration is accepted. Raises LinphoneError."""
        deadline = time.monotonic() + timeout_s
        while "to [LinphoneRegistrationOk]" not in self._log():
            if time.monotonic() > deadline:
                raise LinphoneError(f"linphone does not register\n{self._log()[-2000:]}")
            time.sleep(0.03)

    def _log(self) -> str:
        log = self.work / "debug.log"
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""

    def heard(self) -> Samples:
        """The 8 kHz samples heard; complete when the call is over."""
        self.wait_state("Released")
        samples, rate = read_wav(self.recording)
        assert rate == 8000, rate
        return samples

    def output(self) -> str:
        """What linphonec printed."""
        return self._said

    def stop(self) -> None:
        """Hangs up, unregisters and ends; kills it after 5 s."""
        if self._process.poll() is None:
            try:
                self.command("quit")
                self._process.wait(5)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
        self._process.wait()
        self._reader.join(5)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def kill(self) -> None:
        """SIGKILL: the phone vanishes without a word."""
        self._process.kill()
        self._process.wait()

    def _wait_for_prompt(self) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: "linphonec> " in self._said, _START_LIMIT_S):
                raise LinphoneError(f"linphonec did not start\n{self._said[-2000:]}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        while chunk := os.read(self._process.stdout.fileno(), 4096):
            with self._changed:
                self._said += chunk.decode("utf-8", "replace")
                self._changed.notify_all()

    def _write_files(self) -> None:
        (self.work / ".local" / "share" / "linphone").mkdir(parents=True)
        rtp = free_block(_RTP_PORTS, self.host)
        lines = [
            "[sip]",
            f"sip_port={self.port}",
            "sip_tcp_port=0",
            "sip_tls_port=0",
            f"bind_address={self.host}",
            f"use_ipv6={int(self.account.ipv6)}",
            f"use_rfc2833={int(self.account.digits == 'rtp')}",
            f"use_info={int(self.account.digits == 'info')}",
            "default_proxy=0",
            "media_encryption=none",
            "publish_presence=0",
            "keepalive_period=0",
            "[net]",
            "firewall_policy=0",
            "mtu=1300",
            "[rtp]",
            f"bind_address={'::1' if self.account.ipv6 else self.host}",
            f"audio_rtp_port={rtp}-{rtp + _RTP_PORTS - 2}",
            "audio_jitt_comp=60",
            "audio_adaptive_jitt_comp_enabled=0",
            "[sound]",
            "echocancellation=0",
            "remote_ring=",
            "local_ring=",
            "hold_music=",
            "[misc]",
            "real_early_media=0",
            "store_friends=0",
            *self.account.sections(),
        ]
        wanted = (*self.account.codecs, "telephone-event")
        for index, (mime, number) in enumerate(_CODECS):
            enabled = int(mime in wanted)
            lines += [f"[audio_codec_{index}]", f"mime={mime}", "rate=8000", "channels=1", f"number={number}"]
            lines += [f"enabled={enabled}"]
        (self.work / "linphonerc").write_text("\n".join(lines) + "\n", encoding="utf-8")
