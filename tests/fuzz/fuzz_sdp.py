"""Session descriptions: read, written, answered and accepted, never with more than the one error."""

from __future__ import annotations

from ipaddress import ip_address

from tests.fuzz.harness import instrumented, must, run
from tests.fuzz.seeds import ENCRYPTED_SDP, SDP, TORTURE

with instrumented():
    from telephony.sip.errors import RemoteProtocolError
    from telephony.sip.sdp import AudioTarget, Security, SessionDescription, accept, answer, parse_sdp
    from telephony.sip.security_description import KEY_BYTES, masked, parse_crypto, read_cryptos

SEEDS = (
    SDP,
    ENCRYPTED_SDP,
    *(body for message in TORTURE if (body := message.partition(b"\r\n\r\n")[2]).startswith(b"v=0")),
)


KEYS = {suite: bytes(size) for suite, size in KEY_BYTES.items()}
CODECS = (8, 0, 9)
HOST = "192.0.2.1"


def check(data: bytes) -> None:
    assert len(masked(data)) == len(data)
    try:
        description = parse_sdp(data)
    except RemoteProtocolError as error:
        must(error.status == 400)
        return
    assert parse_sdp(description.serialize()) == description
    for crypto in (each for media in description.media for each in read_cryptos(media.attributes)):
        assert parse_crypto(str(crypto)) == crypto
    for security in (Security(), Security(keys=KEYS), Security(keys=KEYS, required=True)):
        _answered(description, security)
    try:
        _usable(accept(description, host=HOST, codecs=CODECS))
    except RemoteProtocolError as error:
        must(error.status == 488)


def _answered(description: SessionDescription, security: Security) -> None:
    try:
        reply, target = answer(
            description, host=HOST, port=4000, session_id=1, version=1, codecs=CODECS, security=security
        )
    except RemoteProtocolError as error:
        must(error.status == 488)
        return
    _usable(target)
    assert len(reply.media) == len(description.media)
    assert target.keys is not None or not security.required
    ours = tuple(each for media in reply.media for each in read_cryptos(media.attributes))
    again = accept(parse_sdp(reply.serialize()), host=HOST, codecs=CODECS, cryptos=ours, required=security.required)
    assert _usable(again)
    assert (again.keys is None) == (target.keys is None)


def _usable(target: AudioTarget) -> bool:
    ip_address(target.host)
    assert 0 < target.port <= 65535
    assert target.payload_type in CODECS
    assert 0 <= target.wire_payload_type <= 127
    return True


if __name__ == "__main__":
    run(check, SEEDS)
