"""The sockets on loopback: every transport and family, reuse, limits, and what breaks underneath."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from telephony.connections import StreamLimits
from telephony.sip.events import Event, FailureCause, RequestReceived, ResponseReceived, TransactionFailed
from telephony.sip.flow import Address, Flow
from telephony.sip.layer import TransactionLayer
from telephony.sip.message import Request, make_response, parse
from telephony.sip.target import bracketed
from telephony.sockets import Listen, Sockets
from tests.telephony.sip.peers import events_of, request, tokens

HOSTS = ("127.0.0.1", "::1")


class Host:
    """Sockets and what came out of them. ``answer`` is what it says to each message."""

    def __init__(self, *listen: Listen | tuple[str, str, int], **options: object) -> None:
        self.received: list[tuple[bytes, Flow]] = []
        self.lost: list[Flow] = []
        self.answer = b""
        self.sockets = Sockets(receive=self._receive, lost=self.lost.append, listen=listen, **options)

    def _receive(self, data: bytes, flow: Flow) -> None:
        self.received.append((data, flow))
        if self.answer:
            self.sockets.send(self.answer, flow)

    def address(self, transport: str, number: int = 0) -> Address:
        return [local for by, local in self.sockets.bound if by == transport][number]


@pytest.fixture
async def start() -> AsyncIterator[Callable]:
    hosts: list[Host] = []

    async def begin(*listen, **options) -> Host:
        host = Host(*listen, **options)
        await host.sockets.open()
        hosts.append(host)
        return host

    yield begin
    for host in hosts:
        await host.sockets.close()


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for are lists of the test
            await asyncio.sleep(0.005)


async def ended(reader: asyncio.StreamReader) -> bool:
    """Waits for the end; a reset is one too (bytes of ours were still unread)."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


def invite(size: int = 0) -> bytes:
    message = request("INVITE", Content_Type="application/sdp")
    via = message.headers.prepended("Via", "SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1")
    return message.replace(headers=via, body=b"a" * size).serialize()


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transport", ["UDP", "TCP"])
async def test_a_message_and_its_answer_go_by_one_flow(start, host, transport):
    ours, theirs = await start((transport, host, 0)), await start((transport, host, 0))
    theirs.answer = b"SIP/2.0 100 Trying\r\nContent-Length: 0\r\n\r\n"
    flow = ours.sockets.flow_to(theirs.address(transport), transport=transport)
    ours.sockets.send(invite(), flow)
    await until(lambda: ours.received)
    assert theirs.received[0][0] == invite()
    assert ours.received == [(theirs.answer, flow)]
    assert flow.local == ours.address(transport)


async def test_one_endpoint_serves_both_families_and_several_addresses_at_once(start):
    line = await start(("UDP", "127.0.0.1", 0), ("TCP", "127.0.0.1", 0), ("UDP", "::1", 0), ("UDP", "127.0.0.2", 0))
    line.answer = b"ok"
    peer = await start(("UDP", "127.0.0.1", 0), ("UDP", "::1", 0))
    for number in range(3):
        peer.sockets.send(b"hello", peer.sockets.flow_to(line.address("UDP", number)))
    await until(lambda: len(peer.received) == 3)
    assert {flow.local for _, flow in line.received} == {line.address("UDP", number) for number in range(3)}
    # each answer leaves by the socket at which its question came
    assert {flow.remote for _, flow in peer.received} == {line.address("UDP", number) for number in range(3)}
    assert line.address("UDP")[1] == line.address("TCP")[1]


async def test_the_former_constructor_means_udp_and_tcp(start):
    host = await start(host="127.0.0.1", port=0, advertised_host="192.0.2.9")
    assert [by for by, _ in host.sockets.bound] == ["UDP", "TCP"]
    assert {local[0] for _, local in host.sockets.bound} == {"192.0.2.9"}
    assert host.sockets.flow_to(("127.0.0.1", 5060)).local[0] == "192.0.2.9"


