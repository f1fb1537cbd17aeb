"""Foreign programs the tests need: present, or a clear word about which Debian package brings them.

On CI (environment ``CI=true``) a missing program fails the test, so that a green run cannot hide that nothing was
tested; on a developer's machine the test is skipped.
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

DEBIAN_PACKAGES = {
    "sipp": "sip-tester",
    "baresip": "baresip-core",
    "linphonec": "linphone-cli",
    "kamailio": "kamailio",
    "rtpengine": "rtpengine-daemon",
    "sox": "sox",
    "ffmpeg": "ffmpeg",
    "chromium": "chromium",
}


def require(program: str) -> str:
    """Absolute path of ``program``, a key of DEBIAN_PACKAGES; else fails on CI and skips elsewhere."""
    path = shutil.which(program)
    if path is None:
        missing(f"{program} is missing: apt-get install {DEBIAN_PACKAGES[program]}")
    return path


def missing(what: str) -> NoReturn:
    """Fail on CI, skip elsewhere, saying ``what`` is missing and how to get it."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(what, pytrace=False)
    pytest.skip(what)
