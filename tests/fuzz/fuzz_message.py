"""The parser: any bytes are a message or the one error; what is read is written without loss."""

from __future__ import annotations

from tests.fuzz.harness import instrumented, must, run
from tests.fuzz.seeds import MULTIPART, STARTS, TORTURE

with instrumented():
    from telephony.sip.errors import RemoteProtocolError
    from telephony.sip.inspection import inspect
    from telephony.sip.message import Request, error_response_for, make_response, parse
    from telephony.sip.multipart import body_types, session_description

SEEDS = (*TORTURE, *STARTS, MULTIPART)
METHODS = frozenset({"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER"})


def check(data: bytes) -> None:
    try:
        message = parse(data)
    except RemoteProtocolError as error:
        answer = error_response_for(data, error)
        assert answer is None or answer.serialize()
        return
    assert parse(message.serialize()) == message
    _ = message.expires, message.content_type, message.contact_is_star
    if isinstance(message, Request):
        inspect(message, methods=METHODS)
        assert parse(make_response(message, 200, to_tag="tag").serialize())
    body_types(message)
    try:
        session_description(message)
    except RemoteProtocolError as error:
        must(error.status in (400, 415))


if __name__ == "__main__":
    run(check, SEEDS)
