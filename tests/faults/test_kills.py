"""Nothing is lost however often, and in whatever moment, the telephony process is killed (requirement 6.1-a, 6.1-d).

``make kills`` runs the long one; ``python -m tests.faults.test_kills --calls 1000 --seed 7`` repeats one of a seed.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from duty.store.database import Store
from tests.faults.drill import Drill, service_for
from tests.faults.reckoning import Reckoning, reckon
from tests.line.book import Book


def drill_and_reckon(root: Path, *, calls: int, seed: int, at_once: int, gap_s: float = 0.1) -> Reckoning:
    """A drill in ``root`` and what came of it, printed."""
    with service_for(root) as service:
        drill = Drill(service=service, calls=calls, seed=seed, at_once=at_once, gap_s=gap_s)
        asyncio.run(drill.run())
        with closing(Store(service.settings.store_url)) as store:
            result = reckon(drill, Book(store, service.settings.data.recordings))
    print(f"seed {seed}, {drill.seconds:.0f} s, kills {dict(drill.kills)} ({len(drill.killed_at)} of the process)")
    print(result)
    return result


@pytest.mark.rule("6.1-a")
@pytest.mark.rule("6.1-d")
@pytest.mark.parametrize(
    ("calls", "at_once", "gap_s"), [(30, 8, 0.2), pytest.param(1000, 12, 0.1, marks=pytest.mark.slow)]
)
def test_every_call_with_its_100_is_in_the_book_and_every_file_has_its_row(
    tmp_path: Path, calls: int, at_once: int, gap_s: float
) -> None:
    seed = secrets.randbelow(1_000_000)
    result = drill_and_reckon(tmp_path / "drill", calls=calls, seed=seed, at_once=at_once, gap_s=gap_s)
    assert result.faults == []
    assert result.with_100 >= calls
    assert result.salvaged > 0
    assert result.frames > 0


def main() -> int:
    """Exit status 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--at-once", type=int, default=12)
    parser.add_argument("--root", type=Path, default=None, help="where the service's data stay afterwards")
    given = parser.parse_args()
    root = given.root or Path(tempfile.mkdtemp(prefix="kills-"))
    result = drill_and_reckon(root / "drill", calls=given.calls, seed=given.seed, at_once=given.at_once)
    for fault in result.faults:
        print("FAULT:", fault)
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
