"""The settings, built once at the entry of each process and passed down; defaults.toml explains every one."""

from __future__ import annotations

import os
import tomllib
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

Network = IPv4Network | IPv6Network
_DEFAULTS = Path(__file__).parent / "defaults.toml"
CONFIG_VARIABLE = "DUTYLINE_CONFIG"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Section):
    """Where things are kept."""

    dir: Path

    @property
    def recordings(self) -> Path:
        """Root of the recordings."""
        return self.dir / "recordings"

    @property
    def models(self) -> Path:
        """Root of the speech models."""
        return self.dir / "models"

    @property
    def live_socket(self) -> Path:
        """The local socket that takes live audio frames."""
        return self.dir / "live.sock"


class StoreSettings(_Section):
    """The database."""

    url: str


class WebSettings(_Section):
    """The console."""

    host: str
    port: int = Field(ge=1, le=65535)
    secure_cookies: bool
    production: bool


class SipSettings(_Section):
    """Where the line listens."""

    host: str
    port: int = Field(ge=1, le=65535)
    advertised_host: str
    realm: str
    digest_algorithms: tuple[Literal["SHA-256", "MD5"], ...] = Field(min_length=1)
    rtp_first_port: int = Field(ge=1024, le=65535)
    rtp_last_port: int = Field(ge=1024, le=65535)

    @property
    def contact_host(self) -> str:
        """The address others reach us by."""
        return self.advertised_host or self.host


class TranscriptionSettings(_Section):
    """Which engine, and how much of the machine it may take."""

    engine: str
    threads: int = Field(ge=1, le=64)


class NumberSettings(_Section):
    """How numbers read where the line stands."""

    area_code: str = Field(pattern=r"^0\d{2,3}$")
    extension_digits: tuple[int, ...]


class EntrySettings(_Section):
    """What an entry must have before it is finalized."""

    required: tuple[str, ...]
    important: tuple[str, ...]


class UnitSettings(_Section):
    """One unit of the duty network."""

    code: str = Field(pattern=r"^[A-Z0-9]{1,12}$")
    name: str
    room_name: str
    parent: str | None = None
    is_hub: bool = False
    number_pattern: str

    @model_validator(mode="after")
    def _pattern_numbers(self) -> UnitSettings:
        if "{number}" not in self.number_pattern or "{year}" not in self.number_pattern:
            raise ValueError("number_pattern needs {year} and {number}")
        return self


class PhoneSettings(_Section):
    """A desk phone: it registers as ``extension`` with digest authentication."""

    extension: str = Field(pattern=r"^[0-9A-Za-z_.-]{1,40}$")
    password: str = ""
    networks: tuple[Network, ...] = ()


class TrunkSettings(_Section):
    """The PBX or carrier side of a line."""

    registrar: str = ""
    username: str = ""
    password: str = ""
    peers: tuple[Network, ...] = ()


class LineSettings(_Section):
    """One duty line."""

    number: str = Field(pattern=r"^\+?[0-9]{3,20}$")
    name: str
    unit: str
    max_calls: int = Field(ge=1, le=100)
    when_busy: Literal["queue", "busy"]
    ring_seconds: float = Field(gt=0, le=600)
    no_answer: Literal["announcement", "hangup"]
    announcement: str = ""
    on_outage: Literal["refuse", "open"] = "refuse"
    phones: tuple[PhoneSettings, ...]
    forwarding_codes: tuple[str, ...] = ()
    trunk: TrunkSettings | None = None


class Settings(BaseSettings):
    """Everything an operator may set. Raises pydantic.ValidationError naming each wrong value."""

    model_config = SettingsConfigDict(
        env_prefix="DUTYLINE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data: DataSettings
    store: StoreSettings
    web: WebSettings
    sip: SipSettings
    transcription: TranscriptionSettings
    numbers: NumberSettings
    entries: EntrySettings
    units: tuple[UnitSettings, ...]
    lines: tuple[LineSettings, ...]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the files."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _names_agree(self) -> Settings:
        units = {unit.code for unit in self.units}
        for line in self.lines:
            if line.unit not in units:
                raise ValueError(f"line {line.number} names the unknown unit {line.unit}")
        extensions = [phone.extension for line in self.lines for phone in line.phones]
        if len(extensions) != len(set(extensions)):
            raise ValueError("an extension is given to two phones")
        if not any(unit.is_hub for unit in self.units):
            raise ValueError("no unit is the hub")
        return self

    @property
    def store_url(self) -> str:
        """The database's SQLAlchemy URL; the embedded one where none is set."""
        return self.store.url or f"sqlite:///{self.data.dir.resolve() / 'dutyline.db'}"


def load(path: Path | None = None) -> Settings:
    """The defaults, overlaid by the file at ``path`` (or the one DUTYLINE_CONFIG names), overlaid by the environment.

    Raises OSError for a file that cannot be read, tomllib.TOMLDecodeError, pydantic.ValidationError.
    """
    values = tomllib.loads(_DEFAULTS.read_text("utf-8"))
    named = os.environ.get(CONFIG_VARIABLE)
    chosen = path or (Path(named) if named else None)
    if chosen is not None:
        values = _overlaid(values, tomllib.loads(chosen.read_text("utf-8")))
    return Settings(**values)


def _overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; a list (of units, of lines) replaces the list below it as a whole."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _overlaid(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
