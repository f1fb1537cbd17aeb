"""``dutyline secrecy``: a master key is made once, outside the data, and changed without opening what is sealed."""

from __future__ import annotations

import json
import shutil
import stat
from contextlib import closing
from pathlib import Path

import pytest

from duty.domain.secrecy import SecrecySource
from duty.store.database import Store
from duty.vault.keyfile import read_ring
from tests.dutyline.service import prepare
from tests.telephony.test_custody import template
from tests.telephony.test_strongroom import PLAIN, Sealed, contents

__all__ = ["template"]
pytestmark = pytest.mark.rule("6.5-a")


def test_the_master_key_is_made_once_changed_and_named_by_status(template: Path, tmp_path: Path) -> None:
    instance = prepare(tmp_path)
    shutil.copy(template, instance.database)
    inside = instance.command("secrecy", "make-key", str(instance.data / "master.key"))
    assert (inside.returncode, (instance.data / "master.key").exists()) == (1, False)
    assert instance.command("secrecy", "status").returncode == 1
    key_file = tmp_path / "data.key"
    instance.config.write_text(
        instance.config.read_text("utf-8") + f'[secrecy]\nkey_file = "{key_file}"\n', encoding="utf-8"
    )
    made = instance.command("secrecy", "make-key")
    assert made.returncode == 0, made.stderr
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    old = read_ring(key_file)
    assert old.current.key_id in made.stdout
    assert "离机" in made.stdout
    assert old.text().split()[-1] not in made.stdout, "the key itself is never shown"
    assert instance.command("secrecy", "make-key").returncode == 1
    with closing(Store(f"sqlite:///{instance.database}")) as store:
        shelf = Sealed(instance.data, store)
        directory = shelf.recording()
        before = contents(directory)
        shelf.secrecy.suspect(directory.name, SecrecySource.CAPTIONS)
        shelf.run()
        shelf.keeper.close()
        changed = instance.command("secrecy", "rotate")
        assert changed.returncode == 0, changed.stdout + changed.stderr
        assert "1 个通话" in changed.stdout
        [current] = read_ring(key_file).keys
        assert current != old.current
        assert {name: shelf.opened(directory, name) for name in PLAIN} == before
        assert json.loads((directory / "secrecy.json").read_text("utf-8"))["key_id"] == current.key_id
        verified = instance.command("verify", "--json")
        assert json.loads(verified.stdout)["recordings"]["sealed_opened"] == len(PLAIN)
        told = json.loads(instance.command("secrecy", "status", "--json").stdout)
        assert told == {
            "ok": True,
            "key": current.key_id,
            "problem": "",
            "calls": {"sealed": 1, "waiting": 0, "lifted": 0},
            "other_key": 0,
        }
    key_file.chmod(0o644)
    assert "须改为 0600" in instance.command("secrecy", "status").stdout
