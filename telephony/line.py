"""A duty line as telephony sees it: its numbers, phones, trunk and manners, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Literal

from duty.domain.numbers import NumberPlan
from telephony.media_policy import PLAIN, MediaPolicy
from telephony.sip.flow import Flow

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkProfile:
    """The PBX side: ``registrar`` as a SIP URI text, or several in the order they are tried ("" where the PBX only
    calls), our credentials there, the networks calls may come from besides the registrars' own addresses, and how often
    in s each is asked by OPTIONS whether it is there, 0 for never."""

    registrar: str = ""
    username: str = ""
    password: str = ""
    peers: tuple[Network, ...] = ()
    keep_alive_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SiprecProfile:
    """Who may fork the line's calls to us (RFC 7866): the networks of the recording clients, and ``numbers`` by which
    they may call the line besides its own, written in any way under ``plan``."""

    peers: tuple[Network, ...]
    numbers: tuple[str, ...]
    plan: NumberPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class LineProfile:
    """One duty line. Times in seconds. ``announcement`` names the line's own prompt, "" where it has the shipped one;
    ``hold`` says what a party hears whom the other has put on hold; ``forwarding_codes`` are beginnings of dialled
    digits the guard refuses. ``phones_media`` and ``trunk_media`` are what either side may agree on."""

    number: str
    name: str
    extensions: tuple[str, ...]
    max_calls: int = 2
    when_busy: Literal["queue", "busy"] = "queue"
    ring_seconds: float = 60.0
    no_answer: Literal["announcement", "hangup"] = "announcement"
    announcement: str = ""
    hold: Literal["music", "silence"] = "music"
    trunk: TrunkProfile | None = None
    siprec: SiprecProfile | None = None
    forwarding_codes: tuple[str, ...] = ()
    phones_media: MediaPolicy = PLAIN
    trunk_media: MediaPolicy = PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneTarget:
    """A registered desk phone to be rung: its contact URI, the flow it registered by, and the addresses its audio may
    come from."""

    extension: str
    uri: str
    flow: Flow
    hosts: tuple[str, ...]


def within(host: str, networks: tuple[Network, ...]) -> bool:
    """Whether the IP address ``host`` lies in one of ``networks``; False for a host that is no IP address."""
    try:
        address = _address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any(candidate in network for network in networks for candidate in (address, mapped) if candidate)


_address = lru_cache(1024)(ip_address)
"""The same few hosts speak all the time."""
