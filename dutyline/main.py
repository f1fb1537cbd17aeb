"""The command line. Each command builds the settings, hands them to one room, and says in words what became of it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from config.secrets import load_or_create, one_time_password
from config.settings import Settings
from duty.domain.errors import DutyError
from duty.domain.happenings import AlarmKind, Severity
from duty.domain.times import utc_now
from duty.services.accounts import Accounts
from duty.services.alarms import Alarms
from duty.store.database import Store
from dutyline import logs
from dutyline.first_start import Prepared, not_for_production, prepare
from dutyline.models_command import app as models_app
from dutyline.options import Config, Json, fail, out, settings_of
from dutyline.secrecy_command import app as secrecy_app
from dutyline.supervisor import Supervisor, follow_parent

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="值班专线 dutyline: the duty line."
)
app.add_typer(models_app, name="models")
app.add_typer(secrecy_app, name="secrecy")

_log = logging.getLogger(__name__)


@app.command()
def serve(config: Config = None) -> None:
    """Serve the line, the transcription and the console."""
    settings = settings_of(config)
    logs.set_up("serve")
    prepared = prepare(settings)
    _welcome(settings, prepared)
    if reasons := not_for_production(settings):
        raise fail(f"正式运行（web.production）不能启动：{'；'.join(reasons)}")

    def died(name: str, status: int) -> None:
        store = Store(settings.store_url)
        try:
            Alarms(store, utc_now).report(AlarmKind.PROCESS_RESTARTED, Severity.WARNING, subject=name, status=status)
        except SQLAlchemyError:
            _log.exception("the restart of %s could not be written down", name)
        finally:
            store.close()

    Supervisor(config=config, pid_directory=settings.data.dir / "run", died=died).run()


@app.command(hidden=True)
def process(name: str, config: Config = None) -> None:
    """Run one of the service's processes; the supervisor calls this."""
    settings = settings_of(config)
    logs.set_up(name)
    follow_parent()
    _runner(name, settings)()


def _runner(name: str, settings: Settings) -> Callable[[], None]:
    """Rooms are imported only in the process that lives in them."""
    if name == "telephony":
        from telephony.serve import run as serve_line  # noqa: PLC0415

        return lambda: serve_line(settings, load_or_create(settings))
    if name == "transcription":
        from transcription.serve import run as serve_transcription  # noqa: PLC0415

        return lambda: serve_transcription(settings)
    if name == "web":
        from web.serve import run as serve_console  # noqa: PLC0415

        return lambda: serve_console(settings)
    if name == "custody":
        from telephony.custody import run as keep_recordings  # noqa: PLC0415

        return lambda: keep_recordings(settings)
    raise typer.BadParameter(f"no such process: {name}")


@app.command()
def demo(config: Config = None, as_json: Json = False) -> None:
    """Place the guided first call through the running service."""
    from dutyline.demo_command import run  # noqa: PLC0415

    run(settings_of(config), as_json=as_json)


@app.command()
def verify(
    config: Config = None,
    as_json: Json = False,
    anchor: Annotated[
        Path | None, typer.Option("--anchor", help="An earlier report (--json) that was kept off the machine.")
    ] = None,
) -> None:
    """Check every unit's logbook link by link, and every recording."""
    from dutyline.verify_command import run  # noqa: PLC0415

    run(settings_of(config), as_json=as_json, anchor=anchor)


@app.command()
def reconcile(
    config: Config = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Names and sizes only; without it every file is read.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare calls, recording rows and files, changing nothing; exit status 1 where they differ."""
    from dutyline.reconcile_command import run  # noqa: PLC0415

    run(settings_of(config), quick=quick, as_json=as_json)


@app.command()
def linecheck(
    config: Config = None,
    line: Annotated[str, typer.Option("--line", help="The line's number; the first one without it.")] = "",
    as_json: Json = False,
) -> None:
    """Dial a line from outside and prove that it rings here."""
    from dutyline.linecheck_command import run  # noqa: PLC0415

    run(settings_of(config), line=line, as_json=as_json)


@app.command()
def evaluate(
    manifest: Path,
    config: Config = None,
    engine: Annotated[
        list[str] | None,
        typer.Option("--engine", help="A model's or an engine's name; may be repeated. All without it."),
    ] = None,
    degrade: Annotated[
        list[str] | None,
        typer.Option("--degrade", help="telephone, noise:12dB or both with a comma; may be repeated, each is a run."),
    ] = None,
    report: Annotated[Path, typer.Option("--report", help="The folder of the report.")] = Path("evaluation"),
    as_json: Json = False,
) -> None:
    """Measure what the installed speech models mishear in recordings of your own (a tab-separated list: file, text)."""
    from dutyline.evaluate_command import run  # noqa: PLC0415

    run(settings_of(config), manifest, wanted=engine or (), degrade=degrade or (), report=report, as_json=as_json)


@app.command("password")
def password(login: str, config: Config = None) -> None:
    """Give an account a new one-time password."""
    settings = settings_of(config)
    made = one_time_password()
    store = Store(settings.store_url)
    try:
        Accounts(store, utc_now).reset_password(login, made)
    finally:
        store.close()
    out.print(f"{login}: [bold]{made}[/bold]  （首次登录须修改）")


@app.command()
def phones(config: Config = None) -> None:
    """Show what a desk phone needs to register."""
    settings = settings_of(config)
    secrets = load_or_create(settings)
    table = Table("专线", "分机", "密码", "注册服务器")
    for line in settings.lines:
        for phone in line.phones:
            registrar = f"{settings.sip.contact_host}:{settings.sip.port}"
            table.add_row(line.number, phone.extension, secrets.phone_password(settings, phone.extension), registrar)
    out.print(table)


def _welcome(settings: Settings, prepared: Prepared) -> None:
    console = f"http://{settings.web.host}:{settings.web.port}/"
    out.print(f"\n[bold]值班专线[/bold]  控制台 {console}")
    for line in settings.lines:
        out.print(f"  {line.name} {line.number}  SIP {settings.sip.contact_host}:{settings.sip.port} (UDP, TCP)")
    if prepared.credentials:
        out.print("  首次启动：以下密码只显示这一次，首次登录须修改", soft_wrap=True)
        table = Table("账号", "身份", "一次性密码")
        for credential in prepared.credentials:
            table.add_row(credential.login, credential.name, credential.password)
        out.print(table)
        out.print("  话机注册信息：dutyline phones    忘记密码：dutyline password 账号", soft_wrap=True)
        out.print(
            "  第一次通话：另开一个终端运行 [bold]dutyline demo[/bold]，看来电、记录草稿如何出现，再核实、定稿\n",
            soft_wrap=True,
        )
    sys.stdout.flush()


def main() -> None:
    """Entry of the console script: an error that is foreseen is told in one sentence and ends with status 1."""
    try:
        app()
    except DutyError as error:
        fail(escape(str(error)))
        raise SystemExit(1) from None
    except (OSError, SQLAlchemyError) as error:
        cause = getattr(error, "orig", None) or error  # the database's own words, without the statement
        fail(escape(f"{type(cause).__name__}: {cause}"))
        raise SystemExit(1) from None
