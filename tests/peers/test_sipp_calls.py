"""SIPp against SIPp: every scenario runs, does what its comment says, and fails when the other side does not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.audio import FRAME_BYTES, FRAME_S, account
from tests.peers.ports import free_port
from tests.peers.rtp_peer import RtpPeer, packetize, write_pcap
from tests.peers.sipp import SCENARIOS, Sipp, SippError, SippResult

pytestmark = pytest.mark.peer

OpenPeer = Callable[..., RtpPeer]
Values = dict[str, str | int]


def _branches(result: SippResult, method: str) -> set[str]:
    return {
        (message.header("Via") or "").partition("branch=")[2].partition(";")[0]
        for message in result.messages
        if message.direction == "sent" and message.start_line.startswith(f"{method} ")
    }


def _credentials(result: SippResult) -> dict[str, str]:
    headers = (message.header(name) for message in result.messages for name in ("Authorization", "Proxy-Authorization"))
    return dict(re.findall(r'(\w+)="?([^",]*)"?', next(filter(None, headers)).removeprefix("Digest ")))


def _digest_is_right(result: SippResult, password: str) -> bool:
    """RFC 2617 3.2.2, worked out here for what SIPp sent."""

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    given = _credentials(result)
    first, second = md5(given["username"], given["realm"], password), md5("INVITE", given["uri"])
    middle = (given["nc"], given["cnonce"], given["qop"]) if "qop" in given else ()
    return given["response"] == md5(first, given["nonce"], *middle, second)


def test_the_caller_says_the_whole_utterance_at_20_ms_and_then_hangs_up(
    sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes
) -> None:
    ear = rtp_peer()
    phone = sipp.start("phone_answers_external_media", values={"media_port": ear.port})
    caller = sipp.start("caller_talks_then_bye", remote=phone.address, audio=utterance)
    caller.wait().check()
    phone.wait().check()

    frames = account(utterance, ear.heard())
    stream = ear.account()
    assert frames.perfect, frames
    assert stream.packets == len(utterance) // FRAME_BYTES
    assert (stream.lost, stream.duplicated, stream.reordered) == (0, 0, 0)
    assert stream.timestamp_steps == {FRAME_BYTES}
    assert stream.payload_types == {8}
    assert stream.median_interval_s == pytest.approx(FRAME_S, abs=0.002)


def test_several_callers_at_once_each_say_their_utterance(sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes) -> None:
    ear = rtp_peer()
    phone = sipp.start("phone_answers_external_media", values={"media_port": ear.port}, calls=3)
    callers = [sipp.start("caller_talks_then_bye", remote=phone.address, audio=utterance) for _ in range(3)]
    for caller in callers:
        caller.wait().check()
    phone.wait().check()
    for caller in callers:
        heard = b"".join(packet.payload for packet in ear.received if packet.source[1] == caller.media_port)
        assert account(utterance, heard).perfect


def test_one_sipp_cannot_say_something_in_several_calls(sipp: Sipp, utterance: bytes) -> None:
    with pytest.raises(ValueError, match="one call"):
        sipp.start("caller_talks_then_bye", remote=("127.0.0.1", free_port()), audio=utterance, calls=2)


def test_both_sides_hear_each_other_when_the_rtp_is_external(sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes) -> None:
    caller_media, phone_media = rtp_peer(), rtp_peer()
    phone = sipp.start("phone_answers_external_media", values={"media_port": phone_media.port})
    caller = sipp.start(
        "caller_external_media",
        remote=phone.address,
        values={"media_port": caller_media.port, "talk_ms": len(utterance) // 8 + 500},
    )
    to_phone, to_caller = caller.wait_for_audio_address(), phone.wait_for_audio_address()
    caller_media.send(utterance, to_phone)
    phone_media.send(utterance[::-1], to_caller)
    caller.wait().check()
    phone.wait().check()
    assert account(utterance, phone_media.heard()).perfect
    assert account(utterance[::-1], caller_media.heard()).perfect


def test_the_phone_echoes_what_the_caller_says(sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes) -> None:
    mouth = rtp_peer()
    phone = sipp.start("phone_answers_and_echoes", echo=True)
    caller = sipp.start(
        "caller_external_media",
        remote=phone.address,
        values={"media_port": mouth.port, "talk_ms": len(utterance) // 8 + 500},
    )
    mouth.send(utterance, caller.wait_for_audio_address())
    caller.wait().check()
    phone.wait().check()
    assert account(utterance, mouth.heard()).perfect


def test_the_phone_talks_and_hangs_up_first(sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes) -> None:
    ear = rtp_peer()
    phone = sipp.start("phone_hangs_up", audio=utterance)
    caller = sipp.start("caller_external_media_hears_bye", remote=phone.address, values={"media_port": ear.port})
    assert caller.wait().check().received[-1] == "BYE"
    phone.wait().check()
    assert account(utterance, ear.heard()).perfect


def test_both_talk_through_sipp_and_the_phone_ends_the_call(sipp: Sipp, utterance: bytes) -> None:
    phone = sipp.start("phone_hangs_up", audio=utterance, values={"talk_ms": 500})
    caller = sipp.start("caller_hears_bye", remote=phone.address, audio=utterance)
    assert caller.wait().check().received == ["180", "200", "BYE"]
    assert phone.wait().check().sent == ["180", "200", "BYE"]


def test_a_phone_that_talks_is_ended_by_the_caller(sipp: Sipp, utterance: bytes) -> None:
    phone = sipp.start("phone_answers_and_talks", audio=utterance)
    caller = sipp.start("caller_talks_then_bye", remote=phone.address, audio=utterance, values={"talk_ms": 300})
    caller.wait().check()
    assert phone.wait().check().received == ["INVITE", "ACK", "BYE"]


def test_calls_over_tcp(sipp: Sipp, utterance: bytes) -> None:
    phone = sipp.start("phone_answers_and_talks", audio=utterance, transport="tcp")
    caller = sipp.start(
        "caller_talks_then_bye", remote=phone.address, audio=utterance, values={"talk_ms": 300}, transport="tcp"
    )
    result = caller.wait().check()
    assert {message.transport for message in result.messages} == {"TCP"}
    phone.wait().check()


def test_the_pcap_is_what_the_peer_wrote(
    sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, tmp_path: Path, raw_socket: None
) -> None:
    ear = rtp_peer()
    packets = packetize(utterance, sequence=65_500, timestamp=2**32 - 800, ssrc=7)
    packets.pop(20)
    packets[30:32] = packets[31], packets[30]
    pcap = write_pcap(tmp_path / "call.pcap", packets)
    phone = sipp.start("phone_answers_external_media", values={"media_port": ear.port})
    values = {"talk_ms": len(utterance) // 8 + 300}
    sipp.start("caller_plays_pcap", remote=phone.address, pcap=pcap, values=values).wait().check()
    phone.wait().check()
    assert [packet.pack() for packet in ear.received] == [packet.pack() for packet in packets]
    stream = ear.account()
    assert (stream.lost, stream.duplicated, stream.reordered) == (1, 0, 1)


@pytest.mark.parametrize(("final", "reason"), [(486, "Busy Here"), (603, "Decline"), (480, "Temporarily Unavailable")])
def test_the_phone_rejects_and_the_caller_acknowledges(sipp: Sipp, final: int, reason: str) -> None:
    phone = sipp.start("phone_rejects", values={"final": final, "reason": reason, "answer_ms": 50})
    result = sipp.start("caller_refused", remote=phone.address, values={"final": final}).wait().check()
    assert result.received == ["180", str(final)]
    assert _branches(result, "ACK") == _branches(result, "INVITE")
    assert phone.wait().check().received == ["INVITE", "ACK"]


@pytest.mark.parametrize("final", [404, 503])
def test_a_refusal_without_ringing(sipp: Sipp, final: int) -> None:
    phone = sipp.start("phone_busy_at_once", values={"final": final, "reason": "Refused"})
    assert sipp.start("caller_refused", remote=phone.address, values={"final": final}).wait().check().received == [
        str(final)
    ]
    phone.wait().check()


def test_another_refusal_than_the_expected_one_fails(sipp: Sipp) -> None:
    phone = sipp.start("phone_busy_at_once")
    result = sipp.start("caller_refused", remote=phone.address, values={"final": 603}).wait()
    assert result.exit_code == 1
    assert "486" in result.errors
    with pytest.raises(SippError, match="486 Busy Here"):
        result.check()


def test_the_caller_cancels_while_it_rings(sipp: Sipp) -> None:
    phone = sipp.start("phone_never_answers")
    result = sipp.start("caller_cancels", remote=phone.address, values={"ring_ms": 200}).wait().check()
    assert result.received == ["180", "200", "487"]
    assert _branches(result, "CANCEL") == _branches(result, "INVITE") == _branches(result, "ACK")
    assert phone.wait().check().received == ["INVITE", "CANCEL", "ACK"]


def test_the_phone_redirects(sipp: Sipp) -> None:
    phone = sipp.start("phone_redirects", values={"target": "sip:13900139000@127.0.0.1:5999"})
    result = sipp.start("caller_refused", remote=phone.address, values={"final": 302}).wait().check()
    assert result.messages[-2].header("Contact") == "<sip:13900139000@127.0.0.1:5999>"
    phone.wait().check()


def test_a_refused_refer_leaves_the_call_up(sipp: Sipp, utterance: bytes) -> None:
    phone = sipp.start("phone_refers", audio=utterance, values={"final": 405, "refer_after_ms": 100})
    line = sipp.start("line_refuses_refer", remote=phone.address, values={"final": 405})
    refer = line.wait_for_message(lambda message: message.method == "REFER")
    assert refer.header("Refer-To") == "<sip:13900139000@127.0.0.1:5999>"
    line.wait().check()
    assert phone.wait().check().received == ["INVITE", "ACK", "405", "BYE"]


def test_an_accepted_refer_fails_the_scenario(sipp: Sipp, utterance: bytes) -> None:
    phone = sipp.start("phone_refers", audio=utterance, values={"refer_after_ms": 100})
    sipp.start("line_refuses_refer", remote=phone.address, values={"final": 202})
    assert phone.wait().exit_code == 1


def test_a_reinvite_that_is_accepted(sipp: Sipp, utterance: bytes) -> None:
    values: Values = {"new_port": 0, "new_direction": "sendonly", "reinvite_after_ms": 100}
    phone = sipp.start("phone_reinvites", audio=utterance, values=values)
    line = sipp.start("line_answers_reinvite", remote=phone.address)
    line.wait().check()
    result = phone.wait().check()
    assert result.received == ["INVITE", "ACK", "200", "BYE"]
    again = next(one for one in result.messages if one.start_line.startswith("INVITE") and one.direction == "sent")
    assert "a=sendonly" in again.body
    assert _branches(result, "ACK").isdisjoint(_branches(result, "INVITE"))


def test_a_reinvite_that_moves_the_media_is_refused(sipp: Sipp, utterance: bytes) -> None:
    values: Values = {"new_host": "127.0.0.9", "new_port": 40000, "reinvite_after_ms": 100}
    phone = sipp.start("phone_moves_media_refused", audio=utterance, values=values)
    refusal: Values = {"final": 488, "reason": "Not Acceptable Here"}
    line = sipp.start("line_answers_reinvite", remote=phone.address, values=refusal)
    moved = line.wait_for_message(lambda one: one.start_line.startswith("INVITE") and one.direction == "received")
    assert moved.audio_address == ("127.0.0.9", 40000)
    line.wait().check()
    result = phone.wait().check()
    assert result.received == ["INVITE", "ACK", "488", "BYE"]
    assert _branches(result, "ACK") == _branches(result, "INVITE")


def test_an_announcement_as_early_media(sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes) -> None:
    ear = rtp_peer()
    line = sipp.start("line_announces_early", audio=utterance)
    caller = sipp.start("caller_hears_early_announcement", remote=line.address, values={"media_port": ear.port})
    assert caller.wait().check().received == ["183", "480"]
    line.wait().check()
    assert account(utterance, ear.heard()).perfect


def test_the_phone_registers_with_digest(sipp: Sipp) -> None:
    registrar = sipp.start("line_registrar", values={"password": "right"})
    values: Values = {"password": "right", "contact_port": free_port(), "expires": 120}
    result = sipp.start("phone_registers", remote=registrar.address, values=values).wait().check()
    assert result.received == ["401", "200"]
    assert [message.header("CSeq") for message in result.messages if message.direction == "sent"] == [
        "1 REGISTER",
        "2 REGISTER",
    ]
    assert registrar.wait().check().sent == ["401", "200"]


def test_a_wrong_password_is_refused_by_the_registrar(sipp: Sipp) -> None:
    registrar = sipp.start("line_registrar", values={"password": "right"})
    values: Values = {"password": "wrong", "contact_port": free_port()}
    result = sipp.start("phone_register_refused", remote=registrar.address, values=values).wait().check()
    assert result.received == ["401", "403"]


@pytest.mark.parametrize(("challenge", "header"), [(407, "Proxy-Authenticate"), (401, "WWW-Authenticate")])
def test_the_phone_dials_out_with_digest(
    sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes, challenge: int, header: str
) -> None:
    ear = rtp_peer()
    line = sipp.start(
        "line_challenges_call",
        values={"challenge": challenge, "challenge_header": header, "media_port": ear.port},
    )
    values: Values = {"password": "right", "challenge": challenge}
    result = sipp.start("phone_dials_out", remote=line.address, audio=utterance, values=values).wait().check()
    assert result.received == [str(challenge), "180", "200", "200"]
    assert _digest_is_right(result, "right")
    assert not _digest_is_right(result, "wrong")
    line.wait().check()
    assert account(utterance, ear.heard()).perfect


def test_the_phone_dials_out_with_external_media(sipp: Sipp, rtp_peer: OpenPeer, utterance: bytes) -> None:
    far, near = rtp_peer(echo=True), rtp_peer()
    line = sipp.start("line_challenges_call", values={"media_port": far.port})
    values: Values = {"password": "right", "media_port": near.port, "talk_ms": len(utterance) // 8 + 500}
    phone = sipp.start("phone_dials_out_external_media", remote=line.address, values=values)
    near.send(utterance, phone.wait_for_audio_address())
    phone.wait().check()
    line.wait().check()
    assert account(utterance, near.heard()).perfect


def test_a_call_out_that_is_refused(sipp: Sipp) -> None:
    line = sipp.start("line_refuses_call")
    values: Values = {"password": "any", "number": "*57*13900139000%23"}
    result = sipp.start("phone_dials_out_refused", remote=line.address, values=values).wait().check()
    assert result.received == ["407", "403"]
    assert result.messages[0].start_line.startswith("INVITE sip:*57*13900139000%23@")
    line.wait().check()


def test_the_digest_uri_can_be_the_request_uri(sipp: Sipp) -> None:
    line = sipp.start("line_refuses_call")
    values: Values = {"password": "any"}
    uri = f"13800138000@{line.host}:{line.port}"
    result = sipp.start("phone_dials_out_refused", remote=line.address, values=values, auth_uri=uri).wait().check()
    assert _credentials(result)["uri"] == f"sip:{uri}"
    assert _digest_is_right(result, "any")


def test_nobody_there_is_an_error_and_ends_in_time(sipp: Sipp) -> None:
    run = sipp.start("caller_refused", remote=("127.0.0.1", free_port()), timeout_s=2)
    assert not run.wait().ok


def test_every_scenario_says_what_it_plays_and_is_well_formed() -> None:
    import xml.etree.ElementTree as ET

    scenarios = sorted(SCENARIOS.glob("*.xml"))
    assert len(scenarios) > 25
    for path in scenarios:
        text = path.read_text(encoding="utf-8")
        assert ET.fromstring(text).get("name") == path.stem
        assert path.stem.split("_")[0] in {"caller", "phone", "line", "recording"}
        assert "<!--\n" in text.split("<scenario")[0]


def test_every_scenario_is_run_by_a_test() -> None:
    folders = (Path(__file__).parent, Path(__file__).parents[1] / "line")
    tests = "".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.glob("*.py"))
    assert [path.stem for path in SCENARIOS.glob("*.xml") if f'"{path.stem}"' not in tests] == []
