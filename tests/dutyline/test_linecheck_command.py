"""``dutyline linecheck`` beside the whole running service, and without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dutyline.service import Instance, prepare, serving


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with serving(prepare(tmp_path_factory.mktemp("linecheck"))) as instance:
        yield instance


@pytest.mark.rule("4-a")
def test_a_line_is_checked_from_the_command_line(running: Instance) -> None:
    ran = running.command("linecheck", "--json", timeout_s=200)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    told = json.loads(ran.stdout)
    assert (told["verdict"], told["reason"], told["evidence"]["through_carrier"]) == ("passed", "token_heard", False)
    spoken = running.command("linecheck", timeout_s=200)
    assert "通过" in spoken.stdout
    assert "未经运营商" in spoken.stdout, "what was not proven is said"


def test_an_unknown_line_and_a_stopped_service_are_told_in_words(running: Instance, tmp_path: Path) -> None:
    unknown = running.command("linecheck", "--line", "110")
    assert (unknown.returncode, "没有线路 110" in unknown.stderr) == (1, True)
    stopped = prepare(tmp_path).command("linecheck")
    assert stopped.returncode == 1
    assert "服务没有运行" in stopped.stderr
    assert "Traceback" not in stopped.stderr + unknown.stderr
