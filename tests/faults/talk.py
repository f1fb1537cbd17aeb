"""A call in progress whose sound the test controls: SIPp signals, two RTP parties talk."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from tests.line.book import Book, CallPage
from tests.line.desk import Desk
from tests.line.service import Service
from tests.peers.audio import FRAME_BYTES, account, distinct_frames
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp, SippRun


def chatter(seconds: float, *, seed: int) -> bytes:
    """``seconds`` of A-law noise in distinct 20 ms frames: what was said can be found again to the byte."""
    noise = np.random.default_rng(seed)
    frames = round(seconds * 50)
    quiet = noise.integers(0, 24, frames * FRAME_BYTES, dtype=np.uint8)
    return distinct_frames(bytes(quiet ^ np.uint8(0xD5)))


@dataclass(slots=True, kw_only=True)
class Talk:
    """One call between ``number`` and the phone: its SIPp runs, its voices, and when they began."""

    number: str
    caller: SippRun
    phone: SippRun
    mouths: tuple[RtpPeer, RtpPeer]
    said: tuple[bytes, bytes]
    began: float

    def check_kept(self, book: Book, page: CallPage, *, until: float, slack_s: float = 1.0) -> None:
        """Both voices are in the recording, bit for bit and without a gap, up to ``slack_s`` before the monotonic
        moment ``until``."""
        frames = int((until - self.began - slack_s) * 50)
        assert frames > 25, "the call was too short to say anything"
        for said, recorded in zip(self.said, book.voices(page), strict=True):
            kept = account(said[: frames * FRAME_BYTES], recorded)
            assert kept.perfect, kept


def begin(
    service: Service,
    book: Book,
    sipp: Sipp,
    mouths: tuple[RtpPeer, RtpPeer],
    *,
    line: str,
    extension: str,
    number: str,
    talk_s: float,
    hears_bye: bool = False,
) -> Talk:
    """A call that is answered and in which both sides talk; the caller hangs up after ``talk_s``, or waits for BYE."""
    caller_mouth, phone_mouth = mouths
    phone_values: dict[str, str | int] = {"media_port": phone_mouth.port}
    phone = Desk(service, sipp).phone(
        "phone_answers_external_media", extension, values=phone_values, timeout_s=int(talk_s) + 30
    )
    values: dict[str, str | int] = {"line": line, "caller": number, "media_port": caller_mouth.port}
    scenario = "caller_external_media_hears_bye"
    if not hears_bye:
        scenario, values["talk_ms"] = "caller_external_media", int(talk_s * 1000)
    caller = sipp.start(scenario, remote=service.address, values=values, timeout_s=int(talk_s) + 30)
    to_phone, to_caller = phone.wait_for_audio_address(), caller.wait_for_audio_address()
    book.wait(number, lambda page: page.state == "answered")
    said = (chatter(talk_s, seed=1), chatter(talk_s, seed=2))
    began = time.monotonic()
    caller_mouth.send(said[0], to_caller)
    phone_mouth.send(said[1], to_phone)
    return Talk(number=number, caller=caller, phone=phone, mouths=mouths, said=said, began=began)
