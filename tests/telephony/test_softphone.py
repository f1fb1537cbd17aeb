"""The built-in softphone against itself, SIPp and baresip: it must be a phone that strangers take for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from telephony.rtp.g711 import Law, Samples
from telephony.softphone import (
    CallEndedError,
    NotNowError,
    NotRegisteredError,
    PhoneEventKind,
    Progress,
    Softphone,
)
from telephony.softphone_media import FRAME, Speech
from tests.peers.audio import account, align, decode_alaw, distinct_frames, write_wav
from tests.peers.baresip import Baresip, BaresipAccount
from tests.peers.fixtures import baresip, sipp, utterance  # noqa: F401
from tests.peers.ports import free_port
from tests.peers.sipp import Sipp

LIMIT_S = 15.0


def noise(seconds: float, seed: int = 1) -> bytes:
    """A-law frames no two of which are alike."""
    samples = np.random.default_rng(seed).integers(-8000, 8000, round(seconds * 50) * FRAME).astype(np.int16)
    return distinct_frames(Law.PCMA.encode(samples))


def samples_of(alaw: bytes) -> Samples:
    return Law.PCMA.decode(alaw)


async def test_two_phones_hear_every_frame_of_each_other_once() -> None:
    said, replied = noise(1.5), noise(1.5, seed=2)
    async with asyncio.timeout(LIMIT_S), Softphone(user="1001") as desk, Softphone(user="13800138000") as caller:
        call = caller.call("1001", desk.address)
        answer = await desk.incoming()
        assert answer.number == "13800138000"
        answer.ring()
        await call.reached(Progress.RINGING)
        answer.answer()
        await call.reached(Progress.TALKING)
        end = max(call.say(samples_of(said), at_s=0.2), answer.say(samples_of(replied), at_s=0.2))
        await call.until(end + 0.1)
        call.hang_up()
        await answer.reached(Progress.ENDED)
    assert account(said, answer.heard().alaw).perfect
    assert account(replied, call.heard().alaw).perfect
    statistics = answer.heard().statistics
    assert (statistics.lost, statistics.duplicated, statistics.reordered) == (0, 0, 0)
    assert answer.end is not None
    assert (answer.end.by, answer.end.status) == ("peer", 200)
    kinds = [event.kind for event in caller.events]
    assert kinds == [PhoneEventKind(name) for name in ("calling", "ringing", "talking", "ended")]


async def test_the_schedule_does_not_drift() -> None:
    async with asyncio.timeout(LIMIT_S), Softphone(user="a") as one, Softphone(user="b") as other:
        call = one.call("b", other.address)
        (await other.incoming()).answer()
        await call.reached(Progress.TALKING)
        began = asyncio.get_running_loop().time()
        await call.until(3.0)
        took = asyncio.get_running_loop().time() - began
    assert 2.95 <= took <= 3.0 + call.audio.late_s + 0.1
    assert call.audio.speech.position == call.audio.sent * FRAME


async def test_keys_are_heard_once_each_and_in_order() -> None:
    async with asyncio.timeout(LIMIT_S), Softphone(user="a") as one, Softphone(user="b") as other:
        call = one.call("b", other.address)
        answer = await other.incoming()
        answer.answer()
        await call.reached(Progress.TALKING)
        await call.press("1#9*")
        await asyncio.sleep(0.1)
        heard = answer.heard()
    assert [digit.digit for digit in heard.digits] == ["1", "#", "9", "*"]
    assert all(digit.duration_ms == 100 for digit in heard.digits)


async def test_refusing_cancelling_and_asking_too_late() -> None:
    async with asyncio.timeout(LIMIT_S), Softphone(user="a") as one, Softphone(user="b") as other:
        refused = one.call("b", other.address)
        (await other.incoming()).refuse(486)
        with pytest.raises(CallEndedError, match="486"):
            await refused.reached(Progress.TALKING)

        given_up = one.call("b", other.address)
        ringing = await other.incoming()
        ringing.ring()
        await given_up.reached(Progress.RINGING)
        given_up.hang_up()
        await ringing.reached(Progress.ENDED)
        assert ringing.end is not None
        assert (ringing.end.by, ringing.end.status) == ("peer", 487)
        with pytest.raises(NotNowError):
            ringing.answer()
        with pytest.raises(NotNowError):
            given_up.say(samples_of(noise(0.1)))


async def test_nobody_there_is_told_in_time() -> None:
    nowhere = ("127.0.0.1", free_port())
    async with asyncio.timeout(LIMIT_S), Softphone(user="a") as one:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await one.ping(nowhere)
        async with Softphone(user="b") as other:
            assert await one.ping(other.address) == 200


def test_speech_refuses_a_place_that_is_taken() -> None:
    speech = Speech()
    speech.say(np.zeros(400, np.int16), at=100)
    with pytest.raises(ValueError, match="said then"):
        speech.say(np.zeros(10, np.int16), at=300)
    assert speech.say(np.zeros(10, np.int16)) == 510


def test_speech_places_each_sample_where_it_was_asked_to() -> None:
    speech, piece = Speech(), samples_of(noise(0.1))
    speech.say(piece, at=333)
    frames = [speech.next_frame(Law.PCMA)[0] for _ in range(10)]
    alaw = b"".join(frame.payload for frame in frames)
    assert alaw[:333] == Law.PCMA.silence * 333
    assert alaw[333 : 333 + len(piece)] == Law.PCMA.encode(piece)
    assert [frame.timestamp for frame in frames] == [index * FRAME for index in range(10)]
    assert [frame.marker for frame in frames].index(True) == 2
    assert sum(frame.marker for frame in frames) == 1


@pytest.mark.peer
async def test_sipp_answers_and_sends_back_what_we_say(sipp: Sipp, utterance: bytes) -> None:  # noqa: F811
    desk = sipp.start("phone_answers_and_echoes", echo=True)
    async with asyncio.timeout(LIMIT_S), Softphone(user="13800138000") as caller:
        call = caller.call("phone1", desk.address)
        await call.reached(Progress.TALKING)
        end = call.say(samples_of(utterance), at_s=0.2)
        await call.until(end + 0.3)
        call.hang_up()
        (await desk.finished()).check()
    heard = call.heard()
    assert account(utterance, heard.alaw).perfect
    assert heard.statistics.lost == 0


@pytest.mark.peer
async def test_sipp_calls_us_and_is_heard_whole(sipp: Sipp, utterance: bytes) -> None:  # noqa: F811
    async with asyncio.timeout(LIMIT_S), Softphone(user="1001") as desk:
        caller = sipp.start("caller_talks_then_bye", remote=desk.address, audio=utterance, values={"line": "1001"})
        call = await desk.incoming()
        call.ring()
        call.answer()
        await call.reached(Progress.ENDED)
        (await caller.finished()).check()
    assert account(utterance, call.heard().alaw).perfect


@pytest.mark.peer
async def test_sipp_checks_our_digest(sipp: Sipp) -> None:  # noqa: F811
    registrar = sipp.start("line_registrar", values={"auth_user": "1001", "password": "geheim"})
    async with asyncio.timeout(LIMIT_S), Softphone(user="1001", password="geheim") as phone:
        await phone.register(registrar.address)
        assert phone.events[-1].kind is PhoneEventKind.REGISTERED
        (await registrar.finished()).check()
        registrar.stop()


@pytest.mark.peer
async def test_a_wrong_password_is_said_to_be_one(sipp: Sipp) -> None:  # noqa: F811
    registrar = sipp.start("line_registrar", values={"auth_user": "1001", "password": "geheim"})
    async with asyncio.timeout(LIMIT_S), Softphone(user="1001", password="falsch") as phone:
        with pytest.raises(NotRegisteredError, match="403"):
            await phone.register(registrar.address)


@pytest.mark.peer
@pytest.mark.parametrize(("challenge", "header"), [(407, "Proxy-Authenticate"), (401, "WWW-Authenticate")])
async def test_a_challenged_call_is_placed_again(sipp: Sipp, challenge: int, header: str) -> None:  # noqa: F811
    values: dict[str, str | int] = {"challenge": challenge, "challenge_header": header, "media_port": free_port()}
    line = sipp.start("line_challenges_call", values=values)
    async with asyncio.timeout(LIMIT_S), Softphone(user="1001", password="geheim") as phone:
        call = phone.call("13700000000", line.address)
        await call.reached(Progress.TALKING)
        call.hang_up()
        (await line.finished()).check()


@pytest.mark.peer
async def test_baresip_hears_us_and_we_hear_baresip(
    baresip: Callable[..., Baresip],  # noqa: F811
    utterance: bytes,  # noqa: F811
    tmp_path: Path,
) -> None:
    officer = decode_alaw(utterance[::-1])
    account_ = BaresipAccount(user="phone1", registrar=("127.0.0.1", free_port()), answer="auto")
    phone = await asyncio.to_thread(baresip, account_, source=write_wav(tmp_path / "officer.wav", officer))
    async with asyncio.timeout(LIMIT_S), Softphone(user="13800138000") as caller:
        call = caller.call("phone1", phone.address)
        await call.reached(Progress.TALKING)
        end = call.say(samples_of(utterance), at_s=0.3)
        await call.until(end + 1.0)
        call.hang_up()
        await asyncio.to_thread(phone.wait_event, "CALL_CLOSED")
    assert align(decode_alaw(utterance), phone.heard()).correlation >= 0.99
    assert align(officer, decode_alaw(call.heard().alaw)).correlation >= 0.99
    assert call.heard().statistics.lost == 0
