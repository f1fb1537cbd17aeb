"""What the fuzz targets share: instrumented imports, seeds, and the run itself.

A target is a module ``fuzz_<name>.py`` with ``SEEDS`` (inputs that reach deep at once), ``check(data)`` (raises for
what must never happen) and, at its end, ``run(check, SEEDS)``. Run as a program (``python -m tests.fuzz.fuzz_<name>``
with libFuzzer's arguments) Atheris instruments what is imported within ``instrumented``; imported by a test, a target
is plain Python, so that the seeds and what was ever found are checked by every test run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from pathlib import Path

MAX_BYTES = 4_096
CASE_LIMIT_S = 5
MEMORY_LIMIT_MB = 1_024


def instrumented() -> AbstractContextManager[object]:
    """Imports within are measured for coverage, where a target is run as a program."""
    program = sys.modules["__main__"].__spec__
    if program is None or not program.name.startswith("tests.fuzz.fuzz_"):
        return nullcontext()
    import atheris

    return atheris.instrument_imports(include=["telephony"])  # type: ignore[no-any-return]


def must(truth: bool) -> None:
    """An assertion about an error that was caught."""
    assert truth


def split(data: bytes, separator: bytes = b"\n==\n", limit: int = 16) -> Iterator[bytes]:
    """``data`` as several datagrams, for targets with a state."""
    yield from data.split(separator)[:limit]


def run(check: Callable[[bytes], None], seeds: Iterable[bytes]) -> None:
    """Fuzz until the time given on the command line is over, or try the one file named there. Arguments are
    libFuzzer's, the corpus folder or the file first."""
    import atheris

    if len(sys.argv) > 1 and not sys.argv[1].startswith("-") and not Path(sys.argv[1]).is_file():
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            (folder / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    limits = [f"-max_len={MAX_BYTES}", f"-timeout={CASE_LIMIT_S}", f"-rss_limit_mb={MEMORY_LIMIT_MB}"]
    atheris.Setup([*sys.argv, *limits], check)
    atheris.Fuzz()
