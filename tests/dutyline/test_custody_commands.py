"""``dutyline reconcile`` and ``dutyline verify`` as commands, over recordings that are right and then are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from duty.store.database import Store
from tests.dutyline.service import Instance, prepare
from tests.telephony.test_custody import Shelf, _age, template

__all__ = ["template"]


@pytest.fixture
def kept(template: Path, tmp_path: Path) -> Iterator[tuple[Instance, Shelf]]:
    instance = prepare(tmp_path)
    shutil.copy(template, instance.database)
    with closing(Store(f"sqlite:///{instance.database}")) as store:
        shelf = Shelf(instance.data, store)
        yield instance, shelf
        shelf.keeper.close()


@pytest.mark.rule("6.1-d")
def test_reconcile_says_what_differs_by_its_exit_status_and_changes_nothing(kept: tuple[Instance, Shelf]) -> None:
    instance, shelf = kept
    directory = shelf.recording()
    done = instance.command("reconcile", "--json")
    assert (done.returncode, json.loads(done.stdout)["differences"]) == (0, []), done.stderr
    assert json.loads(done.stdout)["read_bytes"] > 300_000
    data = bytearray((directory / "recording.wav").read_bytes())
    data[9000] ^= 1
    (directory / "recording.wav").write_bytes(data)
    assert instance.command("reconcile", "--quick", "--json").returncode == 0, "by name and size all is well"
    told = instance.command("reconcile", "--json")
    [found] = json.loads(told.stdout)["differences"]
    assert (told.returncode, found["kind"], found["call_id"]) == (1, "file_altered", directory.name)
    shown = instance.command("reconcile")
    assert shown.returncode == 1
    assert "请从备份恢复原文件" in shown.stdout
    assert (shelf.open(), shelf.alarms("recording_differs")) == ([], [])


@pytest.mark.rule("6.2-c")
def test_verify_takes_an_earlier_report_as_anchor(kept: tuple[Instance, Shelf]) -> None:
    instance, shelf = kept
    _age(shelf, shelf.recording(), days=20)
    keeper = shelf.kept(archive_after_days=3)
    shelf.run(keeper)
    keeper.close()
    first = instance.command("verify", "--json")
    assert first.returncode == 0, first.stdout
    assert json.loads(first.stdout)["recordings"]["custody"] == 1
    anchor = instance.config.with_name("anchor.json")
    anchor.write_text(first.stdout, "utf-8")
    assert instance.command("verify", "--anchor", str(anchor)).returncode == 0
    with shelf.store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM custody")
        connection.exec_driver_sql("UPDATE recordings SET archive_path = '', archive_sha256 = ''")
    assert instance.command("verify").returncode == 0
    told = instance.command("verify", "--anchor", str(anchor))
    assert told.returncode == 1
    assert "保管链" in told.stdout
    anchor.write_text("no report", "utf-8")
    assert instance.command("verify", "--anchor", str(anchor)).returncode == 1
