"""What the media of a leg is told and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from telephony.rtp.reports import RemoteView
from telephony.rtp.statistics import StreamStatistics
from telephony.sip.security_description import MediaKeys


class Target(Protocol):
    """Where a remote takes its media, as negotiated. ``payload_type`` is 0, 8 or 9, ``wire_payload_type`` the number
    its packets carry; ``direction`` is ours (RFC 3264): with ``recvonly`` and ``inactive`` the remote does not want to
    hear us. ``host`` is an address, not a name. ``rtcp_port`` takes reports, 0 for none; with ``rtcp_mux`` they go
    from and to the ports of the media. ``keys`` encrypt both, None for plain RTP."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def payload_type(self) -> int: ...
    @property
    def wire_payload_type(self) -> int: ...
    @property
    def telephone_event(self) -> int | None: ...
    @property
    def direction(self) -> str: ...
    @property
    def rtcp_port(self) -> int: ...
    @property
    def rtcp_mux(self) -> bool: ...
    @property
    def keys(self) -> MediaKeys | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LegStatistics:
    """What one leg did up to now; all counts are packets. ``stray`` came from a foreign address,
    ``refused`` had a timestamp that fits no place in the recording, ``unheard`` are DTMF packets the other
    side did not negotiate, ``rtcp`` are reports taken. ``remote`` is what the remote reports of our stream;
    ``audible`` whether its voice ever rose above the noise of an open line; ``codec`` the payload type's name
    (RFC 3551); ``undeciphered`` came to the media's port and were not sealed with the agreed key, or came
    again, ``rtcp_refused`` are reports that were no good; ``encryption`` is the suite, "" for none."""

    stream: StreamStatistics
    sent: int
    stray: int
    malformed: int
    unknown_payload: int
    unheard: int
    socket_errors: int
    refused: int
    rtcp: int
    comfort_noise: int
    remote: RemoteView
    audible: bool
    codec: str
    undeciphered: int
    rtcp_refused: int
    encryption: str
