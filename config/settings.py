"""The settings, built once at the entry of each process and passed down; defaults.toml explains every one."""

from __future__ import annotations

import os
import tomllib
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

Network = IPv4Network | IPv6Network
Encryption = Literal["off", "optional", "required"]
MediaSide = Literal["phones", "trunk"]
_DEFAULTS = Path(__file__).parent / "defaults.toml"
CONFIG_VARIABLE = "DUTYLINE_CONFIG"
_PREFIX, _NESTED = "DUTYLINE_", "__"

RequiredField = Literal[
    "event_time",
    "place",
    "event",
    "caller",
    "caller_unit",
    "caller_name",
    "caller_title",
    "caller_phone",
    "casualties",
    "measures",
    "request",
]
CategoryName = Literal[
    "routine", "incident", "directive", "superior", "opinion", "notice", "drill", "wrong_number", "fax"
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSettings(_Section):
    """Where things are kept."""

    dir: Path
    low_disk_mb: int = Field(ge=1)

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


class RecordingSettings(_Section):
    """How long recordings are kept, in what form, and how they are watched (requirement 6.2-c)."""

    retention_days: int = Field(ge=365)
    archive_after_days: int = Field(ge=0)
    release_wav_after_days: int = Field(ge=0)
    free_mb: int = Field(ge=1)
    fill_hours: float = Field(gt=0)
    reconcile_minutes: float = Field(gt=0)
    verify_days: float = Field(gt=0)
    verify_mb_per_second: float = Field(gt=0)

    @model_validator(mode="after")
    def _released_after_archived(self) -> RecordingSettings:
        if self.release_wav_after_days and not self.archive_after_days:
            raise ValueError("release_wav_after_days needs archive_after_days: only a proven copy stands for a WAV")
        return self


class SecrecySettings(_Section):
    """How calls that are suspected of a secret are sealed (requirement 6.5-a)."""

    key_file: Path | None
    opening_minutes: int = Field(ge=1, le=480)

    @field_validator("key_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value


class StoreSettings(_Section):
    """The database."""

    url: str


class WebSettings(_Section):
    """The console."""

    host: str
    port: int = Field(ge=1, le=65535)
    secure_cookies: bool
    production: bool


class ListenSettings(_Section):
    """One address to listen at. ``advertised_host`` is what others reach it by, empty for ``host``."""

    transport: Literal["UDP", "TCP", "TLS"]
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    advertised_host: str = ""


class SipTlsSettings(_Section):
    """PEM files. ``client_certificates``: who connects must show one of ``authorities``, for one of ``peer_domains``
    where some are named."""

    certificate: Path | None = None
    key: Path | None = None
    authorities: Path | None = None
    client_certificates: bool = False
    peer_domains: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _empty_is_none(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        files = ("certificate", "key", "authorities")
        return {name: None if name in files and value == "" else value for name, value in values.items()}

    @model_validator(mode="after")
    def _both_or_none(self) -> SipTlsSettings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class SipSettings(_Section):
    """Where the line listens, and what it offers there. Media are at ``host``."""

    host: str
    port: int = Field(ge=1, le=65535)
    advertised_host: str
    realm: str
    digest_algorithms: tuple[Literal["SHA-512-256", "SHA-256", "MD5"], ...] = Field(min_length=1)
    session_seconds: int = Field(ge=90, le=86_400)
    allowed_networks: tuple[Network, ...]
    nameservers: tuple[str, ...]
    rtp_first_port: int = Field(ge=1024, le=65535)
    rtp_last_port: int = Field(ge=1024, le=65535)
    listen: tuple[ListenSettings, ...]
    tls: SipTlsSettings

    @model_validator(mode="after")
    def _addresses_agree(self) -> SipSettings:
        _ = self.nameserver_addresses
        _once("listen", [f"{each.transport} {each.host} {each.port}" for each in self.listen])
        if self.tls.certificate is None and any(each.transport == "TLS" for each in self.listen):
            raise ValueError("listening by TLS needs certificate and key in [sip.tls]")
        return self

    @model_validator(mode="after")
    def _ports_suffice(self) -> SipSettings:
        if self.rtp_last_port - self.rtp_first_port < 3:
            raise ValueError("rtp_first_port to rtp_last_port must hold the two pairs of ports of one call")
        return self

    @property
    def nameserver_addresses(self) -> tuple[tuple[str, int], ...]:
        """The name servers to ask, each with its port."""
        return tuple(map(_with_port, self.nameservers))

    @property
    def contact_host(self) -> str:
        """The address others reach us by."""
        return self.advertised_host or self.host


class TranscriptionSettings(_Section):
    """Which engine, and how much of the machine it may take."""

    engine: str
    threads: int = Field(ge=1, le=64)
    workers: int = Field(ge=1, le=16)


class NumberSettings(_Section):
    """How numbers read where the line stands."""

    area_code: str = Field(pattern=r"^0\d{2,3}$")
    extension_digits: tuple[Annotated[int, Field(ge=1, le=8)], ...]


class CheckSettings(_Section):
    """How often lines (拨测) and duty (查岗) are checked, at random times, and how."""

    line_checks_per_day: int = Field(ge=0, le=48)
    spot_checks_per_day: int = Field(ge=0, le=24)
    agent: Literal["softphone", "pyvoip"]
    manners: tuple[Literal["answer", "ring", "busy"], ...] = Field(min_length=1)
    ring_seconds: float = Field(ge=1, le=120)
    spot_ring_seconds: float = Field(ge=5, le=120)

    @model_validator(mode="after")
    def _answers_too(self) -> CheckSettings:
        if "answer" not in self.manners:
            raise ValueError("manners must hold answer: only an answered call proves that the number rings here")
        return self


class EntrySettings(_Section):
    """What an entry must have before it is finalized."""

    required: tuple[RequiredField, ...]
    important: tuple[CategoryName, ...]


class UnitSettings(_Section):
    """One unit of the duty network."""

    code: str = Field(pattern=r"^[A-Z0-9]{1,12}$")
    name: str
    room_name: str
    parent: str | None = None
    is_hub: bool = False
    number_pattern: str
    retention_days: int | None = Field(default=None, ge=365)

    @model_validator(mode="after")
    def _pattern_numbers(self) -> UnitSettings:
        try:
            texts = {self.number_pattern.format(year=year, number=9) for year in (2026, 2027)}
            texts.add(self.number_pattern.format(year=2026, number=10))
        except (LookupError, ValueError, AttributeError):
            raise ValueError("number_pattern may hold {year} and {number} and no other braces") from None
        if len(texts) != 3:
            raise ValueError("number_pattern needs {year} and {number}")
        if len(self.number_pattern) > 60:
            raise ValueError("number_pattern is longer than 60 characters")
        return self


class PhoneSettings(_Section):
    """A desk phone: it registers as ``extension`` with digest authentication."""

    extension: str = Field(pattern=r"^[0-9A-Za-z_.-]{1,40}$")
    password: str = ""
    networks: tuple[Network, ...] = ()


class TrunkSettings(_Section):
    """The PBX or carrier side of a line. ``registrar`` is one SIP URI or several, in the order they are tried."""

    registrar: tuple[str, ...] = ()
    username: str = ""
    password: str = ""
    peers: tuple[Network, ...] = ()
    keep_alive_seconds: float = Field(default=30, ge=0, le=3600)

    @field_validator("registrar", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) * bool(value) if isinstance(value, str) else value


class SiprecSettings(_Section):
    """Who forks the line's calls to us for recording, and the numbers by which they call the line besides its own."""

    peers: tuple[Network, ...] = Field(min_length=1)
    numbers: tuple[Annotated[str, Field(pattern=r"^\+?[0-9A-Za-z_.-]{1,40}$")], ...] = ()


class ProbeSettings(_Section):
    """The probe's own account, on the PBX or at another carrier, from which it dials the line like anybody."""

    server: str = Field(pattern=r"^sips?:.+")
    username: str = ""
    password: str = ""
    caller_number: str = Field(pattern=r"^\+?[0-9]{3,20}$")
    dial: str = Field(default="", pattern=r"^(\+?[0-9*#]{3,24})?$")


class MediaEncryptionSettings(_Section):
    """Whether the audio of either side is encrypted (SRTP), and on which side its keys may travel without TLS."""

    phones: Encryption = "optional"
    trunk: Encryption = "optional"
    keys_without_tls: tuple[MediaSide, ...] = ()

    def suits_clear_signalling(self, number: str) -> None:
        """Raises ValueError where phones that cannot come by TLS must have keys that go by TLS only."""
        if self.phones == "required" and "phones" not in self.keys_without_tls:
            raise ValueError(
                f"line {number}: media_encryption.phones = required needs an address in sip.listen with transport TLS, "
                "or phones among keys_without_tls"
            )


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
    hold: Literal["music", "silence"] = "music"
    on_outage: Literal["refuse", "open"] = "refuse"
    phones: tuple[PhoneSettings, ...]
    forwarding_codes: tuple[Annotated[str, Field(pattern=r"^[0-9*#]{2,20}$")], ...] = ()
    trunk: TrunkSettings | None = None
    siprec: SiprecSettings | None = None
    probe: ProbeSettings | None = None
    media_encryption: MediaEncryptionSettings = MediaEncryptionSettings()


class Settings(BaseSettings):
    """Everything an operator may set. Raises pydantic.ValidationError naming each wrong value."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter=_NESTED,
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    data: DataSettings
    recordings: RecordingSettings
    secrecy: SecrecySettings
    store: StoreSettings
    web: WebSettings
    sip: SipSettings
    transcription: TranscriptionSettings
    numbers: NumberSettings
    checks: CheckSettings
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
        above = {unit.code: unit.parent for unit in self.units}
        for line in self.lines:
            if line.unit not in above:
                raise ValueError(f"line {line.number} names the unknown unit {line.unit}")
        key_file = self.secrecy.key_file
        if key_file is not None and key_file.resolve().is_relative_to(self.data.dir.resolve()):
            raise ValueError("secrecy.key_file lies in data.dir: who takes the data would take the key with them")
        if self.recordings.free_mb > self.data.low_disk_mb:
            raise ValueError("recordings.free_mb is more than data.low_disk_mb: the alarm has to come first")
        _once("unit", [unit.code for unit in self.units])
        _once("line", [line.number for line in self.lines])
        _once("extension", [phone.extension for line in self.lines for phone in line.phones])
        if not any(each.transport == "TLS" for each in self.sip.listen):
            for line in self.lines:
                line.media_encryption.suits_clear_signalling(line.number)
        if sum(unit.is_hub for unit in self.units) != 1:
            raise ValueError("exactly one unit is the hub (is_hub = true)")
        for code in above:
            _has_top(code, above)
        return self

    @property
    def store_url(self) -> str:
        """The database's SQLAlchemy URL; the embedded one where none is set."""
        return self.store.url or f"sqlite:///{self.data.dir.resolve() / 'dutyline.db'}"


def load(path: Path | None = None) -> Settings:
    """The defaults, overlaid by the file at ``path`` (or the one DUTYLINE_CONFIG names), overlaid by the environment.

    Raises OSError for a file that cannot be read, tomllib.TOMLDecodeError, pydantic.ValidationError, and ValueError
    for a variable of the environment that looks like a setting and is none.
    """
    _refuse_unknown_variables()
    values = tomllib.loads(_DEFAULTS.read_text("utf-8"))
    named = os.environ.get(CONFIG_VARIABLE)
    chosen = path or (Path(named) if named else None)
    if chosen is not None:
        values = _overlaid(values, tomllib.loads(chosen.read_text("utf-8")))
    return Settings(**values)


def _refuse_unknown_variables() -> None:
    """A section's own fields are checked by its model; a misspelt section would go unnoticed."""
    for name in os.environ:
        section, nested, _ = name.upper().removeprefix(_PREFIX).partition(_NESTED)
        if name.upper().startswith(_PREFIX) and nested and section.lower() not in Settings.model_fields:
            raise ValueError(f"{name}: there is no section {section.lower()}")


def _with_port(text: str) -> tuple[str, int]:
    """``192.0.2.1``, ``192.0.2.1:5353``, ``2001:db8::1`` or ``[2001:db8::1]:5353``; port 53 where none is named."""
    host, port = text.strip("[]"), "53"
    if text.count(":") == 1 or "]:" in text:
        host, _, port = text.rpartition(":")
    try:
        return str(ip_address(host.strip("[]"))), int(port)
    except ValueError:
        raise ValueError(f"no address of a name server: {text}") from None


def _once(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name} is given twice")


def _has_top(code: str, above: dict[str, str | None]) -> None:
    seen, at = [code], above[code]
    while at is not None:
        if at not in above:
            raise ValueError(f"unit {seen[-1]} names the unknown parent {at}")
        if at in seen:
            raise ValueError(f"unit {code} stands above itself: {' < '.join([*seen, at])}")
        seen.append(at)
        at = above[at]


def _overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged key by key; a list (of units, of lines) replaces the list below it as a whole."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _overlaid(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged
