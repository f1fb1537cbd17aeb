"""``dutyline models``: what scripts rely on, and that a wrong file is refused in one sentence."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tests.dutyline.service import Instance, prepare


def make_vosk(folder: Path) -> Path:
    """An archive with the files by which a Vosk model is known."""
    archive = folder / "eigen.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for name in ("am/final.mdl", "conf/mfcc.conf", "graph/HCLG.fst"):
            made.writestr(f"eigen/{name}", name * 10)
    return archive


def check_refused(instance: Instance, *arguments: str, word: str) -> None:
    ran = instance.command("models", *arguments)
    assert ran.returncode == 1
    assert word in ran.stderr
    assert "Traceback" not in ran.stderr
    assert instance.command("models", "list", "--installed").stdout == ""


def test_nothing_installed_is_nothing_printed(tmp_path: Path) -> None:
    ran = prepare(tmp_path).command("models", "list", "--installed")
    assert (ran.returncode, ran.stdout) == (0, "")


def test_the_list_names_what_can_be_fetched(tmp_path: Path) -> None:
    shown = prepare(tmp_path).command("models", "list").stdout
    assert "vosk-small-cn" in shown
    assert "whisper-base" in shown
    assert "已安装" not in shown


def test_wrong_names_and_files_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    instance = prepare(tmp_path)
    check_refused(instance, "fetch", "no-such-model", word="没有名为 no-such-model")
    check_refused(instance, "add", str(tmp_path / "missing.zip"), word="文件不存在")
    text = tmp_path / "text.zip"
    text.write_text("no archive")
    check_refused(instance, "add", str(text), word="ZIP")
    forged = make_vosk(tmp_path).rename(tmp_path / "vosk-model-small-cn-0.22.zip")
    check_refused(instance, "add", str(forged), word="校验值不符")


def test_a_model_carried_by_hand_is_listed_and_verified(tmp_path: Path) -> None:
    instance = prepare(tmp_path)
    added = instance.command("models", "add", str(make_vosk(tmp_path)), "--name", "our-own")
    assert added.returncode == 0, added.stderr
    assert instance.command("models", "list", "--installed").stdout == "our-own\n"
    assert "完好" in instance.command("models", "verify").stdout

    (instance.data / "models" / "our-own" / "am" / "final.mdl").write_text("altered")
    ran = instance.command("models", "verify")
    assert ran.returncode == 1
    assert "am/final.mdl" in ran.stdout


def test_fetching_what_is_there_changes_nothing(tmp_path: Path, speech_model: Path) -> None:
    instance = prepare(tmp_path, models=speech_model)
    before = (speech_model / "whisper-base").stat().st_mtime_ns
    ran = instance.command("models", "fetch", "whisper-base")
    assert (ran.returncode, "已安装" in ran.stdout) == (0, True)
    assert (speech_model / "whisper-base").stat().st_mtime_ns == before
