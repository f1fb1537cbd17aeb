"""What the commands share: the option that names the settings, and one way of saying what went wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from config.settings import Settings, load

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="Your settings (TOML); what it leaves out is as shipped.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]

out = Console()
err = Console(stderr=True)


def settings_of(config: Path | None) -> Settings:
    """The settings, or exit status 2 with each wrong value named."""
    try:
        return load(config)
    except (OSError, ValueError) as error:
        _say_wrong(error)
        raise typer.Exit(2) from None


def fail(sentence: str) -> typer.Exit:
    """Say what could not be done; raise what is returned to end with status 1."""
    err.print("[red]未能完成[/red]", sentence, highlight=False, markup=True, soft_wrap=True)
    return typer.Exit(1)


def print_json(value: object) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def _say_wrong(error: Exception) -> None:
    if isinstance(error, ValidationError):
        for fault in error.errors():
            place = ".".join(str(part) for part in fault["loc"])
            err.print(f"[red]设置有误[/red] {place}: {fault['msg']}")
    else:
        err.print(f"[red]设置无法读取[/red] {error}")
