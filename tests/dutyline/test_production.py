"""Production mode: the service does not start with one-time passwords or without HTTPS, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from config.settings import Settings, load
from duty.domain.times import utc_now
from duty.services.accounts import Accounts
from duty.store.database import Store
from duty.store.tables import OfficerRow
from dutyline.first_start import not_for_production
from tests.dutyline.service import prepare


def settings_for(folder: Path, *, secure: bool, key: bool = True) -> Settings:
    instance = prepare(folder)
    key_file = folder / "master.key"
    if key:
        assert "离机" in instance.command("secrecy", "make-key", str(key_file)).stdout
    lines = f'[secrecy]\nkey_file = "{key_file}"\n[web]\nproduction = true\nsecure_cookies = {str(secure).lower()}\n'
    text = instance.config.read_text(encoding="utf-8").replace("[web]\n", lines)
    instance.config.write_text(text, encoding="utf-8")
    refused = instance.command("serve")
    assert refused.returncode == 1
    assert "不能启动" in refused.stderr
    assert "zhiban" in refused.stderr
    assert ("HTTPS" in refused.stderr) is not secure
    assert ("secrecy.key_file" in refused.stderr) is not key
    return load(instance.config)


def test_refused_with_one_time_passwords_and_without_https(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, secure=False)
    assert len(not_for_production(settings)) == 2


@pytest.mark.rule("6.5-a")
def test_refused_without_a_master_key(tmp_path: Path) -> None:
    assert len(not_for_production(settings_for(tmp_path, secure=True, key=False))) == 2


def test_allowed_once_every_password_is_changed(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, secure=True)
    store = Store(settings.store_url)
    with store.writing() as session:  # as each officer's own change at the first sign-in leaves it
        for officer in session.scalars(select(OfficerRow)):
            officer.must_change_password = False
    assert Accounts(store, utc_now).one_time_logins() == []
    store.close()
    assert not_for_production(settings) == ()
