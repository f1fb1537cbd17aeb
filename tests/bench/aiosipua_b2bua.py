"""A plain back-to-back user agent on aiosipua 0.7's documented interface, for the signalling bench to compare with.

Run by the peers' own interpreter: ``python aiosipua_b2bua.py host port phone_host phone_port``. It does what
``b2bua_simple`` of sippy does: each INVITE becomes one to the phone, its answers come back, and a BYE or CANCEL of
either side ends the other. No media, no registrar, no record of calls.
"""
# mypy: ignore-errors

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys

from aiosipua import IncomingCall, OutgoingCall, SipRequest, SipUAC, SipUAS
from aiosipua.transport import UdpSipTransport


class BackToBack:
    """Both sides of every call."""

    def __init__(self, local: tuple[str, int], phone: tuple[str, int]) -> None:
        self._phone = phone
        transport = UdpSipTransport(local_addr=local)
        self._uac = SipUAC(transport)
        self.uas = SipUAS(transport, uac=self._uac)
        self.uas.on_invite, self.uas.on_bye, self.uas.on_cancel = self._invited, self._hung_up, self._cancelled
        self._outgoing: dict[str, OutgoingCall] = {}
        self._incoming: dict[str, IncomingCall] = {}

    def _invited(self, call: IncomingCall) -> None:
        host, port = self._phone
        user = call.invite.to_addr.uri.user
        out = self._uac.send_invite(call.caller, f"sip:{user}@{host}:{port}", self._phone, sdp_offer=call.sdp_offer)
        self._outgoing[call.call_id], self._incoming[out.call_id] = out, call
        out.on_ringing = lambda _out: call.ringing()
        out.on_answer = lambda answered: call.accept(answered.sdp_answer)
        out.on_rejected = lambda _out, status, reason: self._rejected(call, status, reason)

    def _rejected(self, call: IncomingCall, status: int, reason: str) -> None:
        out = self._outgoing.pop(call.call_id, None)
        if out is not None:
            self._incoming.pop(out.call_id, None)
            call.reject(status, reason)

    def _hung_up(self, call: IncomingCall, _request: SipRequest) -> None:
        out = self._outgoing.pop(call.call_id, None)
        if out is not None:
            self._incoming.pop(out.call_id, None)
            out.hangup(self._uac)
            return
        incoming = self._incoming.pop(call.call_id, None)
        if incoming is not None:
            self._outgoing.pop(incoming.call_id, None)
            incoming.hangup()

    def _cancelled(self, request: SipRequest, _address: tuple[str, int]) -> None:
        out = self._outgoing.pop(request.call_id or "", None)
        if out is not None:
            self._incoming.pop(out.call_id, None)
            out.cancel(self._uac)


async def main() -> None:
    """Serve until the process is ended."""
    host, port, phone_host, phone_port = sys.argv[1:5]
    await BackToBack((host, int(port)), (phone_host, int(phone_port))).uas.start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