@pytest.mark.parametrize("host", HOSTS)
async def test_an_invite_of_four_kilobytes_survives_fragmentation(start, host):
    ours, theirs = await start(("UDP", host, 0)), await start(("UDP", host, 0))
    ours.sockets.send(invite(4096), ours.sockets.flow_to(theirs.address("UDP")))
    await until(lambda: theirs.received)
    message = parse(theirs.received[0][0])
    assert isinstance(message, Request)
    assert len(message.body) == 4096


async def test_a_message_in_single_bytes_of_tcp_is_put_together(start):
    theirs = await start(("TCP", "127.0.0.1", 0))
    _, writer = await asyncio.open_connection(*theirs.address("TCP"))
    whole = invite(4096)
    for place in range(600):
        writer.write(whole[place : place + 1])
        await writer.drain()
    writer.write(whole[600:] + invite())
    await until(lambda: len(theirs.received) == 2)
    assert [data for data, _ in theirs.received] == [whole, invite()]
    writer.close()


async def test_messages_sent_while_connecting_share_one_connection_and_keep_their_order(start):
    ours, theirs = await start(("TCP", "127.0.0.1", 0)), await start(("TCP", "127.0.0.1", 0))
    flow = ours.sockets.flow_to(theirs.address("TCP"), transport="TCP")
    messages = [invite(size) for size in range(5)]
    for message in messages[:3]:
        ours.sockets.send(message, flow)
    await until(lambda: len(theirs.received) == 3)
    for message in messages[3:]:
        ours.sockets.send(message, flow)
    await until(lambda: len(theirs.received) == 5)
    assert [data for data, _ in theirs.received] == messages
    assert len({flow.remote for _, flow in theirs.received}) == 1


async def test_a_connection_that_was_lost_is_opened_again(start):
    ours, theirs = await start(("TCP", "127.0.0.1", 0)), await start(("TCP", "127.0.0.1", 0))
    flow = ours.sockets.flow_to(theirs.address("TCP"), transport="TCP")
    ours.sockets.send(invite(), flow)
    await until(lambda: theirs.received)
    port = theirs.address("TCP")[1]
    await theirs.sockets.close()
    await until(lambda: ours.lost)
    again = await start(("TCP", "127.0.0.1", port))
    ours.sockets.send(invite(), flow)
    await until(lambda: again.received)


async def test_crlf_is_answered_and_refused_framing_closes(start):
    theirs = await start(("TCP", "127.0.0.1", 0))
    reader, writer = await asyncio.open_connection(*theirs.address("TCP"))
    writer.write(b"\r\n\r\n")
    assert await reader.readexactly(2) == b"\r\n"
    writer.write(b"INVITE sip:a@b SIP/2.0\r\nContent-Length: -999\r\n\r\n")
    assert await ended(reader)
    assert theirs.received == []
    writer.close()


