"""The harness itself: what is missing is said, what is wrong in a call of it is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import programs
from tests.peers.baresip import BaresipAccount
from tests.peers.ports import free_block, free_port
from tests.peers.sip_trace import parse_trace
from tests.peers.sipp import fill


@pytest.mark.parametrize("program", ["sipp", "baresip"])
def test_a_missing_program_fails_on_ci_and_is_skipped_elsewhere(
    program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    package = programs.DEBIAN_PACKAGES[program]
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=f"apt-get install {package}"):
        programs.require(program)
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match=f"apt-get install {package}"):
        programs.require(program)


def test_ports_are_never_given_twice() -> None:
    ports = [free_port() for _ in range(20)]
    block = free_block(10)
    assert len(set(ports)) == 20
    assert all(port % 2 == 0 and port < 32_768 for port in ports)
    assert set(range(block, block + 10)).isdisjoint(port + one for port in ports for one in (0, 1))


def test_values_fill_every_place_or_are_an_error() -> None:
    assert fill("{{final=486}} {{who}} {{who}} {{host=[media_ip]}}", {"who": "a"}) == "486 a a [media_ip]"
    assert fill("{{final=486}}", {"final": 603}) == "603"
    with pytest.raises(ValueError, match="needs who"):
        fill("{{who}}", {})
    with pytest.raises(ValueError, match="no place for fnial; it has final"):
        fill("{{final=486}}", {"fnial": 603})


def test_a_trace_is_read_while_it_is_written() -> None:
    body = b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 8\r\nc=IN IP4 127.0.0.9\r\na=x\r\n"
    response = b"SIP/2.0 200 OK\r\nVia: a\r\nvia: b\r\nCSeq: 1 INVITE\r\n\r\n" + body
    head = b"----------------------------------------------- 2026-01-01 00:00:00.000001\n"
    sent = head + b"UDP message sent (%d bytes):\n\nBYE sip:a SIP/2.0\r\n\r\n\n" % len("BYE sip:a SIP/2.0\r\n\r\n")
    received = head + b"UDP message received [%d] bytes :\n\n" % len(response) + response
    first, second = parse_trace(sent + received)
    assert (first.direction, first.method, first.status) == ("sent", "BYE", None)
    assert (second.status, second.method, second.headers("Via")) == (200, "INVITE", ["a", "b"])
    assert second.audio_address == ("127.0.0.9", 4000)
    assert first.audio_address is None
    assert parse_trace(sent + received[:-1]) == (first,)


def test_the_account_line_is_baresips() -> None:
    account = BaresipAccount(user="phone1", password="s3cret", registrar=("127.0.0.1", 5070), expires_s=60)
    assert account.line() == (
        "<sip:phone1@127.0.0.1:5070;transport=udp>;auth_user=phone1;auth_pass=s3cret;regint=60;"
        "answermode=manual;audio_codecs=PCMA;ptime=20;dtmfmode=rtpevent"
    )
