"""``dutyline models``: the speech models of this installation, fetched by name or carried by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from dutyline.options import Config, err, fail, out, settings_of

if TYPE_CHECKING:
    from transcription.models import InstalledModel, ModelRow

app = typer.Typer(no_args_is_help=True, help="Speech models: list, fetch, add, verify.")

_MB = 1_000_000


@app.command("list")
def list_models(
    config: Config = None,
    installed: Annotated[bool, typer.Option("--installed", help="Only the names of what is installed.")] = False,
) -> None:
    """Show the models known and installed."""
    from transcription import models  # noqa: PLC0415

    root = settings_of(config).data.models
    if installed:
        for model in models.installed(root):
            typer.echo(model.name)
        return
    table = Table()
    for heading in ("模型", "说明", "语言", "许可", "大小", "状态"):
        table.add_column(heading, no_wrap=heading != "说明")
    for row in models.list_models(root):
        table.add_row(*_cells(row))
    out.print(table)
    out.print("下载安装：dutyline models fetch 模型    安装自带的文件：dutyline models add 文件或目录", highlight=False)


@app.command()
def fetch(name: str, config: Config = None) -> None:
    """Download and install a known model; one that is there stays as it is."""
    from transcription import models  # noqa: PLC0415

    root = settings_of(config).data.models
    if any(model.name == name for model in models.installed(root)):
        out.print(f"{name} 已安装")
        return
    with _told(), _bar(name) as progress:
        model = models.fetch(name, root, progress)
    _installed(model)


@app.command()
def add(
    file: Path,
    config: Config = None,
    name: Annotated[str | None, typer.Option("--name", help="The model's name; by default after the file.")] = None,
    language: Annotated[str, typer.Option("--language", help="The language it hears (BCP 47).")] = "zh",
) -> None:
    """Install a model carried by hand: an archive, or a folder with a model of sherpa-onnx."""
    from transcription import models  # noqa: PLC0415

    root = settings_of(config).data.models
    with _told(), out.status(f"正在检查并安装 {file.name}"):
        model = models.add(file, root, name=name, language=language)
    _installed(model)


@app.command()
def verify(config: Config = None) -> None:
    """Compare every installed file with its hash of the installation."""
    from transcription import models  # noqa: PLC0415

    root = settings_of(config).data.models
    with _told(), out.status("正在校验"):
        differences = models.verify(root)
    if not differences:
        out.print("没有已安装的模型")
    for name, files in differences.items():
        if files:
            out.print(f"{name}  [red]与安装时不符[/red]：{'、'.join(files)}", highlight=False)
        else:
            out.print(f"{name}  [green]完好[/green]", highlight=False)
    if any(differences.values()):
        raise typer.Exit(1)


def _cells(row: ModelRow) -> tuple[str, ...]:
    known, here = row.known, row.installed
    if known is None:
        size = f"{here.size_bytes / _MB:.0f} MB" if here else ""
        return row.name, "自行添加", here.language if here else "", "", size, "已安装"
    state = "[green]已安装[/green]" if here else "未安装"
    size = f"{(here.size_bytes if here else known.download_bytes) / _MB:.0f} MB"
    return row.name, known.description, known.language, known.licence, size, state


def _installed(model: InstalledModel) -> None:
    out.print(f"[green]已安装[/green] {model.name}（{model.size_bytes / _MB:.0f} MB，SHA-256 {model.sha256[:16]}…）")


@contextmanager
def _told() -> Iterator[None]:
    """Any failure of the room becomes its one Chinese sentence and status 1."""
    from transcription.errors import TranscriptionError  # noqa: PLC0415

    try:
        yield
    except TranscriptionError as error:
        raise fail(str(error)) from None


class _Bar:
    """A download's bar, drawn from the first byte on."""

    def __init__(self, name: str, progress: Progress) -> None:
        self._name, self._progress = name, progress
        self._task: TaskID | None = None

    def __call__(self, have: int, total: int) -> None:
        """``have`` of ``total`` bytes are here."""
        if self._task is None:
            self._task = self._progress.add_task(self._name)
        self._progress.update(self._task, completed=have, total=total)


@contextmanager
def _bar(name: str) -> Iterator[_Bar]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        yield _Bar(name, progress)