async def test_refused_connections_and_datagrams_are_reported(start):
    ours = await start(("UDP", "127.0.0.1", 0), ("TCP", "127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed, socket.socket() as shut:
        closed.bind(("127.0.0.1", 0))
        shut.bind(("127.0.0.1", 0))
        udp, tcp = closed.getsockname(), shut.getsockname()
    by_udp, by_tcp = ours.sockets.flow_to(udp), ours.sockets.flow_to(tcp, transport="TCP")
    ours.sockets.send(invite(), by_udp)
    ours.sockets.send(invite(), by_tcp)
    await until(lambda: {by_udp, by_tcp} <= set(ours.lost))


async def test_the_error_of_one_datagram_does_not_swallow_the_next(start):
    """The kernel hands the ICMP error to whatever is sent next, to whomever it goes."""
    ours, theirs = await start(("UDP", "127.0.0.1", 0)), await start(("UDP", "127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        gone = closed.getsockname()
    for number in range(20):
        ours.sockets.send(b"nobody", ours.sockets.flow_to(gone))
        ours.sockets.send(b"%d" % number, ours.sockets.flow_to(theirs.address("UDP")))
    await until(lambda: len(theirs.received) == 20)


async def test_a_datagram_that_cannot_be_is_reported_not_raised(start):
    ours = await start(("UDP", "127.0.0.1", 0))
    flow = ours.sockets.flow_to(("127.0.0.1", 9))
    ours.sockets.send(b"a" * 70_000, flow)
    await until(lambda: ours.lost == [flow])


class Speaker(Host):
    """Sockets under a transaction layer, as the endpoint puts them together."""

    def __init__(self, *listen: Listen | tuple[str, str, int]) -> None:
        super().__init__(*listen)
        self.layer = TransactionLayer(rng=tokens("t"))
        self.sockets._lost = self.sockets.connections._lost = self._failed
        self.events: list[Event] = []

    def say(self, message: Request, flow: Flow) -> None:
        self.layer.send_request(message, flow, 0.0)
        self._flush()

    def _receive(self, data: bytes, flow: Flow) -> None:
        super()._receive(data, flow)
        self.layer.receive(data, flow, 0.0)
        self._flush()

    def _failed(self, flow: Flow) -> None:
        self.lost.append(flow)
        self.layer.transport_failed(flow, 0.0)
        self._flush()

    def _flush(self) -> None:
        for packet, flow in self.layer.packets_to_send():
            self.sockets.send(packet, flow)
        self.events += events_of(self.layer)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("transports", [("UDP",), ("UDP", "TCP")])
async def test_a_long_invite_goes_by_tcp_where_the_peer_has_it_and_else_by_udp(host, transports):
    ours = Speaker(("UDP", host, 0), ("TCP", host, 0))
    theirs = Speaker(*((transport, host, 0) for transport in transports))
    await ours.sockets.open()
    await theirs.sockets.open()
    ours.say(request("INVITE").replace(body=b"a" * 4096), ours.sockets.flow_to(theirs.address("UDP")))
    await until(lambda: theirs.events)
    [event] = theirs.events
    assert isinstance(event, RequestReceived)
    assert (event.flow.transport, event.request.via.transport) == (transports[-1], transports[-1])
    assert len(event.request.body) == 4096
    theirs.layer.respond(event.transaction_id, make_response(event.request, 486, to_tag="x"), 0.0)
    theirs._flush()
    await until(lambda: ours.events)
    assert isinstance(ours.events[0], ResponseReceived)
    await ours.sockets.close()
    await theirs.sockets.close()


async def test_where_nobody_listens_a_request_fails_at_once(start):
    ours = Speaker(("UDP", "127.0.0.1", 0))
    await ours.sockets.open()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        gone = closed.getsockname()
    ours.say(request("OPTIONS"), ours.sockets.flow_to(gone))
    await until(lambda: ours.events)
    assert ours.events == [TransactionFailed(transaction_id="c1", cause=FailureCause.TRANSPORT)]
    await ours.sockets.close()


@pytest.mark.parametrize(
    "sent",
    [b"", b"INVITE sip:a@b SIP/2.0\r\n", b"INVITE sip:a@b SIP/2.0\r\nContent-Length: 9\r\n\r\nhalf"],
    ids=["silent", "half a head", "half a body"],
)
async def test_slow_peers_are_let_go(start, sent):
    limits = StreamLimits(first_message_s=0.2, message_s=0.2)
    theirs = await start(("TCP", "127.0.0.1", 0), limits=limits)
    reader, writer = await asyncio.open_connection(*theirs.address("TCP"))
    writer.write(sent)
    async with asyncio.timeout(2):
        assert await ended(reader)
    await until(lambda: len(theirs.sockets.connections) == 0)
    writer.close()


async def test_a_message_must_come_in_time_however_steadily_it_drips(start):
    theirs = await start(("TCP", "127.0.0.1", 0), limits=StreamLimits(message_s=0.3))
    reader, writer = await asyncio.open_connection(*theirs.address("TCP"))
    writer.write(invite())
    begun = asyncio.get_running_loop().time()

    async def drip() -> None:
        for byte in invite(4096):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(3):
        assert await ended(reader)
    assert 0.25 < asyncio.get_running_loop().time() - begun < 1.5
    dripping.cancel()
    assert len(theirs.received) == 1
    writer.close()


async def test_an_idle_connection_is_let_go_and_pings_keep_it(start):
    theirs = await start(("TCP", "127.0.0.1", 0), limits=StreamLimits(idle_s=0.3))
    pairs = [await asyncio.open_connection(*theirs.address("TCP")) for _ in range(2)]
    (idle, idle_writer), (alive, alive_writer) = pairs
    idle_writer.write(invite())
    alive_writer.write(invite())
    for _ in range(6):
        alive_writer.write(b"\r\n\r\n")
        await asyncio.sleep(0.1)
    async with asyncio.timeout(1):
        assert await ended(idle)
    assert (await alive.read(100)).count(b"\r\n") >= 5
    assert len(theirs.sockets.connections) == 1
    for _, writer in pairs:
        writer.close()


async def test_one_source_cannot_take_all_connections(start):
    theirs = await start(("TCP", "127.0.0.1", 0), limits=StreamLimits(per_source=3, connections=5))
    greedy = [await asyncio.open_connection(*theirs.address("TCP")) for _ in range(5)]
    for reader, _ in greedy[3:]:
        assert await ended(reader)
    other = await asyncio.open_connection(*theirs.address("TCP"), local_addr=("127.0.0.2", 0))
    other[1].write(invite())
    await until(lambda: theirs.received)
    assert theirs.sockets.connections.refused == 2
    greedy[0][1].close()
    await until(lambda: len(theirs.sockets.connections) == 3)
    for _, writer in [*greedy, other]:
        writer.close()


async def test_a_peer_that_never_reads_does_not_fill_our_memory(start):
    theirs = await start(("TCP", "127.0.0.1", 0), limits=StreamLimits(unread_bytes=200_000))
    theirs.answer = b"x" * 60_000
    _, writer = await asyncio.open_connection(*theirs.address("TCP"))
    for _ in range(400):
        writer.write(invite())
    await until(lambda: theirs.lost)
    writer.close()


async def test_a_failing_receiver_stops_nothing(start, caplog):
    theirs = await start(("UDP", "127.0.0.1", 0), ("TCP", "127.0.0.1", 0))
    ours = await start(("UDP", "127.0.0.1", 0), ("TCP", "127.0.0.1", 0))
    taken: list[bytes] = []

    def receive(data: bytes, flow: Flow) -> None:
        taken.append(data)
        raise RuntimeError("a fault of ours")

    theirs.sockets._receive = theirs.sockets.connections._receive = receive
    for transport in ("UDP", "TCP"):
        for _ in range(2):
            ours.sockets.send(invite(), ours.sockets.flow_to(theirs.address(transport), transport=transport))
    await until(lambda: len(taken) == 4)
    assert caplog.text.count("could not be taken") == 4


async def test_what_cannot_be_bound_leaves_nothing_bound(start):
    taken = await start(("TCP", "127.0.0.1", 0))
    port = taken.address("TCP")[1]
    host = Host(("UDP", "127.0.0.1", 0), ("TCP", "127.0.0.1", port))
    with pytest.raises(OSError, match="in use"):
        await host.sockets.open()
    assert host.sockets._datagrams == {}


def test_listening_by_tls_without_a_certificate_is_refused():
    with pytest.raises(ValueError, match="certificate"):
        Host(("TLS", "127.0.0.1", 0))


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("pbx", "pbx")])
def test_addresses_in_uris_are_bracketed(host, shown):
    assert bracketed(host) == shown
