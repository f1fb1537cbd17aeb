"""The domain's error tree: each says whose fault it was and carries a message code the screens translate."""

from __future__ import annotations


class DutyError(Exception):
    """Root of the tree. ``code`` keys the catalogue of screen messages; ``details`` fill its placeholders."""

    code = "error"

    def __init__(self, code: str | None = None, **details: str | int) -> None:
        self.code = code or type(self).code
        self.details = details
        super().__init__(self.code, details)

    def __str__(self) -> str:
        listed = ", ".join(f"{key}={value}" for key, value in self.details.items())
        return f"{self.code} ({listed})" if listed else self.code


class NotFound(DutyError):
    """The thing named does not exist, or the asker may not know that it does."""

    code = "not_found"


class Refused(DutyError):
    """A rule of the regulation or of this software forbids the act."""

    code = "refused"


class Forbidden(DutyError):
    """The person lacks the right."""

    code = "forbidden"


class BadCredential(DutyError):
    """User name or password is wrong, or the account is locked."""

    code = "bad_credential"


class Conflict(DutyError):
    """Somebody else changed the thing in between."""

    code = "conflict"


class BrokenState(DutyError):
    """Our own fault: a state table has no answer for what happened."""

    code = "broken_state"
