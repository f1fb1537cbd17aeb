"""SIP over TCP and TLS: connections in both directions, each kept for as long as it is of use and no longer.

A flow names a connection; what is sent to a flow whose connection is gone opens it anew (RFC 3261 section 18.1.1).
Every limit exists because a stranger can open connections: how many, from where, and how long one may keep us
waiting.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from telephony.sip.errors import RemoteProtocolError
from telephony.sip.flow import Address, Flow
from telephony.sip.framing import StreamFramer
from telephony.tls import Tls

_log = logging.getLogger(__name__)

_READ_BYTES = 65_536
_WAITING_WHILE_CONNECTING = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """What a stranger may cost. Times are s.

    A connection must bring its first whole message within ``first_message_s`` and each message within
    ``message_s`` of its first byte; then it may be silent for ``idle_s``, longer than a registration lasts. One that
    does not read what we send is closed beyond ``unread_bytes``.
    """

    connections: int = 512
    per_source: int = 32
    first_message_s: float = 30.0
    message_s: float = 30.0
    idle_s: float = 3_900.0
    connect_s: float = 5.0
    handshake_s: float = 10.0
    unread_bytes: int = 1_048_576


class Connections:
    """All connections of one endpoint. ``receive`` takes each whole message, ``lost`` a flow that leads nowhere."""

    def __init__(
        self,
        *,
        receive: Callable[[bytes, Flow], None],
        lost: Callable[[Flow], None],
        limits: StreamLimits,
        tls: Tls | None,
    ) -> None:
        self._receive, self._lost = receive, lost
        self._limits, self._tls = limits, tls
        self._writers: dict[Flow, asyncio.StreamWriter] = {}
        self._connecting: dict[Flow, list[bytes]] = {}
        self._sources: Counter[str] = Counter()
        self._domains: dict[Address, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.refused = 0

    def __len__(self) -> int:
        """How many connections strangers hold, those in their handshake included."""
        return self._sources.total()

    def name_peer(self, remote: Address, domain: str) -> None:
        """``remote`` is where ``domain`` was resolved to: by TLS its certificate has to speak for the domain."""
        self._domains[remote] = domain

    def send(self, data: bytes, flow: Flow, source: str | None) -> None:
        """Send one message; a connection that does not exist is opened first, from the address ``source``."""
        if self._closed:
            return
        writer = self._writers.get(flow)
        if writer is not None and not writer.is_closing():
            self._write(writer, data, flow)
        elif flow in self._connecting:
            self._connecting[flow] = [*self._connecting[flow], data][-_WAITING_WHILE_CONNECTING:]
        else:
            self._connecting[flow] = [data]
            self._spawn(self._connect(flow, source))

    def accept(self, opened: socket.socket, flow: Flow) -> None:
        """Take an accepted connection, or close it where there are too many."""
        host = flow.remote[0]
        if len(self) >= self._limits.connections or self._sources[host] >= self._limits.per_source:
            self.refused += 1
            opened.close()
            return
        self._sources[host] += 1
        self._spawn(self._serve(opened, flow))

    async def close(self) -> None:
        """Close everything."""
        self._closed = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, opened: socket.socket, flow: Flow) -> None:
        try:
            reader, writer = await self._handshake(opened, flow)
        except (OSError, TimeoutError) as error:
            _log.info("no connection with %s: %s", flow.remote, error)
            opened.close()
        else:
            await self._hold(reader, writer, flow, accepted=True)
        finally:
            self._sources[flow.remote[0]] -= 1
            self._sources += Counter()  # drops the zeros

    async def _handshake(self, opened: socket.socket, flow: Flow) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        tls = self._tls if flow.transport == "TLS" else None
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            opened,
            ssl=None if tls is None else tls.server,
            ssl_handshake_timeout=None if tls is None else self._limits.handshake_s,
        )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        if tls is not None and not tls.admits(writer.get_extra_info("peercert")):
            writer.transport.abort()
            raise ConnectionAbortedError("the certificate speaks for none of the domains that may connect")
        return reader, writer

    async def _connect(self, flow: Flow, source: str | None) -> None:
        try:
            async with asyncio.timeout(self._limits.connect_s):
                reader, writer = await self._open(flow, source)
        except (OSError, TimeoutError) as error:
            _log.info("no connection to %s: %s", flow.remote, error or "timeout")
            self._connecting.pop(flow, None)
            self._tell_lost(flow)
            return
        except asyncio.CancelledError:
            self._connecting.pop(flow, None)
            raise
        for data in self._connecting.pop(flow, ()):
            writer.write(data)
        await self._hold(reader, writer, flow, accepted=False)

    async def _open(self, flow: Flow, source: str | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        local = None if source is None else (source, 0)
        if flow.transport != "TLS":
            return await asyncio.open_connection(*flow.remote, local_addr=local)
        if self._tls is None:
            raise ConnectionAbortedError("no certificate is configured for TLS")
        domain = self._domains.get(flow.remote, flow.remote[0])
        reader, writer = await asyncio.open_connection(
            *flow.remote, local_addr=local, ssl=self._tls.client, server_hostname=domain
        )
        if not self._tls.is_peer(writer.get_extra_info("peercert"), domain):
            writer.transport.abort()
            raise ConnectionAbortedError(f"the certificate does not speak for {domain}")
        return reader, writer

    async def _hold(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: Flow, *, accepted: bool
    ) -> None:
        _notice_dead_peers(writer)
        self._writers[flow] = writer
        try:
            await self._read(reader, writer, flow, proven=not accepted)
        except RemoteProtocolError as error:
            _log.warning("connection with %s closed: %s", flow.remote, error)
        except TimeoutError:
            _log.info("connection with %s closed: nothing came in time", flow.remote)
        except OSError as error:
            _log.info("connection with %s broke: %s", flow.remote, error)
        finally:
            if self._writers.get(flow) is writer:
                del self._writers[flow]
            writer.close()
            self._tell_lost(flow)

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: Flow, *, proven: bool
    ) -> None:
        """Until the peer closes. Raises TimeoutError beyond a limit, RemoteProtocolError where framing is lost."""
        limits, framer = self._limits, StreamFramer()
        clock = asyncio.get_running_loop().time
        deadline = clock() + (limits.idle_s if proven else limits.first_message_s)
        began: float | None = None
        while framer.fault is None:
            async with asyncio.timeout_at(deadline if began is None else min(deadline, began + limits.message_s)):
                data = await reader.read(_READ_BYTES)
            if not data:
                return
            pings, messages = framer.pings, framer.feed(data)
            for message in messages:
                self._deliver(message, flow)
            if framer.pings > pings and not writer.is_closing():
                writer.write(b"\r\n" * (framer.pings - pings))  # RFC 5626 section 4.4.1
            proven = proven or bool(messages)
            if proven and (messages or framer.pings > pings):
                deadline = clock() + limits.idle_s
            if not framer.pending:
                began = None
            elif messages or began is None:
                began = clock()

    def _write(self, writer: asyncio.StreamWriter, data: bytes, flow: Flow) -> None:
        writer.write(data)
        if writer.transport.get_write_buffer_size() > self._limits.unread_bytes:
            _log.warning("connection with %s closed: it does not read", flow.remote)
            writer.transport.abort()

    def _deliver(self, message: bytes, flow: Flow) -> None:
        try:
            self._receive(message, flow)
        except Exception:  # noqa: BLE001 - the edge: one message must not end the connection for the calls on it
            _log.exception("a message from %s could not be taken", flow.remote)

    def _tell_lost(self, flow: Flow) -> None:
        try:
            self._lost(flow)
        except Exception:  # noqa: BLE001 - the edge
            _log.exception("the loss of %s could not be taken", flow.remote)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _notice_dead_peers(writer: asyncio.StreamWriter) -> None:
    """A peer that lost its power says nothing: probe after a minute, give up what is not acknowledged in 30 s."""
    opened = writer.get_extra_info("socket")
    for level, option, value in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
    ):
        opened.setsockopt(level, option, value)
