"""What only the console can refuse, in the domain's own tree so that one table maps every refusal to an answer."""

from __future__ import annotations

from duty.domain.errors import (
    BadCredential,
    BrokenState,
    Conflict,
    DutyError,
    Forbidden,
    NotFound,
    Refused,
)
from duty.vault.errors import VaultError


class WebRefusal(DutyError):
    """A refusal of the console itself."""

    code = "bad_request"


class NotSignedIn(WebRefusal):
    """The request carries no living session."""

    code = "not_signed_in"


class PasswordChangeDue(WebRefusal):
    """The one-time password has to be changed before anything else."""

    code = "password_change_due"


class CsrfRefused(WebRefusal):
    """A request that changes something did not come from one of our own pages."""

    code = "csrf_refused"


class TooManyAttempts(WebRefusal):
    """Too many tries to sign in from one address."""

    code = "too_many_attempts"


class PrintImpossible(WebRefusal):
    """The machine lacks what printing needs."""

    code = "print_failed"


_STATUS: tuple[tuple[type[DutyError], int], ...] = (
    (NotSignedIn, 401),
    (BadCredential, 401),
    (PasswordChangeDue, 403),
    (CsrfRefused, 403),
    (TooManyAttempts, 429),
    (PrintImpossible, 503),
    (WebRefusal, 400),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Refused, 422),
    (VaultError, 503),
    (BrokenState, 500),
    (DutyError, 500),
)


def status_of(error: DutyError) -> int:
    """The HTTP status of a refusal (RFC 9110 section 15)."""
    return next(status for kind, status in _STATUS if isinstance(error, kind))
