"""The probe's independent agent: pyVoIP, a SIP stack that shares no line of code with ours.

pyVoIP is under the GPL and only installed with the optional extra ``peers``; it is imported in the probe's process
alone. It knows few statuses, waits without limits and must register; so it is watched from beside: responses are read
as they arrive, and the process is left behind when its time is over.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pyVoIP.VoIP as voip  # noqa: N813 - before pyVoIP.SIP, which imported first goes round in a circle
from pyVoIP.SIP import SIPClient, SIPMessage, SIPMessageType
from pyVoIP.VoIP.status import PhoneStatus
from pyVoIP.VoIP.VoIP import CallState, VoIPCall

from telephony.probe_evidence import ProbeEvidence, StatusSeen, diverted
from telephony.probe_order import LISTEN_S, REGISTER_LIMIT_S, ProbeOrder
from telephony.probe_softphone import level_dbfs
from telephony.rtp.g711 import Law
from telephony.rtp.inband import InbandDetector

_STEP_S = 0.05
_FRAME = 160
_RTP_PORTS = 20


class _Witness(SIPClient):
    """Writes down every response to an INVITE before pyVoIP looks at it; most it would pass over in silence."""

    began = 0.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.seen: list[StatusSeen] = []
        self._inner: socket.socket

    @property
    def s(self) -> Any:
        """The socket, listened in on."""
        return _Tap(self._inner, self._note)

    @s.setter
    def s(self, inner: socket.socket) -> None:
        self._inner = inner

    def _note(self, raw: bytes) -> None:
        head = raw.decode("utf-8", "replace").split("\r\n\r\n")[0].split("\r\n")
        if not head[0].startswith("SIP/2.0 ") or not head[0][8:11].isdigit():
            return
        named = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:])]
        if not any(name == "cseq" and value.endswith("INVITE") for name, value in named):
            return
        history = [value for name, value in named if name == "history-info"]
        diversion = [value for name, value in named if name == "diversion"]
        at_s = round(time.monotonic() - self.began, 3)
        self.seen.append(StatusSeen(status=int(head[0][8:11]), at_s=at_s, diverted=diverted(history, diversion)))

    def gen_call_id(self) -> str:
        """pyVoIP counts from one in every process, and makes its branches of it, too: each probe would repeat the one
        before, and be taken for its echo."""
        return f"{secrets.token_hex(16)}@{self.myIP}:{self.myPort}"

    def parse_message(self, message: SIPMessage) -> None:
        """A BYE or an answer; what pyVoIP cannot digest must not end its reading."""
        if message.type is SIPMessageType.MESSAGE or int(message.status) in (200, 404, 503):
            super().parse_message(message)


class _Tap:
    """A socket whose datagrams are told as they are read."""

    def __init__(self, inner: socket.socket, note: Callable[[bytes], None]) -> None:
        self._inner_socket, self._note = inner, note

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner_socket, name)

    def recv(self, size: int) -> bytes:
        """One datagram."""
        data = self._inner_socket.recv(size)
        self._note(data)
        return data


def dial(order: ProbeOrder) -> ProbeEvidence:
    """Register, dial as ordered and listen; whatever pyVoIP does, this returns in its time."""
    if not order.register:
        return _evidence(order, fault="pyvoip_needs_registrar")
    phone, witness = _phone(order)
    threading.Thread(target=phone.start, daemon=True).start()
    if not _wait(lambda: phone.get_status() is PhoneStatus.REGISTERED, REGISTER_LIMIT_S):
        return _evidence(order, fault="not_registered")
    time.sleep(1.2)  # pyVoIP begins to read only a second after it has registered
    witness.began = time.monotonic()
    calls: list[VoIPCall] = []
    threading.Thread(target=_call, args=(phone, order.number, calls), daemon=True).start()
    _wait(lambda: _settled(witness, calls), order.answer_limit_s)
    answered = next((seen.at_s for seen in witness.seen if 200 <= seen.status < 300), None)
    if answered is None or not _wait(lambda: bool(calls) and calls[0].state is CallState.ANSWERED, 2.0):
        return _evidence(order, witness=witness, answer_s=answered)
    return _heard(order, witness, calls[0], answered)


def _call(phone: voip.VoIPPhone, number: str, calls: list[VoIPCall]) -> None:
    """A refusal at once ends in pyVoIP's KeyError; the witness has it all the same."""
    with suppress(KeyError):
        calls.append(phone.call(number))


def _phone(order: ProbeOrder) -> tuple[voip.VoIPPhone, _Witness]:
    sip_port, rtp_port = _free(order.local_host), _free(order.local_host)
    user = order.username or order.user
    phone = voip.VoIPPhone(
        order.host,
        order.port,
        user,
        order.password,
        myIP=order.local_host,
        sipPort=sip_port,
        rtpPortLow=rtp_port,
        rtpPortHigh=rtp_port + _RTP_PORTS,
    )
    phone.sip = witness = _Witness(
        order.host,
        order.port,
        user,
        order.password,
        phone=phone,
        myIP=order.local_host,
        myPort=sip_port,
        callCallback=phone.callback,
        fatalCallback=lambda: None,
    )
    return phone, witness


def _settled(witness: _Witness, calls: list[VoIPCall]) -> bool:
    answered = bool(calls) and calls[0].state is CallState.ANSWERED
    return answered or any(seen.status >= 200 and seen.status not in (401, 407) for seen in witness.seen)


def _heard(order: ProbeOrder, witness: _Witness, call: VoIPCall, answered: float) -> ProbeEvidence:
    """Listen to the end. pyVoIP gives 8-bit linear frames, silence where nothing came."""
    events, audio = "", bytearray()
    until = time.monotonic() + LISTEN_S
    while time.monotonic() < until and call.state is CallState.ANSWERED:
        audio += call.read_audio(_FRAME, blocking=False)
        events += call.get_dtmf(8)
        if order.token in events and order.token in _voice(bytes(audio)):
            break
        time.sleep(_FRAME / 8000)
    if call.state is CallState.ANSWERED:
        call.hangup()
    samples = _linear(bytes(audio))
    return _evidence(
        order,
        witness=witness,
        answer_s=answered,
        events=events,
        voice=_voice(bytes(audio)),
        heard_s=round(len(audio) / 8000, 2),
        level=level_dbfs(Law.PCMA.encode(samples)) if samples.size else None,
    )


def _linear(audio: bytes) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return ((np.frombuffer(audio, dtype=np.uint8).astype(np.int16) - 128) * 256).astype(np.int16)


def _voice(audio: bytes) -> str:
    return "".join(one.digit for one in InbandDetector().receive(_linear(audio)))


def _evidence(
    order: ProbeOrder,
    *,
    witness: _Witness | None = None,
    answer_s: float | None = None,
    events: str = "",
    voice: str = "",
    heard_s: float = 0.0,
    level: float | None = None,
    fault: str = "",
) -> ProbeEvidence:
    return ProbeEvidence(
        agent="pyvoip",
        dialled=order.number,
        statuses=tuple(witness.seen) if witness is not None else (),
        answer_s=answer_s,
        digits_events=events[:64],
        digits_voice=voice[:64],
        heard_s=heard_s,
        level_dbfs=level,
        fault=fault,
    )


def _wait(done: Callable[[], bool], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(_STEP_S)
    return True


def _free(host: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
