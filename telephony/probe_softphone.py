"""The probe's own agent: the built-in softphone dials the duty number and writes down every response."""

from __future__ import annotations

import asyncio

import numpy as np

from telephony.probe_evidence import ProbeEvidence, StatusSeen, diverted
from telephony.probe_order import LISTEN_S, REGISTER_LIMIT_S, ProbeOrder
from telephony.rtp.g711 import Law
from telephony.rtp.inband import InbandDetector
from telephony.sip.events import ResponseReceived
from telephony.softphone import CallEndedError, NotRegisteredError, Progress, Softphone, SoftphoneCall

_LISTEN_STEP_S = 0.2
_FULL_SCALE = 32768.0


class _Witness(Softphone):
    """A softphone that remembers what was answered to its INVITE, and when."""

    def watch(self) -> None:
        """Begin to count from now."""
        self.seen: list[StatusSeen] = []
        self.began = asyncio.get_running_loop().time()

    def _responded(self, event: ResponseReceived) -> None:
        response = event.response
        if response.cseq.method == "INVITE":
            history, diversion = (response.headers.get_all(name) for name in ("History-Info", "Diversion"))
            at_s = round(asyncio.get_running_loop().time() - self.began, 3)
            self.seen.append(StatusSeen(status=response.status, at_s=at_s, diverted=diverted(history, diversion)))
        super()._responded(event)


def dial(order: ProbeOrder) -> ProbeEvidence:
    """Dial as ordered; what was seen and heard. Raises OSError, RemoteProtocolError for an order that cannot be
    carried out."""
    return asyncio.run(_dial(order))


async def _dial(order: ProbeOrder) -> ProbeEvidence:
    phone = _Witness(user=order.user, host=order.local_host, username=order.username, password=order.password)
    async with phone:
        phone.watch()
        if order.register:
            try:
                async with asyncio.timeout(REGISTER_LIMIT_S):
                    await phone.register((order.host, order.port))
            except TimeoutError:
                return _evidence(order, fault="not_registered: no answer")
            except NotRegisteredError as error:
                return _evidence(order, fault=f"not_registered: {error}")
        phone.watch()
        call = phone.call(order.number, (order.host, order.port))
        answer_s = await _answered(call, order)
        if answer_s is not None:
            await _listen(call, order)
        call.hang_up()
        return _seen(order, phone, call, answer_s)


async def _answered(call: SoftphoneCall, order: ProbeOrder) -> float | None:
    """After how many s the call was answered; None where it was not."""
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(order.answer_limit_s):
            await call.reached(Progress.TALKING)
    except (TimeoutError, CallEndedError):
        return None
    return round(asyncio.get_running_loop().time() - began, 3)


async def _listen(call: SoftphoneCall, order: ProbeOrder) -> None:
    """Until both kinds of digits were heard, or the other side hangs up, or the time is over."""
    loop = asyncio.get_running_loop()
    until = loop.time() + LISTEN_S
    while loop.time() < until and call.end is None:
        await asyncio.sleep(_LISTEN_STEP_S)
        events, voice = _digits(call)
        if order.token in voice and (order.token in events or not call.audio.accepts_digits):
            return


def _digits(call: SoftphoneCall) -> tuple[str, str]:
    heard = call.heard()
    samples = Law.PCMA.decode(heard.alaw) if heard.alaw else np.zeros(0, dtype=np.int16)
    voice = InbandDetector().receive(np.concatenate([samples, np.zeros(800, dtype=np.int16)]))
    return "".join(one.digit for one in heard.digits), "".join(one.digit for one in voice)


def _seen(order: ProbeOrder, phone: _Witness, call: SoftphoneCall, answer_s: float | None) -> ProbeEvidence:
    events, voice = _digits(call) if answer_s is not None else ("", "")
    heard = call.heard()
    return ProbeEvidence(
        agent="softphone",
        dialled=order.number,
        statuses=tuple(phone.seen),
        answer_s=answer_s,
        digits_events=events[:64],
        digits_voice=voice[:64],
        heard_s=round(heard.seconds, 2),
        level_dbfs=level_dbfs(heard.alaw),
    )


def level_dbfs(alaw: bytes) -> float | None:
    """The root mean square of A-law audio in dB of full scale; None for silence or nothing."""
    if not alaw:
        return None
    power = float(np.mean(np.square(Law.PCMA.decode(alaw).astype(np.float64))))
    return round(float(10 * np.log10(power / _FULL_SCALE**2)), 1) if power > 64.0 else None


def _evidence(order: ProbeOrder, *, fault: str) -> ProbeEvidence:
    return ProbeEvidence(agent="softphone", dialled=order.number, fault=fault)
