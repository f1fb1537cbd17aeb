"""The guided first call performed: a built-in desk phone and a built-in caller talk through the running line.

Real sockets, real SIP, real RTP over loopback; the line does not know that it is a demonstration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from duty.domain.transcripts import Speaker
from telephony.demo.script import channels
from telephony.rtp.g711 import SAMPLE_RATE
from telephony.sip.flow import Address
from telephony.softphone import CallEndedError, Heard, Progress, Softphone, SoftphoneCall, SoftphoneError

PING_LIMIT_S = 3.0
REGISTER_LIMIT_S = 10.0
ARRIVE_LIMIT_S = 15.0
ANSWER_LIMIT_S = 90.0
RING_S = 2.0
"""How long the officer lets it ring, so that it can be seen on the console."""
_BREATH_S = 0.4
_REPORT_S = 0.5
_NOT_OURS = 480


class LineSilentError(SoftphoneError):
    """Nobody answers at the line's SIP address."""


class Step(StrEnum):
    """How far the performance has come."""

    REGISTERED = "registered"
    DIALLED = "dialled"
    RINGING = "ringing"
    ANSWERED = "answered"
    TAKEN_ELSEWHERE = "taken_elsewhere"
    TALKING = "talking"
    HUNG_UP = "hung_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where it is played: the line's SIP address and number, the desk phone's account, the caller's number."""

    service: Address
    line: str
    extension: str
    password: str
    caller: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """What came of it: the caller's Call-ID, by which the book knows the call, and what each side heard."""

    sip_call_id: str
    talk_seconds: float
    heard: dict[Speaker, Heard]


Tell = Callable[[Step, float], None]
"""Called with each step and the s since the answer (0 before); TALKING comes again and again."""


def conversation_seconds() -> float:
    """How long the two talk."""
    return max((at + samples.size) / SAMPLE_RATE for turns in channels().values() for at, samples in turns)


async def perform(stage: Stage, tell: Tell) -> Performance:
    """Place the call and play it to its end.

    Raises LineSilentError, NotRegisteredError, CallEndedError for a call that was refused or broke off, TimeoutError
    for one that nobody answered.
    """
    host = "::1" if ":" in stage.service[0] else "127.0.0.1"
    async with (
        Softphone(user=stage.extension, host=host, password=stage.password) as desk,
        Softphone(user=stage.caller, host=host) as caller,
    ):
        await _find(caller, stage.service)
        async with asyncio.timeout(REGISTER_LIMIT_S):
            await desk.register(stage.service)
        tell(Step.REGISTERED, 0.0)
        call = caller.call(stage.line, stage.service)
        tell(Step.DIALLED, 0.0)
        answering = asyncio.create_task(_answer(desk, stage.caller))
        try:
            return await _play(call, answering, tell)
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)


async def _find(phone: Softphone, service: Address) -> None:
    try:
        async with asyncio.timeout(PING_LIMIT_S):
            status = await phone.ping(service)
    except TimeoutError:
        status = 0
    if status == 0:
        raise LineSilentError(f"{service[0]}:{service[1]}")


async def _answer(desk: Softphone, caller: str) -> SoftphoneCall:
    """The officer: takes our own caller's call; anybody else's is left to the real phones."""
    while True:
        arrived = await desk.incoming()
        if arrived.number != caller:
            arrived.refuse(_NOT_OURS)
            continue
        arrived.ring()
        await asyncio.sleep(RING_S)
        if arrived.end is None:
            arrived.answer()
        return arrived


async def _play(call: SoftphoneCall, answering: asyncio.Task[SoftphoneCall], tell: Tell) -> Performance:
    async with asyncio.timeout(ARRIVE_LIMIT_S):
        await call.reached(Progress.RINGING)
    tell(Step.RINGING, 0.0)
    async with asyncio.timeout(ANSWER_LIMIT_S):
        await call.reached(Progress.TALKING)
    sides = {Speaker.CALLER: call}
    officer = answering.result() if answering.done() else None
    if officer is not None and officer.progress is Progress.TALKING:
        sides[Speaker.OFFICER] = officer
        tell(Step.ANSWERED, 0.0)
    else:
        tell(Step.TAKEN_ELSEWHERE, 0.0)
    talked = await _talk(call, _speak(sides), tell)
    sip_call_id = call.sip_call_id
    call.hang_up()
    if officer is not None:
        async with asyncio.timeout(ARRIVE_LIMIT_S):
            await officer.reached(Progress.ENDED)
    tell(Step.HUNG_UP, talked)
    heard = {speaker: side.heard() for speaker, side in sides.items()}
    return Performance(sip_call_id=sip_call_id, talk_seconds=talked, heard=heard)


def _speak(sides: dict[Speaker, SoftphoneCall]) -> float:
    """Queue every turn at its moment; how long the conversation will take, in s."""
    end = 0.0
    for speaker, turns in channels().items():
        if (side := sides.get(speaker)) is None:
            continue
        begin = side.position_s + _BREATH_S
        for at, samples in turns:
            said = side.say(samples, at_s=begin + at / SAMPLE_RATE)
            end = max(end, said - begin)
    return end + 2 * _BREATH_S


async def _talk(call: SoftphoneCall, seconds: float, tell: Tell) -> float:
    """Let them talk, reporting; how long they did. Raises CallEndedError where the call breaks off."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (talked := loop.time() - began) < seconds:
        tell(Step.TALKING, talked)
        if call.end is not None:
            raise CallEndedError(call.end)
        await asyncio.sleep(min(_REPORT_S, seconds - talked))
    return talked
