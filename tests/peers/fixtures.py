"""Fixtures over the foreign peers. Other test folders import the names they use into their ``conftest.py``."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.audio import RATE_HZ, alaw_utterance
from tests.peers.baresip import Baresip, BaresipAccount
from tests.peers.programs import missing, require
from tests.peers.rtp_peer import RtpPeer
from tests.peers.sipp import Sipp

__all__ = ["baresip", "raw_socket", "rtp_peer", "sipp", "utterance"]


@pytest.fixture
def sipp(tmp_path: Path) -> Iterator[Sipp]:
    """Starts SIPp runs (see Sipp.start); whatever still runs ends with the test."""
    require("sipp")
    runs = Sipp(tmp_path)
    yield runs
    runs.close()


@pytest.fixture
def baresip(tmp_path: Path) -> Iterator[Callable[..., Baresip]]:
    """``baresip(account, **options)`` starts one softphone (see Baresip); all end with the test."""
    require("baresip")
    with ExitStack() as stack:
        count = 0

        def start(account: BaresipAccount, **options: object) -> Baresip:
            nonlocal count
            count += 1
            return stack.enter_context(Baresip(tmp_path / f"baresip-{count}", account, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def rtp_peer() -> Iterator[Callable[..., RtpPeer]]:
    """``rtp_peer(host=…, port=…, echo=…)`` opens an RTP party; all close with the test."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(RtpPeer(**options))


_ROOT = Path(__file__).parents[2]
_SPEECH = (_ROOT / "telephony" / "demo", _ROOT.parent / "shared" / "speech" / "demo")


@pytest.fixture(scope="session")
def utterance() -> bytes:
    """Two to five seconds of Mandarin as A-law frames (see alaw_utterance): the demo conversation's first such line."""
    lines = (alaw_utterance(path) for folder in _SPEECH for path in sorted(folder.rglob("*.wav")))
    fitting = next((line for line in lines if 2 * RATE_HZ <= len(line) <= 5 * RATE_HZ), None)
    if fitting is None:
        missing("the demo conversation (telephony/demo/*.wav) is missing")
    return fitting


@pytest.fixture
def raw_socket() -> None:
    """For SIPp's play_pcap_audio: fails on CI and skips elsewhere without CAP_NET_RAW."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP).close()
    except PermissionError:
        missing("raw sockets are not allowed: run as root or with CAP_NET_RAW")
