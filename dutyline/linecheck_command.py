"""``dutyline linecheck``: have a line dialled now and say what was found (requirement 4-a, 6.1-e)."""

from __future__ import annotations

import time
from typing import Any

import typer
from rich.markup import escape

from config.settings import Settings
from duty.domain.errors import NotFound
from duty.domain.linechecks import CheckState, Verdict
from duty.domain.times import utc_now
from duty.services.linechecks import CheckView, LineChecks
from duty.store.database import Store
from dutyline.options import fail, out, print_json
from dutyline.supervisor import pids

TAKEN_LIMIT_S = 20.0
"""A running service takes a check on at once, unless one of the same line is under way."""
DONE_LIMIT_S = 300.0
_POLL_S = 0.25
_WORDS = {
    Verdict.PASSED: "通过",
    Verdict.FORWARDED: "呼叫被转移",
    Verdict.FOREIGN: "由他处应答",
    Verdict.DEAD: "线路不通",
    Verdict.BUSY: "占线",
    Verdict.FAULT: "拨测未能完成",
    Verdict.NOT_RUN: "未进行",
}


def run(settings: Settings, *, line: str, as_json: bool) -> None:
    """Order a line check and wait for its verdict; exit status 1 for any other than passed."""
    number = line or settings.lines[0].number
    if "telephony" not in pids(settings.data.dir / "run"):
        raise fail("服务没有运行，无法拨测。请先启动 dutyline serve；用了自己的设置文件时，两处都要加 --config 文件")
    store = Store(settings.store_url)
    try:
        checks = LineChecks(store, utc_now)
        found = _wait(checks, _ordered(checks, number))
    finally:
        store.close()
    if as_json:
        print_json(as_plain(found))
    else:
        _show(found)
    if found.verdict is not Verdict.PASSED:
        raise typer.Exit(1)


def _ordered(checks: LineChecks, number: str) -> int:
    try:
        return checks.order_at_machine(number)
    except NotFound:
        raise fail(f"设置中没有线路 {escape(number)}") from None


def _wait(checks: LineChecks, check_id: int) -> CheckView:
    began = time.monotonic()
    while (found := checks.one(check_id)).state is not CheckState.DONE:
        waited = time.monotonic() - began
        if waited > DONE_LIMIT_S or (found.state is CheckState.DUE and waited > TAKEN_LIMIT_S):
            raise fail("运行中的服务没有给出拨测结果，请看服务的日志")
        time.sleep(_POLL_S)
    return found


def as_plain(found: CheckView) -> dict[str, Any]:
    """The check as JSON values."""
    return {
        "check": found.check_id,
        "line": found.line_number,
        "verdict": found.verdict.value if found.verdict is not None else None,
        "reason": found.reason,
        "answer_s": found.answer_s,
        "call_id": found.call_id,
        "evidence": found.evidence,
    }


def _show(found: CheckView) -> None:
    passed = found.verdict is Verdict.PASSED
    colour = "green" if passed else "red"
    words = _WORDS.get(found.verdict or Verdict.FAULT, str(found.verdict))
    answered = f"，{found.answer_s} 秒接通" if found.answer_s is not None else ""
    out.print(f"{found.line_name} {found.line_number} 拨测：[{colour}]{words}[/{colour}]{answered}", highlight=False)
    if not passed:
        out.print(f"  原因：{escape(found.reason)}（详见控制台“拨测查岗”）", highlight=False)
    if found.evidence.get("through_carrier") is False:
        out.print("  未经运营商：本结果不能证明运营商侧没有设置呼叫转移（须设置 lines.probe）", highlight=False)
