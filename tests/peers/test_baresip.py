"""baresip and SIPp call each other; baresip's recording is what the other side sent, and the other way round."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.audio import align, decode_alaw, write_wav
from tests.peers.baresip import Baresip, BaresipAccount, BaresipError
from tests.peers.ports import free_port
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp

pytestmark = pytest.mark.peer

OpenPeer = Callable[..., RtpPeer]
StartBaresip = Callable[..., Baresip]


def _nobody() -> BaresipAccount:
    return BaresipAccount(user="phone1", registrar=("127.0.0.1", free_port()))


def _duration_ms(alaw: bytes) -> int:
    return len(alaw) // 8


def test_baresip_answers_a_sipp_call_and_records_both_voices(
    sipp: Sipp, baresip: StartBaresip, rtp_peer: OpenPeer, utterance: bytes, tmp_path: Path
) -> None:
    officer = decode_alaw(utterance[::-1])
    phone = baresip(_nobody(), source=write_wav(tmp_path / "officer.wav", officer))
    caller_media = rtp_peer()
    values: dict[str, str | int] = {
        "line": "phone1",
        "media_port": caller_media.port,
        "talk_ms": _duration_ms(utterance) + 1000,
    }
    caller = sipp.start("caller_external_media", remote=phone.address, values=values)
    incoming = phone.wait_event("CALL_INCOMING")
    assert incoming.fields["peeruri"] == f"sip:13800138000@127.0.0.1:{caller.port}"
    phone.answer()
    caller_media.send(utterance, caller.wait_for_audio_address())
    caller.wait().check()
    phone.wait_event("CALL_CLOSED")

    assert align(decode_alaw(utterance), phone.heard()).correlation >= 0.99
    assert align(officer, phone.said()).correlation >= 0.99
    assert align(officer, decode_alaw(caller_media.heard())).correlation >= 0.99
    assert caller_media.account().lost == 0


def test_sipp_itself_talks_to_a_phone_that_answers_by_itself(
    sipp: Sipp, baresip: StartBaresip, utterance: bytes
) -> None:
    phone = baresip(BaresipAccount(user="phone1", registrar=("127.0.0.1", free_port()), answer="auto"))
    caller = sipp.start("caller_talks_then_bye", remote=phone.address, audio=utterance, values={"line": "phone1"})
    caller.wait().check()
    phone.wait_event("CALL_CLOSED")
    assert align(decode_alaw(utterance), phone.heard()).correlation >= 0.99


def test_baresip_dials_and_hangs_up(sipp: Sipp, baresip: StartBaresip, utterance: bytes) -> None:
    called = sipp.start("phone_answers_and_talks", audio=utterance)
    caller = baresip(BaresipAccount(user="caller", registrar=called.address))
    caller.dial(f"sip:8001@127.0.0.1:{called.port}")
    caller.wait_event("CALL_ESTABLISHED")
    caller.wait_event("CALL_RTPESTAB")
    caller.hangup()
    caller.wait_event("CALL_CLOSED")
    assert called.wait().check().received == ["INVITE", "ACK", "BYE"]


def test_baresip_refuses_a_call(sipp: Sipp, baresip: StartBaresip) -> None:
    phone = baresip(_nobody())
    caller = sipp.start("caller_refused", remote=phone.address, values={"line": "phone1", "final": 486})
    phone.wait_event("CALL_INCOMING")
    phone.hangup()
    caller.wait().check()


def test_baresip_sees_that_the_caller_gave_up(sipp: Sipp, baresip: StartBaresip) -> None:
    phone = baresip(_nobody())
    caller = sipp.start("caller_cancels", remote=phone.address, values={"line": "phone1"})
    caller.wait().check()
    phone.wait_event("CALL_CLOSED")


def test_baresip_tries_to_transfer_is_refused_and_ends_the_call_itself(sipp: Sipp, baresip: StartBaresip) -> None:
    phone = baresip(BaresipAccount(user="phone1", registrar=("127.0.0.1", free_port()), answer="auto"))
    line = sipp.start("line_refuses_refer", remote=phone.address, values={"line": "phone1", "final": 403})
    phone.wait_event("CALL_ESTABLISHED")
    phone.transfer("sip:13900139000@127.0.0.1")
    assert phone.wait_event("TRANSFER_FAILED").parameter.startswith("403")
    result = line.wait()
    assert result.received[-2:] == ["REFER", "BYE"]
    refer = next(message for message in result.messages if message.method == "REFER" and not message.status)
    assert refer.header("Refer-To") == "sip:13900139000@127.0.0.1"


def test_baresip_holds_a_call(sipp: Sipp, baresip: StartBaresip) -> None:
    phone = baresip(BaresipAccount(user="phone1", registrar=("127.0.0.1", free_port()), answer="auto"))
    line = sipp.start("line_answers_reinvite", remote=phone.address, values={"line": "phone1"})
    phone.wait_event("CALL_ESTABLISHED")
    phone.hold()
    line.wait().check()
    again = next(one for one in line.messages() if one.start_line.startswith("INVITE") and one.direction == "received")
    assert "a=sendonly" in again.body


def test_baresip_registers_with_digest(sipp: Sipp, baresip: StartBaresip) -> None:
    registrar = sipp.start("line_registrar", values={"password": "right"})
    phone = baresip(BaresipAccount(user="phone1", password="right", registrar=registrar.address, expires_s=60))
    assert phone.wait_event("REGISTER_OK").parameter.startswith("200")
    registrar.wait().check()


def test_baresip_is_told_that_its_password_is_wrong(sipp: Sipp, baresip: StartBaresip) -> None:
    registrar = sipp.start("line_registrar", values={"password": "right"})
    phone = baresip(BaresipAccount(user="phone1", password="wrong", registrar=registrar.address, expires_s=60))
    assert phone.wait_event("REGISTER_FAIL").parameter.startswith("403")


def test_baresip_listens_on_loopback_only(baresip: StartBaresip) -> None:
    phone = baresip(_nobody())
    tcp = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    ports = {f"{phone.port:04X}", f"{phone.port + 1:04X}"}
    listening = {entry[1].split(":")[0] for entry in tcp if entry[3] == "0A" and entry[1].split(":")[1] in ports}
    assert listening == {"0100007F"}


def test_what_baresip_cannot_do_is_an_error(baresip: StartBaresip) -> None:
    phone = baresip(_nobody())
    with pytest.raises(BaresipError):
        phone.command("no-such-command")
    with pytest.raises(BaresipError, match="no CALL_INCOMING"):
        phone.wait_event("CALL_INCOMING", 0.1)
