"""The sockets SIP comes by: one UDP socket, a TCP listener on the same address, and the connections of both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Address, Flow
from telephony.sip.framing import StreamFramer

_log = logging.getLogger(__name__)

Receive = Callable[[bytes, Flow], None]
Lost = Callable[[Flow], None]

MAX_CONNECTIONS = 512
CONNECT_LIMIT_S = 5.0
_READ_BYTES = 65_536


class Sockets:
    """Opens and owns the sockets. ``advertised_host`` is what flows name as our address."""

    def __init__(self, *, host: str, port: int, advertised_host: str, receive: Receive, lost: Lost) -> None:
        self._host, self._port = host, port
        self._local: Address = (advertised_host, port)
        self._receive, self._lost = receive, lost
        self._udp: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._writers: dict[Flow, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Bind both sockets. Raises OSError when the address is taken or not ours."""
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._received_datagram, self._refused), local_addr=(self._host, self._port)
        )
        self._server = await asyncio.start_server(self._accepted, self._host, self._port)

    def flow_to(self, remote: Address, *, transport: str = "UDP") -> Flow:
        """The flow by which ``remote`` is reached."""
        return Flow(transport="TCP" if transport.upper() == "TCP" else "UDP", remote=remote, local=self._local)

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message; a connection that does not exist is opened first."""
        if flow.transport == "UDP":
            if self._udp is not None and not self._udp.is_closing():
                self._udp.sendto(data, flow.remote)
            return
        writer = self._writers.get(flow)
        if writer is None or writer.is_closing():
            self._spawn(self._connect_and_send(data, flow))
        else:
            writer.write(data)

    async def close(self) -> None:
        """Close everything."""
        if self._udp is not None:
            self._udp.close()
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers.values()):
            writer.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _received_datagram(self, data: bytes, remote: Address) -> None:
        self._receive(data, Flow(transport="UDP", remote=remote, local=self._local))

    def _refused(self, error: OSError) -> None:
        _log.info("a datagram could not be delivered: %s", error)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        if len(self._writers) >= MAX_CONNECTIONS:
            writer.close()
            return
        flow = Flow(transport="TCP", remote=(peer[0], peer[1]), local=self._local)
        self._writers[flow] = writer
        await self._read(reader, flow)

    async def _connect_and_send(self, data: bytes, flow: Flow) -> None:
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                reader, writer = await asyncio.open_connection(*flow.remote)
        except (OSError, TimeoutError) as error:
            _log.info("no connection to %s: %s", flow.remote, error)
            self._lost(flow)
            return
        self._writers[flow] = writer
        writer.write(data)
        await self._read(reader, flow)

    async def _read(self, reader: asyncio.StreamReader, flow: Flow) -> None:
        framer = StreamFramer()
        writer = self._writers[flow]
        try:
            while framer.fault is None and (data := await reader.read(_READ_BYTES)):
                before = framer.pings
                for message in framer.feed(data):
                    self._receive(message, flow)
                writer.write(b"\r\n" * (framer.pings - before))
        except RemoteProtocolError as error:
            _log.warning("connection from %s closed: %s", flow.remote, error)
        except OSError:
            _log.info("connection from %s broke", flow.remote)
        finally:
            self._writers.pop(flow, None)
            writer.close()
            self._lost(flow)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Datagrams(asyncio.DatagramProtocol):
    """Hands datagrams on as they come."""

    def __init__(self, received: Callable[[bytes, Address], None], refused: Callable[[OSError], None]) -> None:
        self._received, self._refused = received, refused

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One datagram."""
        self._received(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """ICMP said that nobody listens there; the transaction's own timers decide."""
        if isinstance(exc, OSError):
            self._refused(exc)
