"""Speaks a probe's token to the line: as key presses where the other side reads them, and as tones in the voice.

One after the other, and twice: a gateway on the way may turn the one into the other, which at the same time would
double every digit.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Protocol

import numpy as np

from duty.domain.transcripts import Speaker
from telephony.playback import Playback
from telephony.rtp.dtmf import press
from telephony.rtp.g711 import SAMPLE_RATE, Samples
from telephony.rtp.inband import key_tone

KEY_S, PAUSE_S = 0.10, 0.08
_BETWEEN_S = 0.4
_TIMES = 2


class Mouth(Protocol):
    """The part of a media session that speaks."""

    def play(self, leg: Speaker, samples: Samples) -> Playback:
        """Play samples to one side."""

    def press(self, leg: Speaker, *, header: tuple[int, int, int, int, int], payload: bytes) -> bool:
        """Send one telephone-event packet to one side; False where it reads none, or the call is over."""


def tones(digits: str) -> Samples:
    """The digits as they sound, with pauses. Raises ValueError for what is no key."""
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE), dtype=np.int16)
    return np.concatenate([part for digit in digits for part in (key_tone(digit, KEY_S), pause)])


async def speak(mouth: Mouth, leg: Speaker, digits: str) -> None:
    """Press and sound ``digits``; returns when that is done or the call is over."""
    for _ in range(_TIMES):
        await asyncio.sleep(_BETWEEN_S)
        if await press_keys(mouth, leg, digits):
            await asyncio.sleep(_BETWEEN_S)
        if not await mouth.play(leg, tones(digits)).done:
            return


async def press_keys(mouth: Mouth, leg: Speaker, digits: str) -> bool:
    """Every packet at its moment, counted from the first; False where the other side reads no key presses."""
    loop = asyncio.get_running_loop()
    began, number = loop.time(), 0
    ssrc, first, stamp = secrets.randbits(32), secrets.randbits(16), secrets.randbits(32)
    for place, digit in enumerate(digits):
        start_s = place * (KEY_S + PAUSE_S)
        for packet in press(digit, duration_ms=round(KEY_S * 1000)):
            await asyncio.sleep(max(0.0, began + start_s + packet.offset_ms / 1000 - loop.time()))
            header = (
                0x80,
                0x80 if packet.marker else 0,
                (first + number) & 0xFFFF,
                (stamp + round(start_s * SAMPLE_RATE)) & 0xFFFFFFFF,
                ssrc,
            )
            if not mouth.press(leg, header=header, payload=packet.payload):
                return False
            number += 1
    return True
