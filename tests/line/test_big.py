"""INVITEs of carriers that fill several packets: whole and in IP fragments (RFC 3261 18.1.1 lets a sender that knows no
better send them by UDP all the same)."""

from __future__ import annotations

import os
import re
import socket
import struct
from collections.abc import Callable

import pytest

from tests.line.book import Book
from tests.line.conftest import DESK
from tests.line.desk import Desk
from tests.line.raw import RawCaller
from tests.line.service import Service
from tests.peers.fixtures import raw_socket
from tests.peers.ports import Address

__all__ = ["raw_socket"]

pytestmark = [pytest.mark.peer, pytest.mark.rule("6.1-a")]

_FRAGMENT = 1480
"""Bytes of payload in an Ethernet packet."""
_MORE = 0x2000


def carrier_like(caller: RawCaller, size: int) -> bytes:
    """An INVITE of about ``size`` bytes, big where those of an IMS are: its path, its charging, its codecs."""
    paths = "".join(
        f"Record-Route: <sip:term@cscf{hop:02}.ims.mnc000.mcc460.3gppnetwork.org:6060;lr;did={'4' * 40}>\r\n"
        for hop in range(size // 400)
    )
    codecs = "".join(f"a=rtpmap:{number} AMR/8000\r\na=fmtp:{number} mode-set=0,2,4,7\r\n" for number in range(96, 112))
    candidates = "".join(
        f"a=candidate:{number} 1 UDP 2130706431 10.1.2.{number} {4000 + number} typ host\r\n"
        for number in range(size // 160)
    )
    sdp = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio 40000 RTP/AVP {' '.join(map(str, range(96, 112)))} 8 0\r\n{codecs}{candidates}"
    )
    charging = "P-Charging-Vector: icid-value=" + "9" * 200 + "\r\n"
    invite = caller.invite(extra=paths + charging, sdp=sdp)
    assert size * 0.8 < len(invite) < size * 1.2, len(invite)
    return invite


def in_fragments(datagram: bytes, source: Address, to: Address) -> list[bytes]:
    """The IPv4 packets (RFC 791 3.2) that carry one UDP datagram over an Ethernet."""
    whole = struct.pack("!HHHH", source[1], to[1], 8 + len(datagram), 0) + datagram
    identity = int.from_bytes(os.urandom(2), "big") | 1
    packets = []
    for start in range(0, len(whole), _FRAGMENT):
        piece = whole[start : start + _FRAGMENT]
        more = _MORE if start + _FRAGMENT < len(whole) else 0
        head = struct.pack(
            "!BBHHHBBH", 0x45, 0, 20 + len(piece), identity, more | start // 8, 64, socket.IPPROTO_UDP, 0
        )
        packets.append(head + socket.inet_aton(source[0]) + socket.inet_aton(to[0]) + piece)
    return packets


def whole(datagram: bytes, caller: RawCaller) -> None:
    caller.send(datagram)


def fragmented(datagram: bytes, caller: RawCaller) -> None:
    """The last piece first, as routes that differ deliver them."""
    packets = in_fragments(datagram, caller.address, caller.line)
    assert len(packets) > 2
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as wire:
        for packet in reversed(packets):
            wire.sendto(packet, (caller.line[0], 0))


@pytest.mark.parametrize("size", [5_000, 8_000])
@pytest.mark.parametrize("way", [whole, fragmented])
@pytest.mark.usefixtures("raw_socket")
def test_a_big_invite_is_a_call(
    service: Service, desk: Desk, book: Book, number: str, way: Callable[[bytes, RawCaller], None], size: int
) -> None:
    phone = desk.phone("phone_never_answers", "1001")
    with RawCaller(service.address, dialled=DESK, caller=number) as caller:
        invite = carrier_like(caller, size)
        way(invite, caller)
        caller.listen(0.4)
        way(invite, caller)
        caller.send(caller.cancel())
        statuses = caller.listen(0.5)
        ringing = next(one for one in caller.received if one.startswith(b"SIP/2.0 180"))
    assert {100, 180, 200, 487} == set(statuses)
    recorded = re.findall(rb"(?m)^Record-Route: .*$", ringing)
    assert recorded == re.findall(rb"(?m)^Record-Route: .*$", invite)
    result = phone.wait()
    assert result.received == ["INVITE", "CANCEL", "ACK"]
    assert "cscf" not in result.messages[0].text
    assert len(book.calls(number)) == 1
    assert book.ended(number).outcome == "cancelled"


@pytest.mark.usefixtures("raw_socket")
def test_fragments_that_never_become_whole_harm_nobody(service: Service, book: Book, number: str) -> None:
    with RawCaller(service.address, dialled=DESK, caller=number) as caller:
        packets = in_fragments(carrier_like(caller, 6_000), caller.address, caller.line)
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as wire:
            for packet in packets[:-1]:
                wire.sendto(packet, (caller.line[0], 0))
        assert caller.listen(0.3) == []
    assert service.answers()
    assert book.calls(number) == []
