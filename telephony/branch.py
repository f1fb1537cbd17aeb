"""One of the dialogs that an INVITE of ours may have made: a proxy or PBX that forks it has several parties ring, and
each speaks for itself until one answers (RFC 3261 13.2.2.4)."""

from __future__ import annotations

from dataclasses import dataclass

from telephony.sip.dialog import Dialog
from telephony.sip.sdp import AudioTarget

MOST = 16
"""Parties of one INVITE that are told apart; further ones take the place of the oldest."""


@dataclass(slots=True, kw_only=True)
class Branch:
    """What one party said. ``target`` is where it wants its audio, ``agreed`` whether it said so reliably, which stands
    against all that its later responses say; ``number`` that of its last reliable response (RFC 3262)."""

    dialog: Dialog
    target: AudioTarget | None = None
    agreed: bool = False
    number: int | None = None


class Branches:
    """The parties of one INVITE by their tags."""

    def __init__(self) -> None:
        self._known: dict[str, Branch] = {}

    def get(self, tag: str | None) -> Branch | None:
        """Who has that tag."""
        return self._known.get(tag or "")

    def add(self, tag: str, dialog: Dialog) -> Branch:
        """Somebody new."""
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        branch = self._known[tag] = Branch(dialog=dialog)
        return branch

    def clear(self) -> None:
        """The INVITE is sent anew: nobody has answered that one."""
        self._known.clear()
