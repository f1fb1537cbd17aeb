"""The transaction layer with a user that answers, calls, cancels and waits: a stream of datagrams and pauses.

It never raises, its live transactions stay bounded by what was sent to it, and after all timers nothing is left.
"""

from __future__ import annotations

from itertools import count

from tests.fuzz.harness import instrumented, run, split
from tests.fuzz.seeds import ACK, ACK_2XX, BYE, CANCEL, INVITE, OPTIONS, TORTURE, UPDATE, response

with instrumented():
    from telephony.sip.events import RequestReceived, ResponseReceived
    from telephony.sip.flow import Flow
    from telephony.sip.layer import TransactionLayer
    from telephony.sip.message import Headers, Request, make_response

_PEER = Flow(transport="UDP", remote=("192.0.2.20", 5060), local=("192.0.2.1", 5060))
_STREAM = Flow(transport="TCP", remote=("192.0.2.20", 5060), local=("192.0.2.1", 5060))
_S = b"\n==\n"
# The first byte of each piece says what happens before it arrives: see _act.
SEEDS = (
    _S.join([b"\0" + INVITE, b"\1" + INVITE, b"\2", b"\3" + ACK_2XX, b"\0" + BYE]),
    _S.join([b"\0" + INVITE, b"\0" + CANCEL, b"\4", b"\0" + ACK, b"\7"]),
    _S.join([b"\5" + response(100), b"\0" + response(180), b"\6" + response(200), b"\0" + response(200, tag="other")]),
    _S.join([b"\5" + response(180), b"\6" + response(487), b"\0" + response(200, method="CANCEL")]),
    _S.join([b"\0" + OPTIONS, b"\3" + UPDATE, b"\x13" + INVITE, b"\x17" + ACK]),
    _S.join([b"\x08" + response(100), b"\x09", b"\x07", b"\x06" + response(200)]),
    _S.join(b"\0" + message for message in TORTURE[:15]),
    _S.join(b"\3" + message for message in TORTURE[32:48]),
)


class User:
    """Acts on its layer as the pieces say, within what a user may do."""

    def __init__(self) -> None:
        tokens = count(1)
        self.layer = TransactionLayer(rng=lambda: f"t{next(tokens)}", max_transactions=50)
        self.now = 0.0
        self.asked: dict[str, Request] = {}
        self.calls: list[str] = []

    def act(self, what: int) -> None:
        self.now += 0.3
        match what & 0x0F:
            case 1:
                self.answer(180)
            case 2 | 3:
                self.answer(200)
            case 4:
                self.answer(486)
            case 5 | 8:
                self.call(long=what & 0x0F == 8)
            case 6 if self.calls:
                self.layer.cancel(self.calls[-1], self.now)
            case 7:
                self.wait(self.now + 40.0)
            case 9:
                self.layer.transport_failed(_STREAM, self.now)
                self.layer.transport_failed(_PEER, self.now)

    def answer(self, status: int) -> None:
        for identity, request in list(self.asked.items()):
            if status >= 200:
                del self.asked[identity]
            self.layer.respond(identity, make_response(request, status, to_tag="line"), self.now)

    def call(self, *, long: bool) -> None:
        items = [("From", "<sip:duty@a>;tag=line"), ("To", "<sip:1001@b>"), ("Call-ID", "c2"), ("CSeq", "1 INVITE")]
        request = Request(method="INVITE", uri="sip:1001@b", headers=Headers(items), body=b"a" * 2000 if long else b"")
        self.calls.append(self.layer.send_request(request, _PEER, self.now))

    def wait(self, until: float) -> None:
        while (due := self.layer.get_timer()) is not None and due <= until:
            self.now = max(self.now, due)
            self.layer.handle_timer(self.now)
            self.settle()
        self.now = max(self.now, until)

    def settle(self) -> None:
        while (event := self.layer.next_event()) is not None:
            if isinstance(event, RequestReceived):
                self.asked[event.transaction_id] = event.request
            elif isinstance(event, ResponseReceived) and 200 <= event.response.status < 300:
                self.acknowledge(event.response)
        for packet, flow in self.layer.packets_to_send():
            assert flow.remote[0] == _PEER.remote[0], "a peer aimed a packet of ours at somebody else"
            assert packet

    def acknowledge(self, response) -> None:
        if response.cseq.method == "INVITE":
            headers = response.headers
            for name in ("Via", "CSeq"):
                headers = headers.without(name)
            ack = headers.appended("CSeq", f"{response.cseq.number} ACK")
            self.layer.send_ack(Request(method="ACK", uri="sip:1001@b", headers=ack), _PEER, self.now)


def check(data: bytes) -> None:
    user = User()
    for piece in split(data, limit=24):
        user.act(piece[0] if piece else 0)
        user.settle()
        user.layer.receive(piece[1:], _STREAM if piece[:1] >= b"\x10" else _PEER, user.now)
        user.settle()
        assert len(user.layer) <= 24 * 3
    user.answer(500)
    for identity in user.calls:  # a call that rings rings until its user gives up (RFC 3261 section 17.1.1.2)
        user.layer.cancel(identity, user.now)
    user.wait(user.now + 200.0)
    assert len(user.layer) == 0, "transactions are left"
    assert user.layer.get_timer() is None


if __name__ == "__main__":
    run(check, SEEDS)
