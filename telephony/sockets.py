"""The sockets SIP comes by: any number of listening addresses over UDP, TCP and TLS, IPv4 and IPv6."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from telephony.connections import Connections, StreamLimits
from telephony.datagrams import DatagramSocket, bind_datagrams
from telephony.sip.flow import Address, Flow, Transport
from telephony.sip.target import PORTS
from telephony.tls import Tls, TlsSettings

_log = logging.getLogger(__name__)

Receive = Callable[[bytes, Flow], None]
Lost = Callable[[Flow], None]

_BACKLOG = 128
_NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NO_ROOM_PAUSE_S = 0.5
_ANY = frozenset({"0.0.0.0", "::"})


class Listen(NamedTuple):
    """One address to listen at. Port 0 takes a free one.

    ``advertised_host`` is what flows, Via and Contact name as ours, empty for ``host``; ``advertised_port`` likewise.
    """

    transport: Transport
    host: str
    port: int
    advertised_host: str = ""
    advertised_port: int = 0


class Sockets:
    """Opens and owns the sockets.

    Either ``listen``, or ``host`` and ``port`` for UDP and TCP at one address. ``receive`` takes each message and its
    flow, ``lost`` a flow by which nothing can be sent; ``welcomes`` says whether a host may connect. Of several
    addresses of one transport and family, the first is the one that outgoing requests leave by. Raises ValueError for
    TLS without ``tls`` and for two addresses that look the same from outside.
    """

    def __init__(
        self,
        *,
        receive: Receive,
        lost: Lost,
        host: str = "",
        port: int = 0,
        advertised_host: str = "",
        listen: Sequence[Listen | tuple[Transport, str, int]] = (),
        tls: TlsSettings | None = None,
        limits: StreamLimits | None = None,
        welcomes: Callable[[str], bool] = lambda _host: True,
    ) -> None:
        given = [Listen(*entry) for entry in listen] or _both(host, port, advertised_host)
        if tls is None and any(entry.transport == "TLS" for entry in given):
            raise ValueError("listening by TLS needs a certificate")
        self._listen = given
        self._tls = None if tls is None else Tls(tls)
        self._receive, self._lost, self._welcomes = receive, lost, welcomes
        self.connections = Connections(receive=receive, lost=lost, limits=limits or StreamLimits(), tls=self._tls)
        self._datagrams: dict[Address, DatagramSocket] = {}
        self._bound: dict[tuple[Transport, Address], Listen] = {}
        self._servers: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Bind all sockets or none. Raises OSError when an address is taken or not ours."""
        try:
            for entry in self._listen:
                self._open(entry)
        except BaseException:
            await self.close()
            raise

    @property
    def bound(self) -> tuple[tuple[Transport, Address], ...]:
        """The transports and advertised addresses, in the order given, with real ports; empty before ``open``."""
        return tuple(self._bound)

    def reload_certificate(self) -> None:
        """Take up a renewed certificate for connections to come. Raises OSError where it cannot be used."""
        if self._tls is not None:
            self._tls.reload()

    def flow_to(self, remote: Address, *, transport: str = "UDP", domain: str = "") -> Flow:
        """The flow by which ``remote`` is reached from here; ``domain`` is whom its certificate must speak for, empty
        for the address itself. Raises ValueError for a transport that SIP does not have here."""
        named = next((name for name in PORTS if name == transport.upper()), None)
        if named is None:
            raise ValueError(f"no such transport: {transport}")
        if domain:
            self.connections.name_peer(remote, domain)
        return Flow(transport=named, remote=remote, local=self._near_end(named, remote))

    def send(self, data: bytes, flow: Flow) -> None:
        """Send one message; a connection that does not exist is opened first."""
        if flow.transport != "UDP":
            self.connections.send(data, flow, self._source(flow))
            return
        opened = self._datagrams.get(flow.local) or self._datagrams.get(self._near_end("UDP", flow.remote))
        if opened is not None:
            opened.send(data, flow.remote)

    async def close(self) -> None:
        """Close everything."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for server in self._servers:
            server.close()
        for opened in self._datagrams.values():
            opened.close()
        self._accepting, self._servers, self._datagrams = [], [], {}
        await self.connections.close()

    def _open(self, entry: Listen) -> None:
        # UDP and TCP of one entry pair share the port that the first of them found free.
        port = entry.port or self._found_port(entry)
        if entry.transport == "UDP":
            bound = bind_datagrams((entry.host, port))
            local = self._advertise(entry, bound)
            self._datagrams[local] = DatagramSocket(
                bound, received=partial(self._received, local), unreachable=partial(self._unreachable, local)
            )
            return
        server = _listening((entry.host, port))
        self._servers.append(server)
        local = self._advertise(entry, server)
        self._accepting.append(asyncio.get_running_loop().create_task(self._accept(server, entry.transport, local)))

    def _received(self, local: Address, data: bytes, remote: Address) -> None:
        try:
            self._receive(data, Flow(transport="UDP", remote=remote, local=local))
        except Exception:  # noqa: BLE001 - the edge: no datagram may stop the next one
            _log.exception("a datagram from %s could not be taken", remote)

    def _unreachable(self, local: Address, remote: Address) -> None:
        self._lost(Flow(transport="UDP", remote=remote, local=local))

    def _found_port(self, entry: Listen) -> int:
        """The port that another transport got at the same host, where the same free one is wanted."""
        return next(
            (
                local[1]
                for (transport, local), other in self._bound.items()
                if other.host == entry.host and other.port == 0 and {transport, entry.transport} == {"UDP", "TCP"}
            ),
            0,
        )

    def _advertise(self, entry: Listen, bound: socket.socket) -> Address:
        port: int = entry.advertised_port or bound.getsockname()[1]
        local = (entry.advertised_host or entry.host, port)
        if (entry.transport, local) in self._bound:
            bound.close()
            raise ValueError(f"two sockets cannot both be {entry.transport} {local}")
        self._bound[entry.transport, local] = entry
        return local

    def _near_end(self, transport: Transport, remote: Address) -> Address:
        """What we are to ``remote``. A transport that we do not listen by shows the address of one that we do."""
        wants_six = ":" in remote[0]
        fitting = [
            (by, local) for (by, local), entry in self._bound.items() if (":" in entry.host) is wants_six
        ] or list(self._bound)
        if not fitting:
            first = self._listen[0]
            return first.advertised_host or first.host, first.advertised_port or first.port
        return next((local for by, local in fitting if by == transport), fitting[0][1])

    def _source(self, flow: Flow) -> str | None:
        """The address that a connection of ours leaves by: that of the listener, where it has a certain one."""
        entry = self._bound.get((flow.transport, flow.local))
        if entry is None or entry.host in _ANY or (":" in entry.host) is not (":" in flow.remote[0]):
            return None
        return entry.host

    async def _accept(self, server: socket.socket, transport: Transport, local: Address) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                opened, remote = await loop.sock_accept(server)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    _log.error("no connection can be accepted: %s", error)
                    await asyncio.sleep(_NO_ROOM_PAUSE_S)
                continue
            if not self._welcomes(remote[0]):
                opened.close()
                continue
            self.connections.accept(opened, Flow(transport=transport, remote=(remote[0], remote[1]), local=local))


def _both(host: str, port: int, advertised_host: str) -> list[Listen]:
    if not host:
        raise ValueError("nothing to listen at")
    return [Listen(transport, host, port, advertised_host) for transport in ("UDP", "TCP")]


def _listening(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    try:
        server.setblocking(False)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind(address)
        server.listen(_BACKLOG)
    except OSError:
        server.close()
        raise
    return server
