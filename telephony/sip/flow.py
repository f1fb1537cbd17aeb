"""Where a message came from and where one goes: the only thing the pure core knows about sockets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Address = tuple[str, int]
"""IP address as text (IPv6 without brackets) and port."""

Transport = Literal["UDP", "TCP", "TLS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A pair of addresses over a transport (RFC 5626 section 2).

    For TCP and TLS it identifies the connection.
    """

    transport: Transport
    remote: Address
    local: Address

    @property
    def reliable(self) -> bool:
        """Whether the transport retransmits by itself (RFC 3261 section 17: timers A, E, G and the waits are
        then 0).
        """
        return self.transport != "UDP"
