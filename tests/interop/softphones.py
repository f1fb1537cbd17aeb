"""One way to steer every foreign softphone, so that each passes the same tests of the line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tests.peers.audio import Samples
from tests.peers.baresip import Baresip, BaresipAccount
from tests.peers.linphone import Linphone, LinphoneAccount
from tests.peers.ports import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who a softphone is. ``registers``: whether it registers at ``server``, which is also where its calls go."""

    user: str
    server: Address
    password: str = ""
    registers: bool = False
    expires_s: int = 120
    digits: Literal["rtp", "info"] = "rtp"
    """How it sends keys: ``rtp`` (RFC 4733) or ``info``."""


class Softphone(Protocol):
    """What the tests ask of a softphone. Each wait raises AssertionError when what is waited for does not come.

    ``hears_after_hold``: whether ``heard`` holds what came after it has held the other side itself; ``refusal``: the
    status by which it refuses, and what the book makes of it.
    """

    hears_after_hold: bool
    refusal: tuple[int, str]

    def wait_registered(self) -> None:
        """Until its registration is accepted."""

    def wait_ringing(self) -> None:
        """Until it is called."""

    def wait_talking(self) -> None:
        """Until its call is answered."""

    def wait_over(self) -> None:
        """Until its call has ended, however."""

    def dial(self, uri: str) -> None:
        """Call."""

    def answer(self) -> None:
        """Take the call."""

    def hangup(self) -> None:
        """End, refuse or cancel the call."""

    def hold(self) -> None:
        """Put the other side on hold."""

    def resume(self) -> None:
        """Take it back."""

    def press(self, keys: str) -> None:
        """Press keys within the call."""

    def pressed(self) -> str:
        """The keys that the other side pressed."""

    def heard(self) -> Samples:
        """What it heard in its last call, 8 kHz."""

    def kill(self) -> None:
        """Be gone without a word."""


@dataclass(slots=True)
class BaresipPhone:
    """baresip 1.0. Once it has held a call, its player is not fed again, with or without the line between."""

    inner: Baresip
    hears_after_hold: bool = False
    refusal: tuple[int, str] = (486, "busy")

    def wait_registered(self) -> None:
        self.inner.wait_event("REGISTER_OK")

    def wait_ringing(self) -> None:
        self.inner.wait_event("CALL_INCOMING")

    def wait_talking(self) -> None:
        self.inner.wait_event("CALL_ESTABLISHED")

    def wait_over(self) -> None:
        self.inner.wait_event("CALL_CLOSED")

    def dial(self, uri: str) -> None:
        self.inner.dial(uri)

    def answer(self) -> None:
        self.inner.answer()

    def hangup(self) -> None:
        self.inner.hangup()

    def hold(self) -> None:
        self.inner.hold()

    def resume(self) -> None:
        self.inner.resume()

    def press(self, keys: str) -> None:
        for key in keys:
            self.inner.command("sndcode", key)
            time.sleep(0.15)
            self.inner.command("sndcode", _KEY_UP)
            time.sleep(0.15)

    def pressed(self) -> str:
        return "".join(event.parameter for event in self.inner.events if event.type == "CALL_DTMF_START")

    def heard(self) -> Samples:
        return self.inner.heard()

    def kill(self) -> None:
        self.inner.kill()


_KEY_UP = "\x04"


@dataclass(slots=True)
class LinphonePhone:
    """linphone 5.1. linphonec reads one line a second."""

    inner: Linphone
    hears_after_hold: bool = True
    refusal: tuple[int, str] = (603, "rejected")

    def wait_registered(self) -> None:
        self.inner.wait_registered()

    def wait_ringing(self) -> None:
        self.inner.wait_state("IncomingReceived")

    def wait_talking(self) -> None:
        self.inner.wait_state("StreamsRunning")

    def wait_over(self) -> None:
        self.inner.wait_state("Released")

    def dial(self, uri: str) -> None:
        self.inner.dial(uri)

    def answer(self) -> None:
        self.inner.answer()

    def hangup(self) -> None:
        self.inner.hangup()

    def hold(self) -> None:
        self.inner.hold()
        self.inner.wait_state("Paused")

    def resume(self) -> None:
        self.inner.resume()
        self.inner.wait_state("StreamsRunning", count=2)

    def press(self, keys: str) -> None:
        self.inner.press(keys)

    def pressed(self) -> str:
        return self.inner.pressed()

    def heard(self) -> Samples:
        return self.inner.heard()

    def kill(self) -> None:
        self.inner.kill()


StartSoftphone = Callable[..., Softphone]


def baresip_phone(start: Callable[..., Baresip], account: Account, source: Path | None) -> BaresipPhone:
    """A baresip with this account."""
    inner = BaresipAccount(
        user=account.user,
        registrar=account.server,
        password=account.password,
        expires_s=account.expires_s if account.registers else 0,
        digits=account.digits,
    )
    return BaresipPhone(start(inner, source=source))


def linphone_phone(start: Callable[..., Linphone], account: Account, source: Path | None) -> LinphonePhone:
    """A linphone with this account."""
    inner = LinphoneAccount(
        user=account.user,
        registrar=account.server,
        password=account.password,
        expires_s=account.expires_s if account.registers else 0,
        digits=account.digits,
    )
    return LinphonePhone(start(inner, source=source))
