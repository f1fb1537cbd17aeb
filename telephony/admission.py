"""Who is listened to at all: limits for each source address, before anything is parsed or answered (requirement 4-a).

Pure: addresses and a clock in, decisions out. Three kinds of sources are told apart. Foreign ones, outside the allowed
networks, are never heard. Known ones, the trunks, the phones and this machine itself, have only a limit far above what
they need and are never shut out: a broken phone must not cost the room its line. Everybody else is a stranger, and one
that keeps being refused is no longer answered, for longer each time.

What is remembered of strangers is bounded: the one not heard of for longest is forgotten first, IPv6 counts by /64.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

from telephony.line import Network, within

THIS_MACHINE = (ip_network("127.0.0.1/32"), ip_network("::1/128"))
_SITE_BITS = 64
_MAPPED = "::ffff:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Messages per second in the long run, and at once."""

    per_s: float
    burst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is borne. Times in s.

    ``strangers`` holds for all of them together, since a source address is easily forged. ``failures`` refused
    requests within ``window_s`` shut a source out for ``first_s``, twice as long each time up to ``longest_s``.
    ``kept_s`` without a word, and a source is forgotten. ``alarms`` is the most in ``alarm_s``, for all sources.
    """

    known: Rate = Rate(per_s=5_000, burst=10_000)
    stranger: Rate = Rate(per_s=400, burst=800)
    strangers: Rate = Rate(per_s=2_000, burst=4_000)
    failures: int = 20
    window_s: float = 60.0
    first_s: float = 60.0
    longest_s: float = 900.0
    kept_s: float = 7_200.0
    sources: int = 10_000
    alarms: int = 12
    alarm_s: float = 3_600.0


@dataclass(slots=True, kw_only=True)
class Counters:
    """Messages dropped without an answer since the start, by reason, and how often a source was shut out."""

    foreign: int = 0
    shut_out: int = 0
    scanner: int = 0
    too_fast: int = 0
    closings: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """``source`` is shut out for ``seconds`` after ``failures`` refusals; ``alarm`` where somebody is to be told."""

    source: str
    failures: int
    seconds: float
    alarm: bool


class _Bucket:
    """A token bucket: full at first, refilled by time."""

    __slots__ = ("at", "left")

    def __init__(self, rate: Rate, now: float) -> None:
        self.left, self.at = rate.burst, now

    def take(self, rate: Rate, now: float) -> bool:
        """Whether one more may pass at ``now``."""
        if now > self.at:
            self.left = min(rate.burst, self.left + (now - self.at) * rate.per_s)
            self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass(slots=True, kw_only=True)
class _Source:
    """What is remembered of one source."""

    bucket: _Bucket
    heard_at: float
    failures: int = 0
    since: float = 0.0
    closings: int = 0
    shut_until: float = field(default=float("-inf"))
    alarmed_at: float = field(default=float("-inf"))


class Admission:
    """Decides over each message by its source. ``now`` is in s of one monotonic clock.

    ``allowed`` are the networks anybody is heard from, all where it is empty; ``known`` those of trunks and phones,
    which are always heard. ``scanners`` are parts of User-Agent values, in any case.
    """

    def __init__(
        self,
        *,
        allowed: Sequence[Network] = (),
        known: Sequence[Network] = (),
        scanners: Iterable[str] = (),
        limits: Limits | None = None,
    ) -> None:
        self.counters = Counters()
        self._limits = limits or Limits()
        self._allowed = tuple(allowed)
        self._known_networks = (*known, *THIS_MACHINE)
        self._trunks: tuple[Network, ...] = ()
        self._phones: frozenset[str] = frozenset()
        self._scanner = _scanner_pattern(scanners)
        self._strangers = _Bucket(self._limits.strangers, 0.0)
        self._alarms: list[float] = []
        self._sources: OrderedDict[str, _Source] = OrderedDict()
        self._known: OrderedDict[str, _Bucket] = OrderedDict()
        self._shut_until = float("-inf")

    def __len__(self) -> int:
        """How many sources are remembered."""
        return len(self._sources) + len(self._known)

    def phones_at(self, hosts: Iterable[str]) -> None:
        """The addresses that phones are registered from now: they are known as long as they are."""
        self._phones = frozenset(hosts)

    def trunks_at(self, networks: Iterable[Network]) -> None:
        """The addresses that PBXs of ours have from now on: they are known."""
        self._trunks = tuple(networks)

    def knows(self, host: str) -> bool:
        """Whether a trunk, a phone or this machine speaks."""
        return host in self._phones or within(host, (*self._trunks, *self._known_networks))

    def admit(self, data: bytes, host: str, now: float) -> bool:
        """Whether a message from ``host`` is to be looked at."""
        if self.knows(host):
            return self._take_known(host, now)
        if not self._is_allowed(host):
            self.counters.foreign += 1
            return False
        key = _site(host)
        source = self._source(key, now)
        if source.shut_until > now:
            self.counters.shut_out += 1
            return False
        return self._admit_stranger(data, source, now)

    def welcomes(self, host: str, now: float) -> bool:
        """Whether a connection from ``host`` is to be accepted."""
        return self.knows(host) or (self._is_allowed(host) and not self.is_shut_out(host, now))

    def is_shut_out(self, host: str, now: float) -> bool:
        """Whether nothing is to be sent to ``host``."""
        if self._shut_until <= now:
            return False
        source = self._sources.get(_site(host))
        return source is not None and source.shut_until > now and not self.knows(host)

    def failed(self, host: str, now: float) -> Closing | None:
        """A request from ``host`` was refused; how the source is shut out, where that was once too often."""
        if self.knows(host):
            return None
        key = _site(host)
        source = self._source(key, now)
        if now - source.since > self._limits.window_s:
            source.failures, source.since = 0, now
        source.failures += 1
        if source.failures < self._limits.failures or source.shut_until > now:
            return None
        return self._shut_out(key, source, now)

    def succeeded(self, host: str) -> None:
        """Somebody at ``host`` has shown who they are: what failed before was a mistake."""
        source = self._sources.get(_site(host))
        if source is not None:
            source.failures, source.closings, source.shut_until = 0, 0, float("-inf")

    def _admit_stranger(self, data: bytes, source: _Source, now: float) -> bool:
        # The own limit first: one who is over it must not use up what all strangers share.
        if not (source.bucket.take(self._limits.stranger, now) and self._strangers.take(self._limits.strangers, now)):
            self.counters.too_fast += 1
            return False
        if self._scanner is not None and self._scanner.search(data) is not None:
            self.counters.scanner += 1
            return False
        return True

    def _is_allowed(self, host: str) -> bool:
        return not self._allowed or within(host, self._allowed)

    def _take_known(self, host: str, now: float) -> bool:
        bucket = self._known.get(host)
        if bucket is None:
            if len(self._known) >= self._limits.sources:
                self._known.popitem(last=False)
            bucket = self._known[host] = _Bucket(self._limits.known, now)
        if bucket.take(self._limits.known, now):
            return True
        self.counters.too_fast += 1
        return False

    def _source(self, key: str, now: float) -> _Source:
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = _Source(bucket=_Bucket(self._limits.stranger, now), heard_at=now)
        self._hear(key, source, now)
        return source

    def _hear(self, key: str, source: _Source, now: float) -> None:
        source.heard_at = now
        self._sources.move_to_end(key)
        while len(self._sources) > self._limits.sources or self._oldest_heard_at() < now - self._limits.kept_s:
            self._sources.popitem(last=False)

    def _oldest_heard_at(self) -> float:
        return next(iter(self._sources.values())).heard_at

    def _shut_out(self, key: str, source: _Source, now: float) -> Closing:
        seconds = min(self._limits.longest_s, self._limits.first_s * 2 ** min(source.closings, 16))
        failures, source.failures = source.failures, 0
        source.closings += 1
        source.shut_until = now + seconds
        self._shut_until = max(self._shut_until, source.shut_until)
        self.counters.closings += 1
        return Closing(source=key, failures=failures, seconds=seconds, alarm=self._alarms_now(source, now))

    def _alarms_now(self, source: _Source, now: float) -> bool:
        """Once in a while for one source, and not so often for all that an attacker could bury the desk in alarms."""
        since = now - self._limits.alarm_s
        self._alarms = [at for at in self._alarms if at > since]
        if source.alarmed_at > since or len(self._alarms) >= self._limits.alarms:
            return False
        source.alarmed_at = now
        self._alarms.append(now)
        return True


def _site(host: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 that one IPv6 customer is given."""
    if ":" not in host:
        return host
    if host.lower().startswith(_MAPPED) and "." in host:
        return host[len(_MAPPED) :]
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address) >> _SITE_BITS << _SITE_BITS, _SITE_BITS)))


def _scanner_pattern(names: Iterable[str]) -> re.Pattern[bytes] | None:
    parts = b"|".join(re.escape(name.encode()) for name in names)
    return re.compile(rb"(?im)^user-agent[ \t]*:[^\r\n]*?(?:" + parts + rb")") if parts else None
