"""Fixtures of the interop tests: the private service of the line's tests, and the foreign programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.interop.softphones import Account, Softphone, StartSoftphone, baresip_phone, linphone_phone
from tests.line.conftest import (
    another_number,
    book,
    desk,
    number,
    open_book,
    prompt,
    pytest_runtest_makereport,
    service,
    start_service,
    words,
)
from tests.peers.baresip import Baresip
from tests.peers.fixtures import baresip, rtp_peer, sipp, utterance
from tests.peers.linphone import Linphone, LinphoneAccount
from tests.peers.programs import require

__all__ = [
    "another_number",
    "baresip",
    "book",
    "desk",
    "number",
    "open_book",
    "prompt",
    "pytest_runtest_makereport",
    "rtp_peer",
    "service",
    "sipp",
    "start_service",
    "utterance",
    "words",
]


@pytest.fixture
def linphone(tmp_path: Path) -> Iterator[Callable[..., Linphone]]:
    """``linphone(account, **options)`` starts one linphonec (see Linphone); all end with the test."""
    require("linphonec")
    with ExitStack() as stack:
        count = 0

        def start(account: LinphoneAccount, **options: object) -> Linphone:
            nonlocal count
            count += 1
            return stack.enter_context(Linphone(tmp_path / f"linphone-{count}", account, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture(params=["baresip", "linphone"])
def softphone(
    request: pytest.FixtureRequest, baresip: Callable[..., Baresip], linphone: Callable[..., Linphone]
) -> StartSoftphone:
    """``softphone(account, source=…)`` starts a softphone of each kind in turn."""

    def start(account: Account, *, source: Path | None = None) -> Softphone:
        if request.param == "baresip":
            return baresip_phone(baresip, account, source)
        return linphone_phone(linphone, account, source)

    return start
