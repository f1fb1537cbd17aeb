"""A parser's result as a value, so that a property can speak of both outcomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from telephony.sip.errors import RemoteProtocolError

T = TypeVar("T")


def attempt(parser: Callable[..., T], *args: object) -> T | RemoteProtocolError:
    """What ``parser`` returns, or the RemoteProtocolError it raises. Any other exception passes."""
    try:
        return parser(*args)
    except RemoteProtocolError as error:
        return error
