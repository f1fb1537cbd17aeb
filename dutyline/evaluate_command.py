"""``dutyline evaluate``: how well the installed engines hear a unit's own speech, before it chooses one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from config.settings import Settings
from dutyline.options import err, fail, out, print_json
from transcription import models
from transcription.errors import TranscriptionError
from transcription.evaluation.degrade import Degradation, parse_degradation
from transcription.evaluation.manifest import Line, read_manifest
from transcription.evaluation.report import write_report
from transcription.evaluation.speechscore import Evaluation, evaluate
from transcription.model_store import InstalledModel


def run(
    settings: Settings, manifest: Path, *, wanted: Sequence[str], degrade: Sequence[str], report: Path, as_json: bool
) -> None:
    """Measure and print; raises typer.Exit with status 1 where it cannot be measured."""
    try:
        conditions = [parse_degradation(text) for text in degrade] or [Degradation()]
        lines = read_manifest(manifest)
        chosen = _chosen(models.installed(settings.data.models), wanted)
        found = [_one(model, lines, how) for how in conditions for model in chosen]
        page = write_report(found, str(manifest), report)
    except TranscriptionError as error:
        raise fail(str(error)) from None
    if as_json:
        print_json([asdict(one) for one in found])
        return
    _show(found)
    out.print(f"报告：{page}", highlight=False, soft_wrap=True)


def _chosen(installed: Sequence[InstalledModel], wanted: Sequence[str]) -> list[InstalledModel]:
    """The models by name or by engine, all without a wish."""
    if not installed:
        raise TranscriptionError("没有已安装的语音模型，请先运行 dutyline models fetch 或 dutyline models add")
    for name in wanted:
        if not any(name in (model.name, model.engine) for model in installed):
            have = "、".join(model.name for model in installed)
            raise TranscriptionError(f"没有安装名为 {name} 的模型或引擎（已安装：{have}）")
    return [model for model in installed if not wanted or {model.name, str(model.engine)} & set(wanted)]


def _one(model: InstalledModel, lines: Sequence[Line], how: Degradation) -> Evaluation:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        task = progress.add_task(f"{model.name} {how}", total=len(lines))
        return evaluate(model, lines, how, lambda done: progress.update(task, completed=done))


def _show(found: Sequence[Evaluation]) -> None:
    table = Table()
    for heading in ("模型", "条件", "集", "录音", "字数", "CER", "95% 区间", "实时率", "内存峰值"):
        table.add_column(heading, no_wrap=True)
    for one in found:
        for each in one.sets:
            table.add_row(
                one.model,
                one.condition,
                each.group,
                str(each.recordings),
                str(each.characters),
                f"{each.cer:.1%}",
                f"{each.low:.1%}～{each.high:.1%}",
                f"{one.rtf:.2f}",
                f"{one.peak_mib:.0f} MiB",
            )
    out.print(table)
    for one in found:
        if one.fields is not None:
            scores = "  ".join(f"{name} P {s.precision:.2f} R {s.recall:.2f}" for name, s in one.fields.fields.items())
            out.print(f"{one.model} {one.condition} 要素：{scores}", highlight=False, soft_wrap=True)
        if faults := [heard for heard in one.heard if heard.fault]:
            out.print(f"{one.model}：{len(faults)} 条录音不能转写，计为全错；第一条：{faults[0].fault}", soft_wrap=True)
