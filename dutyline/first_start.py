"""Before anything serves: the database is brought up to date, lines are provisioned, first accounts are made."""

from __future__ import annotations

from dataclasses import dataclass

from config.secrets import Secrets, load_or_create, one_time_password
from config.settings import Settings
from duty.domain.rights import Role
from duty.domain.times import utc_now
from duty.services.accounts import Accounts
from duty.services.lines import LinePlan, Lines, UnitPlan
from duty.store.database import Store
from duty.vault.keyfile import MasterKeys

FIRST_ACCOUNTS = (
    ("zhiban", "值班员", Role.OFFICER),
    ("daiban", "带班领导", Role.LEADER),
    ("ducha", "督查人员", Role.SUPERVISOR),
    ("admin", "系统管理员", Role.ADMINISTRATOR),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """One account made at the first start; its password must be changed at the first sign-in."""

    login: str
    name: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What the first start made: ``credentials`` is empty at every later one."""

    secrets: Secrets
    credentials: tuple[Credential, ...]


def prepare(settings: Settings) -> Prepared:
    """Make everything ready to serve. Raises OSError, sqlalchemy.exc.OperationalError."""
    settings.data.dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    settings.data.recordings.mkdir(parents=True, exist_ok=True, mode=0o750)
    secrets = load_or_create(settings)
    store = Store(settings.store_url)
    try:
        store.migrate()
        Lines(store, utc_now).provision(*_plans(settings))
        credentials = _first_accounts(settings, Accounts(store, utc_now))
    finally:
        store.close()
    return Prepared(secrets=secrets, credentials=credentials)


def not_for_production(settings: Settings) -> tuple[str, ...]:
    """Why the service must not be started as ``web.production`` demands; empty where it may. Raises
    sqlalchemy.exc.OperationalError."""
    if not settings.web.production:
        return ()
    reasons = []
    if not settings.web.secure_cookies:
        reasons.append("控制台须经 HTTPS 访问：请设置 web.secure_cookies = true")
    store = Store(settings.store_url)
    try:
        logins = Accounts(store, utc_now).one_time_logins()
    finally:
        store.close()
    if MasterKeys(settings.secrecy.key_file).problem():
        reasons.append(
            "涉密密封没有可用的主密钥（dutyline secrecy status 说明原因）："
            "请执行 dutyline secrecy make-key 文件，并设置 secrecy.key_file"
        )
    if logins:
        reasons.append(
            f"以下账号的一次性密码尚未修改：{'、'.join(logins)}（先以 web.production = false 启动并登录修改）"
        )
    return tuple(reasons)


def _plans(settings: Settings) -> tuple[list[UnitPlan], list[LinePlan]]:
    units = [UnitPlan(**unit.model_dump(exclude={"retention_days"})) for unit in settings.units]
    lines = [
        LinePlan(
            number=line.number,
            name=line.name,
            unit=line.unit,
            extensions=tuple(phone.extension for phone in line.phones),
            has_trunk=line.trunk is not None,
        )
        for line in settings.lines
    ]
    return units, lines


def _first_accounts(settings: Settings, accounts: Accounts) -> tuple[Credential, ...]:
    if not accounts.is_empty():
        return ()
    hub = next(unit.code for unit in settings.units if unit.is_hub)
    made = []
    for login, name, role in FIRST_ACCOUNTS:
        password = one_time_password()
        accounts.add_officer(unit_code=hub, login=login, name=name, password=password, roles=[role], title=name)
        made.append(Credential(login=login, name=name, password=password))
    return tuple(made)
