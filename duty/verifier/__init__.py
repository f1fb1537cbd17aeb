"""The independent verifier of the logbook: a second opinion that shares no code with the writer (requirement 6.2-c).

It imports neither the domain nor the services nor the store: it reads the tables with plain SQL, rebuilds the
canonical form by its own writer and compares everything that a link covers with everything that the tables say.
"""

from __future__ import annotations

from duty.verifier.report import (
    CannotVerify,
    EvidenceReport,
    Finding,
    HandoverReport,
    RecordingsReport,
    Report,
    UnitReport,
)
from duty.verifier.verify import verify

__all__ = [
    "CannotVerify",
    "EvidenceReport",
    "Finding",
    "HandoverReport",
    "RecordingsReport",
    "Report",
    "UnitReport",
    "verify",
]
