"""The guided first call as a newcomer reads it: what happens now, how far it is, and what to click next."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from dutyline.demo_book import KnownCaller
from telephony.demo.performance import Stage, Step, Tell

_WAITING = {"open": "封存录音", "waiting": "等待转写", "running": "正在转写", "done": "整理草稿"}


class Story:
    """Told on ``console``; ``url`` is the web console's, with its last slash."""

    def __init__(self, console: Console, url: str) -> None:
        self._console, self._url = console, url
        self._talk_s = 0.0
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._since = 0.0
        self._shown = ""

    def close(self) -> None:
        """Stop drawing; twice is once."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def begins(self, caller: KnownCaller, talk_s: float) -> None:
        """The directory is ready."""
        self._talk_s = talk_s
        self._say("[bold]值班专线 · 第一次通话[/bold]")
        verb = "通讯录新增演示联系人" if caller.added else "通讯录已有来电号码的联系人"
        self._say(f"{verb}：{caller.organisation} {caller.name}")
        self._say(f"现在打开 [bold]{self._url}[/bold] 登录，可在值班台看到来电、通话和草稿")

    def performing(self, stage: Stage) -> Tell:
        """Tells each step of the call on ``stage``."""
        sentences = {
            Step.REGISTERED: f"演示话机已注册为分机 {stage.extension}",
            Step.DIALLED: f"来电已拨出：{stage.caller} → {stage.line}",
            Step.RINGING: "振铃",
            Step.ANSWERED: "接听",
            Step.TAKEN_ELSEWHERE: "已由另一部值班电话接听：来电人的话照常播放，请在那部电话上应答",
        }

        def tell(step: Step, seconds: float) -> None:
            if step in sentences:
                self._say(sentences[step])
            elif step is Step.TALKING:
                clock = f"{_clock(seconds)} / {_clock(self._talk_s)}"
                self._bar("通话中", clock, share=seconds / self._talk_s)
            else:
                self.close()
                self._say(f"挂断（通话 {_clock(seconds)}）")

        return tell

    def transcribing(self, state: str, share: float) -> None:
        """The recording's state, with the share that is decoded where the worker tells it."""
        self._since = self._since or time.monotonic()
        clock = _clock(time.monotonic() - self._since)
        self._bar(_WAITING.get(state, state), f"{clock} {share:.0%}" if share else clock, share=share or None)

    def draft_is_there(self, call_id: str, seconds: float) -> None:
        """The draft was made ``seconds`` after the call."""
        self.close()
        self._say(f"[green]草稿已生成[/green]（挂断后 {seconds:.1f} 秒）：{self._page(call_id)}")

    def what_to_do(self, call_id: str, *, has_contact: bool) -> None:
        """From the draft to the numbered entry."""
        check = "在“身份核实”中选“通讯录比对一致”" if has_contact else "在“身份核实”中写明如何核实"
        steps = (
            f"打开 [bold]{self._page(call_id)}[/bold]",
            "用账号 zhiban 和首次启动时显示的一次性密码登录（忘记了：dutyline password zhiban）",
            "听录音，对照转写文字核对并补齐“值班记录”的必填项",
            check,
            "点“定稿”，再次输入登录密码，点“确认定稿”，记录即编号入册",
            "校验登记簿：dutyline verify",
        )
        self._say("\n[bold]接下来[/bold]")
        for number, step in enumerate(steps, 1):
            self._say(f"  {number}. {step}")

    def waits_for_model(self, call_id: str, reason: str) -> None:
        """The call is kept; nothing can transcribe it yet."""
        self.close()
        self._say(f"[yellow]{reason}[/yellow]。录音已保存：{self._page(call_id)}")
        self._say("安装语音模型后自动转写：[bold]dutyline models fetch whisper-base[/bold]")

    def _page(self, call_id: str) -> str:
        return f"{self._url}calls/{call_id}"

    def _say(self, sentence: str) -> None:
        if self._progress is not None:
            self.close()
        self._console.print(sentence, highlight=False, soft_wrap=True)

    def _bar(self, words: str, clock: str, *, share: float | None) -> None:
        """A bar that moves on a terminal, without an end where ``share`` (0 to 1) is not known; elsewhere one line for
        each change of ``words``."""
        if not self._console.is_terminal:
            if words != self._shown:
                self._shown = words
                self._say(words)
            return
        if self._progress is None:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._task = self._progress.add_task(words, total=None)
            self._progress.start()
        total = None if share is None else 1.0
        self._progress.update(self._task, description=f"{words} {clock}", completed=share, total=total)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"
