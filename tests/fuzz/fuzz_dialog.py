"""Dialogs made and used by any messages that parse: refused with a status, and every request of ours is a message."""

from __future__ import annotations

from dataclasses import asdict

from tests.fuzz.harness import instrumented, must, run, split
from tests.fuzz.seeds import ACK_2XX, BYE, INVITE, TORTURE, UPDATE, response

with instrumented():
    from telephony.sip.dialog import Dialog
    from telephony.sip.errors import LocalProtocolError, RemoteProtocolError
    from telephony.sip.message import Message, Request, make_response, parse

_S = b"\n==\n"
_ROUTED = INVITE.replace(b"Call-ID", b"Record-Route: <sip:p1.example>, <sip:p2.example;lr>\r\nCall-ID")
SEEDS = (
    _S.join([INVITE, ACK_2XX, UPDATE, BYE]),
    _S.join([_ROUTED, ACK_2XX, UPDATE.replace(b"CSeq: 3", b"CSeq: 0"), BYE]),
    _S.join([INVITE, response(183), response(200)]),
    *(message for message in TORTURE if message.startswith(b"INVITE")),
)


def check(data: bytes) -> None:
    dialog: Dialog | None = None
    for datagram in split(data):
        try:
            message = parse(datagram)
            dialog = _used(dialog, message) if dialog is not None else _made(message)
        except RemoteProtocolError as error:
            must(400 <= error.status <= 699)
        if dialog is not None:
            _speaks(dialog)


def _made(message: Message) -> Dialog | None:
    if not isinstance(message, Request):
        ours = message.headers.with_value("Contact", "<sip:duty@192.0.2.1>")  # every INVITE of ours has one
        asked = Request(method=message.cseq.method, uri="sip:a@b", headers=ours)
        return Dialog.as_uac(asked, message)
    if message.method != "INVITE":
        return None
    answer = make_response(message, 200, to_tag="line", extra=[("Contact", "<sip:duty@192.0.2.1>")])
    return Dialog.as_uas(message, answer)


def _used(dialog: Dialog, message: Message) -> Dialog:
    before = dialog.remote_cseq
    if isinstance(message, Request):
        dialog.receive_request(message)
        assert message.method in ("ACK", "CANCEL") or before is None or dialog.remote_cseq > before  # type: ignore[operator]
    else:
        dialog.receive_response(message)
    return dialog


def _speaks(dialog: Dialog) -> None:
    """Whatever the peer wrote into the dialog, what we send by it can be read, and it survives being stored."""
    kept = Dialog(**asdict(dialog))
    assert kept.key == dialog.key
    for made in (kept.request("BYE"), kept.request("INVITE"), kept.ack(1)):
        try:
            wire = made.replace(headers=made.headers.prepended("Via", "SIP/2.0/UDP 192.0.2.1")).serialize()
            assert parse(wire)
        except LocalProtocolError as error:
            raise AssertionError("a peer made us break the protocol") from error


if __name__ == "__main__":
    run(check, SEEDS)
