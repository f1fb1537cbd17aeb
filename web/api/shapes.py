"""What every part of the API shares: refusals, sessions, ids.

Instants are ISO 8601 with a zone, lengths seconds, telephone numbers as signalled."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from duty.domain.rights import Right, Role


class Shape(BaseModel):
    """Unknown fields in a request are an error, not a silence."""

    model_config = ConfigDict(extra="forbid")


class Problem(Shape):
    """Every refusal. ``code`` is stable, ``message`` is for people."""

    code: str
    message: str
    details: dict[str, Any]


class Created(Shape):
    """The id of what was made."""

    id: int


class SignIn(Shape):
    """A credential."""

    login: str = Field(max_length=60)
    password: str = Field(max_length=500)


class Session(Shape):
    """The session. Send ``csrf_token`` as X-CSRF-Token with every request that changes something."""

    csrf_token: str
    officer_id: int
    name: str
    unit_id: int
    roles: list[Role]
    rights: list[Right]
    must_change_password: bool


class NewPassword(Shape):
    """Choosing a password."""

    old: str = Field(max_length=500)
    new: str = Field(max_length=500)


class Password(Shape):
    """The credential once more."""

    password: str = Field(max_length=500)
