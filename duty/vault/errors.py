"""What can go wrong in the strongroom, in the domain's tree so that every screen can say it."""

from __future__ import annotations

from duty.domain.errors import DutyError


class VaultError(DutyError):
    """Sealed content cannot be made or opened."""

    code = "vault_error"


class NotAuthentic(VaultError):
    """The content was altered, cut, put in another's place, or the key is another: which of these, nobody can tell."""

    code = "vault_not_authentic"


class NoMasterKey(VaultError):
    """There is no master key, or not the one that is needed, or its file is not kept as it must be."""

    code = "vault_no_key"
