"""Encryption of one leg's media: SRTP and SRTCP (RFC 3711, RFC 7714) by libsrtp, with the keys that were agreed on.

A packet that does not open is the sender's fault or a stranger's work: it is counted and goes no further. Keys come by
SDP (RFC 4568), so a peer may change its own at any re-INVITE while packets under the former one are on their way.
"""

from __future__ import annotations

from collections import deque

from pylibsrtp import Error, Policy, Session

from telephony.media_ports import Datagram, Source
from telephony.rtp.errors import MalformedPacketError
from telephony.rtp.packet import HEADER
from telephony.sip.security_description import AES_32, AES_80, GCM_128, GCM_256, MediaKeys

MUXED_RTCP = range(192, 224)
"""Second bytes that are RTCP on the media's port (RFC 5761 section 4)."""
_PROFILES = {
    AES_80: Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    AES_32: Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    GCM_128: Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    GCM_256: Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}
_REFUSALS = (Error, ValueError)
_SENDER_AT = 4
"""Where an RTCP compound names its sender (RFC 3550 6.4)."""
_WINDOW = 1024
"""Packets back in which a late one is told from a replay; twenty seconds of voice."""
_SOURCES = 16
"""Sources whose state is kept: a peer that makes up ever new ones must not fill our memory."""
_FARTHEST = 1 << 23
"""Packets up to which a peer's counting is followed into a new key, two days of voice: who claims more has jumped, and
must begin anew, lest the way there hold up the calls of others."""
_STEP = 0x7000
"""Sequence numbers that may be jumped over without a doubt about the rollover counter (RFC 3711 appendix A)."""


class UnauthenticError(MalformedPacketError):
    """The packet was not sealed with the agreed key, or is a repeat: the sender's fault or a stranger's."""


class MediaCipher:
    """Both ways of one leg. ``set_keys`` comes first. Packets are bytes as on the wire."""

    def __init__(self) -> None:
        self.refused = 0
        self.suite = ""
        self._keys: MediaKeys | None = None
        self._sealers: dict[bytes, Session] = {}
        self._sealer = Session()
        self._opener = Session()
        self._others: list[Session] = []
        self._ssrc: int | None = None
        self._index = 0
        self._sources: deque[int] = deque()

    def set_keys(self, keys: MediaKeys) -> None:
        """Takes what was agreed on, first or again. A key that did not change goes on with its counters; while nothing
        has come under a new one of the peer, the former still opens."""
        before, self._keys = self._keys, keys
        if before == keys:
            return
        self.suite = keys.suite
        if keys.send not in self._sealers:
            self._sealers[keys.send] = _session(keys.suite, keys.send, Policy.SSRC_ANY_OUTBOUND)
        self._sealer = self._sealers[keys.send]
        if before is None or (before.suite, before.receive) != (keys.suite, keys.receive):
            self._others = [self._opener] if before is not None else []
            self._opener = _session(keys.suite, keys.receive, Policy.SSRC_ANY_INBOUND)
            self._sources.clear()
            if self._ssrc is not None and 0xFFFF < self._index <= _FARTHEST:
                self._others.append(_continued(keys.suite, keys.receive, self._ssrc, self._index))

    def seal(self, packet: bytes) -> bytes:
        """The RTP or RTCP packet as it goes out. Raises OSError where it must not, being a repeat or too long."""
        sealer = self._sealer
        try:
            return sealer.protect_rtcp(packet) if packet[1] in MUXED_RTCP else sealer.protect(packet)
        except _REFUSALS as error:
            raise OSError(f"not sealed: {error}") from None

    def open(self, packet: bytes) -> bytes:
        """The RTP or RTCP packet in ``packet``. Raises UnauthenticError."""
        if len(packet) < HEADER.size:
            self.refused += 1
            raise UnauthenticError("shorter than the RTP header")
        if packet[1] in MUXED_RTCP:
            return self.open_report(packet)
        opened = self._opened(packet, report=False)
        self._note(opened)
        return opened

    def open_report(self, packet: bytes) -> bytes:
        """The RTCP compound in ``packet``. Raises UnauthenticError."""
        opened = self._opened(packet, report=True)
        if len(opened) >= _SENDER_AT + 4:
            self._remember(int.from_bytes(opened[_SENDER_AT : _SENDER_AT + 4], "big"))
        return opened

    def _opened(self, packet: bytes, *, report: bool) -> bytes:
        opener = self._opener
        try:
            opened = opener.unprotect_rtcp(packet) if report else opener.unprotect(packet)
        except _REFUSALS as error:
            for other in self._others:
                try:
                    opened = other.unprotect_rtcp(packet) if report else other.unprotect(packet)
                except _REFUSALS:
                    continue
                if other is not self._others[0]:
                    self._opener, self._others = other, []
                return opened
            self.refused += 1
            raise UnauthenticError(str(error)) from None
        if self._others and not report:
            self._others, self._index = [], self._index & 0xFFFF
        return opened

    def _note(self, packet: bytes) -> None:
        """How far the peer's packets are counted (RFC 3711 3.3.1), and from which sources they come."""
        _, _, sequence, _, ssrc = HEADER.unpack_from(packet)
        if ssrc != self._ssrc:
            self._ssrc, self._index = ssrc, sequence
            self._remember(ssrc)
            return
        ahead = (sequence - self._index) & 0xFFFF
        if ahead < 0x8000:
            self._index += ahead

    def _remember(self, ssrc: int) -> None:
        """libsrtp keeps a state for each source whose packets open, reports included: only so many at a time."""
        if ssrc in self._sources:
            return
        self._sources.append(ssrc)
        if len(self._sources) > _SOURCES:
            if self._sources[0] == self._ssrc:  # who speaks now goes last
                self._sources.rotate(-1)
            self._opener.remove_stream(self._sources.popleft())


class SealedDatagrams:
    """The datagrams of one socket, opened. Those of another host than ``host`` are left as they are: strangers are
    told by their address, and must not cost us more. Raises what ``Datagram`` raises, and UnauthenticError."""

    def __init__(self, datagrams: Datagram, cipher: MediaCipher) -> None:
        self.host: str | None = None
        self._datagrams = datagrams
        self._open = cipher.open

    def next(self) -> tuple[bytes, Source, float]:
        """One that arrived just now."""
        datagram, source, now = self._datagrams.next()
        return (self._open(datagram) if source[0] == self.host else datagram), source, now

    def dated(self) -> tuple[bytes, Source, float]:
        """One that may have waited."""
        datagram, source, now = self._datagrams.dated()
        return (self._open(datagram) if source[0] == self.host else datagram), source, now


def _session(suite: str, key: bytes, sources: int) -> Session:
    policy = Policy(key=key, ssrc_type=sources, srtp_profile=_PROFILES[suite])
    policy.window_size = _WINDOW
    return Session(policy)


def _continued(suite: str, key: bytes, ssrc: int, index: int) -> Session:
    """An opener that has counted up to ``index`` (rollover counter and sequence number) already.

    A peer that changes its key may go on counting (RFC 3711 3.2.1) or begin anew; libsrtp's binding takes no counter,
    so it is led there by packets of our own making, which go nowhere.
    """
    maker, opener = (_session(suite, key, kind) for kind in (Policy.SSRC_ANY_OUTBOUND, Policy.SSRC_ANY_INBOUND))
    for step in (*range(0, index, _STEP), index):
        packet = HEADER.pack(0x80, 0, step & 0xFFFF, 0, ssrc) + b"\x00"
        opener.unprotect(maker.protect(packet))
    return opener
