"""The report of an evaluation: one HTML page that needs nothing else, JSON with everything, CSV by recording.

The words are those of the command line, for the person who chooses a model.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

from transcription.evaluation.speechscore import Evaluation, Heard

_FIELDS = {"time": "时间", "place": "地点", "casualties": "伤亡", "phone": "电话", "unit": "单位"}
_ROW, _LEFT, _WIDE, _RIGHT = 26, 250, 420, 90
_BINS = 10
_STYLE = """body{font:15px/1.6 "Noto Sans CJK SC","Microsoft YaHei",sans-serif;max-width:1000px;margin:2em auto;
color:#1a2233}
table{border-collapse:collapse;margin:.6em 0 1.4em}th,td{border:1px solid #c9d1de;padding:.25em .7em;text-align:left}
th{background:#eef2f8}td.n{text-align:right;font-variant-numeric:tabular-nums}svg{font:13px sans-serif}
.bar{fill:#2f6fb5}.line{stroke:#1a2233;stroke-width:1.5}.grid{stroke:#d5dbe5}del{color:#a33}.fault{color:#a33}
@media print{body{margin:0}}"""


def write_report(found: Sequence[Evaluation], manifest: str, folder: Path) -> Path:
    """``report.html``, ``report.json`` and ``recordings.csv`` in ``folder``; the path of the page. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = [asdict(one) for one in found]
    (folder / "report.json").write_text(json.dumps(whole, ensure_ascii=False, indent=1), encoding="utf-8")
    with (folder / "recordings.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("模型", "条件", "集", "文件", "错字", "字数", "原文", "转写", "秒", "处理器秒", "故障"))
        for one in found:
            writer.writerows(
                (
                    one.model,
                    one.condition,
                    heard.group,
                    heard.file,
                    heard.errors.wrong,
                    heard.errors.said,
                    heard.said,
                    heard.heard,
                    f"{heard.seconds:.2f}",
                    f"{heard.cpu_s:.2f}",
                    heard.fault,
                )
                for heard in one.heard
            )
    page = folder / "report.html"
    page.write_text(_page(found, manifest), encoding="utf-8")
    return page


def _page(found: Sequence[Evaluation], manifest: str) -> str:
    parts = [
        f"<h1>语音识别评测</h1><p>清单 {escape(manifest)}；字错误率（CER）不计标点、繁简和数字写法，"
        "区间为 95%（按录音自助抽样）。实时率为单核处理器时间与录音时长之比。</p>",
        "<h2>各模型的字错误率</h2>",
        _bars(found),
        _table(found),
    ]
    parts += [_details(one) for one in found]
    return (
        f'<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>语音识别评测</title><style>{_STYLE}</style>'
        f"{''.join(parts)}</html>"
    )


def _bars(found: Sequence[Evaluation]) -> str:
    rows = [(f"{one.model} {one.condition} {each.group}", each) for one in found for each in one.sets]
    most = max(0.1, *(each.high for _, each in rows))
    height = _ROW * len(rows) + 30
    drawn = [f'<svg width="{_LEFT + _WIDE + _RIGHT}" height="{height}" role="img" aria-label="字错误率">']
    for step in range(5):
        x = _LEFT + _WIDE * step / 4
        drawn.append(f'<line class="grid" x1="{x:.0f}" x2="{x:.0f}" y1="0" y2="{height - 24}"/>')
        drawn.append(f'<text x="{x:.0f}" y="{height - 8}" text-anchor="middle">{most * step / 4:.0%}</text>')
    for number, (name, each) in enumerate(rows):
        y, scale = number * _ROW + 4, _WIDE / most
        middle = y + 9
        drawn.append(f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        drawn.append(f'<rect class="bar" x="{_LEFT}" y="{y}" width="{each.cer * scale:.1f}" height="18"/>')
        drawn.append(
            f'<line class="line" x1="{_LEFT + each.low * scale:.1f}" x2="{_LEFT + each.high * scale:.1f}" '
            f'y1="{middle}" y2="{middle}"/>'
        )
        drawn.append(f'<text x="{_LEFT + each.high * scale + 6:.1f}" y="{y + 14}">{each.cer:.1%}</text>')
    return "".join(drawn) + "</svg>"


def _table(found: Sequence[Evaluation]) -> str:
    rows = "".join(
        f"<tr><td>{escape(one.model)}</td><td>{escape(one.condition)}</td><td>{escape(each.group)}</td>"
        f'<td class="n">{each.recordings}</td><td class="n">{each.characters}</td><td class="n">{each.cer:.1%}</td>'
        f'<td class="n">{each.low:.1%}～{each.high:.1%}</td><td class="n">{one.rtf:.2f}</td>'
        f'<td class="n">{one.peak_mib:.0f}</td></tr>'
        for one in found
        for each in one.sets
    )
    heads = "".join(
        f"<th>{name}</th>"
        for name in ["模型", "条件", "集", "录音数", "字数", "CER", "区间", "实时率", "内存峰值（MiB）"]
    )
    return f"<table><tr>{heads}</tr>{rows}</table>"


def _details(one: Evaluation) -> str:
    settings = "；".join(f"{escape(key)}={escape(value)}" for key, value in one.settings.items())
    worst = sorted(one.heard, key=lambda heard: -_share(heard))[:20]
    rows = "".join(
        f"<tr><td>{escape(heard.file)}</td><td>{escape(heard.said)}</td>"
        f'<td>{escape(heard.heard) or f"""<span class="fault">{escape(heard.fault) or "（无文字）"}</span>"""}</td>'
        f'<td class="n">{heard.errors.wrong}/{heard.errors.said}</td></tr>'
        for heard in worst
    )
    return (
        f"<h2>{escape(one.model)}（{escape(one.condition)}）</h2>"
        f""
        f"<p>模型 SHA-256 {escape(one.model_sha256[:16])}…；{settings}</p>"
        f"{_fields(one)}<h3>录音按字错误率的分布</h3>{_histogram(one.heard)}<h3>错得最多的录音</h3>"
        f"<table><tr><th>文件</th><th>原文</th><th>转写</th><th>错字</th></tr>{rows}</table>"
    )


def _fields(one: Evaluation) -> str:
    if one.fields is None:
        return ""
    rows = "".join(
        f'<tr><td>{_FIELDS.get(name, name)}</td><td class="n">{score.precision:.2f}</td>'
        f'<td class="n">{score.recall:.2f}</td><td class="n">{score.f1:.2f}</td></tr>'
        for name, score in one.fields.fields.items()
    )
    return (
        f"<h3>要素（{one.fields.calls} 通）</h3><table><tr><th>要素</th><th>准确率</th><th>召回率</th><th>F1</th></tr>"
        f"{rows}</table>"
    )


def _histogram(heard: Sequence[Heard]) -> str:
    counts = [0] * (_BINS + 1)
    for one in heard:
        counts[min(_BINS, int(_share(one) * _BINS))] += 1
    most, wide, high = max(counts), 46, 110
    drawn = [f'<svg width="{wide * len(counts) + 20}" height="{high + 44}" role="img" aria-label="分布">']
    for number, count in enumerate(counts):
        tall = high * count / most if most else 0
        x = number * wide
        name = f"{number * 10}%" if number < _BINS else "≥100%"
        drawn.append(
            f'<rect class="bar" x="{x + 4}" y="{high + 18 - tall:.0f}" width="{wide - 8}" height="{tall:.0f}"/>'
        )
        drawn.append(f'<text x="{x + wide / 2}" y="{high + 12 - tall:.0f}" text-anchor="middle">{count or ""}</text>')
        drawn.append(f'<text x="{x + wide / 2}" y="{high + 36}" text-anchor="middle">{name}</text>')
    return "".join(drawn) + "</svg>"


def _share(heard: Heard) -> float:
    return heard.errors.wrong / heard.errors.said if heard.errors.said else 0.0
