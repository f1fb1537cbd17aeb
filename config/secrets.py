"""Secrets made at the first start and kept beside the data, readable by the service's user alone."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from config.settings import Settings

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


class Secrets(BaseModel):
    """``phone_passwords`` by extension, for phones whose password the settings leave empty; ``sip_secret`` (hex) seals
    digest nonces."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phone_passwords: dict[str, str]
    sip_secret: str

    def phone_password(self, settings: Settings, extension: str) -> str:
        """The password a desk phone registers with: the settings' own, else the one made here. Raises KeyError."""
        for line in settings.lines:
            for phone in line.phones:
                if phone.extension == extension:
                    return phone.password or self.phone_passwords[extension]
        raise KeyError(extension)


def one_time_password(groups: int = 4) -> str:
    """A password that can be read aloud: groups of four characters without look-alikes."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(groups))


def load_or_create(settings: Settings) -> Secrets:
    """The secrets of this installation, completed for phones added since. Raises OSError, pydantic.ValidationError."""
    path = settings.data.dir / "secrets.json"
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
    passwords = dict(kept.get("phone_passwords", {}))
    for line in settings.lines:
        for phone in line.phones:
            if not phone.password:
                passwords.setdefault(phone.extension, one_time_password())
    made = Secrets(phone_passwords=passwords, sip_secret=kept.get("sip_secret") or secrets.token_hex(32))
    if made.model_dump() != kept:
        _write(path, made)
    return made


def _write(path: Path, made: Secrets) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(made.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
