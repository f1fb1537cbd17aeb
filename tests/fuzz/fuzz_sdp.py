"""Session descriptions: read, written, answered and accepted, never with more than the one error."""

from __future__ import annotations

from ipaddress import ip_address

from tests.fuzz.harness import instrumented, must, run
from tests.fuzz.seeds import SDP, TORTURE

with instrumented():
    from telephony.sip.errors import RemoteProtocolError
    from telephony.sip.sdp import AudioTarget, accept, answer, parse_sdp

SEEDS = (SDP, *(body for message in TORTURE if (body := message.partition(b"\r\n\r\n")[2]).startswith(b"v=0")))


def check(data: bytes) -> None:
    try:
        description = parse_sdp(data)
    except RemoteProtocolError as error:
        must(error.status == 400)
        return
    assert parse_sdp(description.serialize()) == description
    try:
        reply, target = answer(description, host="192.0.2.1", port=4000, session_id=1, version=1)
    except RemoteProtocolError as error:
        must(error.status == 488)
    else:
        _usable(target)
        assert len(reply.media) == len(description.media)
        assert _usable(accept(parse_sdp(reply.serialize())))
    try:
        _usable(accept(description))
    except RemoteProtocolError as error:
        must(error.status == 488)


def _usable(target: AudioTarget) -> bool:
    ip_address(target.host)
    assert 0 < target.port <= 65535
    assert target.payload_type in (0, 8)
    assert 0 <= target.wire_payload_type <= 127
    return True


if __name__ == "__main__":
    run(check, SEEDS)
