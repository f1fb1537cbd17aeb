"""Services of a test's own, to be killed, starved and put back; the foreign peers as in ``tests/line``."""

from __future__ import annotations

from tests.line.conftest import another_number, number, open_book, pytest_runtest_makereport, start_service, words
from tests.peers.fixtures import baresip, rtp_peer, sipp, utterance

__all__ = [
    "another_number",
    "baresip",
    "number",
    "open_book",
    "pytest_runtest_makereport",
    "rtp_peer",
    "sipp",
    "start_service",
    "utterance",
    "words",
]
