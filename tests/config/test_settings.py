"""The settings: as shipped they load; what an operator changes is kept or named, never passed over."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from config import secrets as kept_secrets
from config.settings import CONFIG_VARIABLE, CategoryName, RequiredField, Settings, load
from duty.domain.entries import Category, EntryContent, EntryRules, NumberStyle
from duty.services.lines import UnitPlan


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DUTYLINE_"):
            monkeypatch.delenv(name)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(text, "utf-8")
    return path


UNIT = (
    '[[units]]\ncode = "LT"\nname = "甲"\nroom_name = "甲值班室"\nis_hub = true\nnumber_pattern = "{year}-{number}"\n'
)
LINE = """[[lines]]
number = "22595110"
name = "值班专线"
unit = "LT"
max_calls = 1
when_busy = "busy"
ring_seconds = 20
no_answer = "hangup"
phones = [{ extension = "1001" }, { extension = "1002" }]
"""


@pytest.mark.rule("10-a")
def test_the_shipped_settings_load_and_are_the_regulations() -> None:
    settings = load()
    assert settings.entries.required == EntryRules().required
    assert frozenset(settings.entries.important) == EntryRules().important_categories
    [unit] = settings.units
    assert (unit.number_pattern, unit.is_hub) == (UnitPlan(code="", name="", room_name="").number_pattern, True)
    assert NumberStyle(pattern=unit.number_pattern).text(year=2026, number=12) == "龙亭值〔2026〕12号"
    assert settings.sip.host == settings.web.host == "127.0.0.1", "nothing is open to the network until one says so"
    assert settings.store_url == f"sqlite:///{Path('data').resolve() / 'dutyline.db'}"
    assert settings.sip.contact_host == "127.0.0.1"


def test_every_default_is_written_in_the_shipped_file() -> None:
    import config.settings

    text = (Path(config.settings.__file__).parent / "defaults.toml").read_text("utf-8")
    shipped = tomllib.loads(text)
    assert shipped.keys() == Settings.model_fields.keys()
    settings = load()
    for name, section in shipped.items():
        if isinstance(section, dict):
            assert section.keys() == type(getattr(settings, name)).model_fields.keys(), name


def test_config_and_domain_name_the_same_fields_and_categories() -> None:
    fields = set(EntryContent().as_dict()) - {"category", "remarks"} | {"caller"}
    assert set(RequiredField.__args__) == fields
    assert set(CategoryName.__args__) == {category.value for category in Category}


@pytest.mark.rule("10-a")
def test_an_own_file_changes_what_it_names_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, '[web]\nport = 9000\n[entries]\nrequired = ["event"]\n' + UNIT + LINE)
    settings = load(path)
    assert (settings.web.port, settings.web.host) == (9000, "127.0.0.1")
    assert settings.entries.required == ("event",)
    assert settings.entries.important == ("incident", "directive", "superior")
    assert [unit.name for unit in settings.units] == ["甲"], "a list replaces the list below it"
    assert [phone.extension for phone in settings.lines[0].phones] == ["1001", "1002"]
    monkeypatch.setenv(CONFIG_VARIABLE, str(path))
    assert load() == settings


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "[web]\nport = 9000\n")
    monkeypatch.setenv("DUTYLINE_WEB__PORT", "9001")
    monkeypatch.setenv("DUTYLINE_DATA__DIR", str(tmp_path))
    monkeypatch.setenv("DUTYLINE_ENTRIES__REQUIRED", '["event", "place"]')
    monkeypatch.setenv("DUTYLINE_STORE__URL", "postgresql+psycopg://duty@127.0.0.1/duty")
    settings = load(path)
    assert (settings.web.port, settings.web.host) == (9001, "127.0.0.1")
    assert settings.data.recordings == tmp_path / "recordings"
    assert settings.entries.required == ("event", "place")
    assert settings.store_url.startswith("postgresql")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("[web]\nport = 0\n", "web.port", "greater than or equal to 1"),
        ("[web]\nprot = 80\n", "web.prot", "not permitted"),
        ("[wbe]\nport = 80\n", "wbe", "not permitted"),
        ("[sip]\nport = 'x'\n", "sip.port", "integer"),
        ("[sip]\nrtp_first_port = 20000\nrtp_last_port = 20001\n", "sip", "rtp_first_port"),
        ('[sip]\ndigest_algorithms = ["SHA-1"]\n', "sip.digest_algorithms.0", "SHA-256"),
        ('[numbers]\narea_code = "371"\n', "numbers.area_code", "pattern"),
        ("[numbers]\nextension_digits = [0]\n", "numbers.extension_digits.0", "greater than"),
        ('[entries]\nrequired = ["weather"]\n', "entries.required.0", "event_time"),
        ('[entries]\nimportant = ["weather"]\n', "entries.important.0", "incident"),
        (UNIT.replace("{number}", ""), "units.0", "needs {year} and {number}"),
        (UNIT.replace("{number}", "{{number}}"), "units.0", "needs {year} and {number}"),
        (UNIT.replace("{number}", "{number}{month}"), "units.0", "no other braces"),
        (UNIT.replace("{number}", "{number.real.x}"), "units.0", "no other braces"),
        (UNIT.replace("{number}", "{number"), "units.0", "no other braces"),
        (UNIT.replace("{number}", "{number}" + "号" * 60), "units.0", "60 characters"),
        (UNIT.replace('"LT"', '"龙"') + LINE, "units.0.code", "pattern"),
        (UNIT.replace("is_hub = true", "") + LINE, "", "hub"),
        (UNIT + UNIT.replace("LT", "BS") + LINE, "", "exactly one unit is the hub"),
        (UNIT + UNIT.replace("is_hub = true", "") + LINE, "", "unit LT is given twice"),
        (UNIT + 'parent = "QS"\n' + LINE, "", "unknown parent QS"),
        (UNIT + 'parent = "LT"\n' + LINE, "", "stands above itself"),
        (UNIT + LINE.replace('"LT"', '"BS"'), "", "line 22595110 names the unknown unit BS"),
        (UNIT + LINE.replace("1002", "1001"), "", "extension 1001 is given twice"),
        (UNIT + LINE + LINE.replace("100", "200"), "", "line 22595110 is given twice"),
        (UNIT + LINE + LINE.replace("22595110", "22595111"), "", "extension 1001 is given twice"),
        (UNIT + LINE.replace('"busy"', '"forward"'), "lines.0.when_busy", "queue"),
        (UNIT + LINE.replace("20\n", "0\n"), "lines.0.ring_seconds", "greater than 0"),
        (UNIT + LINE + 'forwarding_codes = ["*57*", ""]\n', "lines.0.forwarding_codes.1", "pattern"),
        (UNIT + LINE + '[lines.trunk]\npeers = ["192.0.2.1/40"]\n', "lines.0.trunk.peers.0", "IPv4 network"),
        (UNIT + LINE + '[lines.media_encryption]\nphones = "required"\n', "", "sip.listen with transport TLS"),
        (UNIT + LINE + '[lines.media_encryption]\ntrunk = "on"\n', "lines.0.media_encryption.trunk", "'required'"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, text: str, place: str, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        load(written(tmp_path, text))
    told = {".".join(str(part) for part in fault["loc"]): fault["msg"] for fault in error.value.errors()}
    matching = [
        message for where, message in told.items() if where == place or (place and where.startswith(f"{place}."))
    ]
    assert any(words in message for message in matching), told


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [("DUTYLINE_WEB__PORT", "eighty", "web.port"), ("DUTYLINE_WEB__PROT", "80", "web.prot")],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, place: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as error:
        load()
    assert [".".join(str(part) for part in fault["loc"]) for fault in error.value.errors()] == [place]


def test_a_variable_of_no_section_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUTYLINE_WBE__PORT", "80")
    with pytest.raises(ValueError, match="DUTYLINE_WBE__PORT: there is no section wbe"):
        load()


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="own"):
        load(tmp_path / "own.toml")
    with pytest.raises(tomllib.TOMLDecodeError):
        load(written(tmp_path, "[web\nport"))


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings = load()
    with pytest.raises(ValidationError):
        settings.web.port = 1


def test_phone_passwords_are_made_once_and_kept_for_the_service_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUTYLINE_DATA__DIR", str(tmp_path / "data"))
    own = LINE.replace('{ extension = "1002" }', '{ extension = "1002", password = "of my own" }')
    settings = load(written(tmp_path, UNIT + own))
    made = kept_secrets.load_or_create(settings)
    assert made.phone_password(settings, "1002") == "of my own"
    assert made.phone_passwords.keys() == {"1001"}
    assert kept_secrets.load_or_create(settings) == made
    assert (tmp_path / "data" / "secrets.json").stat().st_mode & 0o077 == 0
    more = load(written(tmp_path, UNIT + own.replace("phones = [", 'phones = [{ extension = "1003" }, ')))
    grown = kept_secrets.load_or_create(more)
    assert grown.phone_passwords["1001"] == made.phone_passwords["1001"]
    assert grown.sip_secret == made.sip_secret
    with pytest.raises(KeyError):
        made.phone_password(settings, "9999")


@pytest.mark.rule("6.5-a")
@pytest.mark.parametrize("inside", ["master.key", "keys/master.key", "../data/master.key"])
def test_a_master_key_beside_the_data_is_refused(tmp_path: Path, inside: str) -> None:
    data = tmp_path / "data"
    text = f'[data]\ndir = "{data}"\n[secrecy]\nkey_file = "{{}}"\n'
    with pytest.raises(ValidationError, match=r"lies in data\.dir"):
        load(written(tmp_path, text.format(data / inside)))
    outside = load(written(tmp_path, text.format(tmp_path / "data.key")))
    assert outside.secrecy.key_file == tmp_path / "data.key"
    assert load(written(tmp_path, text.format(""))).secrecy.key_file is None
