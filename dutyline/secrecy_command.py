"""``dutyline secrecy``: the master key of what is sealed (requirement 6.5-a): made, changed, looked at."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from config.settings import Settings
from duty.domain.times import utc_now
from duty.services.custody import Custody
from duty.services.sealingacts import SealingActs
from duty.store.database import Store
from duty.vault.errors import NoMasterKey, VaultError
from duty.vault.keyfile import MasterKeys, create_ring, replace_ring
from duty.vault.keys import KeyRing, new_master_key
from dutyline.options import Config, Json, fail, out, print_json, settings_of
from web import catalogue
from web.failures import message_of

app = typer.Typer(no_args_is_help=True, help="The master key of what is sealed for secrecy: make-key, rotate, status.")

SETTLE_S = 2.0
"""No transaction that read the key file before it was changed lasts longer."""
_ADVICE = (
    "  请现在就做两件事：",
    "  一、把这个文件复制到离机介质（如保密柜中的光盘），与数据备份分开存放；密钥丢失则已密封的内容永远无法打开",
    "  二、不要把它放进数据目录或数据备份：拿到数据又拿到密钥的人可以打开全部密封内容",
)


@app.command("make-key")
def make_key(
    file: Annotated[Path | None, typer.Argument(help="Where; the one that secrecy.key_file names without it.")] = None,
    config: Config = None,
) -> None:
    """Make the master key. A file that is there is never overwritten."""
    settings = settings_of(config)
    path = file or settings.secrecy.key_file
    if path is None:
        raise fail("请写明密钥文件的位置，或先设置 secrecy.key_file")
    if path.resolve().is_relative_to(settings.data.dir.resolve()):
        raise fail(f"{path} 在数据目录之内，密钥不得与数据放在一处")
    ring = KeyRing(keys=(new_master_key(),))
    try:
        create_ring(path, ring)
    except FileExistsError:
        raise fail(f"{path} 已经存在；更换密钥请用 dutyline secrecy rotate") from None
    out.print(f"主密钥 {ring.current.key_id} 已生成：{path}（权限 0600）", highlight=False, soft_wrap=True)
    for line in _ADVICE:
        out.print(line, highlight=False, soft_wrap=True)
    if settings.secrecy.key_file != path:
        out.print(f'  设置中写入：\\[secrecy] key_file = "{path}"', highlight=False, soft_wrap=True)


@app.command()
def rotate(config: Config = None) -> None:
    """Put a new master key in the place of the old one; the sealed content stays, its keys are wrapped anew. May be
    broken off and begun again, while the service runs."""
    settings = settings_of(config)
    path, keys = settings.secrecy.key_file, MasterKeys(settings.secrecy.key_file)
    with closing(Store(settings.store_url)) as store:
        try:
            ring = keys.ring()
            if len(ring.keys) == 1:
                ring = ring.rotated()
                replace_ring(_named(path), ring)
            count = _rewrap_all(settings, store, keys)
            replace_ring(_named(path), keys.ring().only_current())
        except VaultError as error:
            raise fail(f"{_words(error)}（旧密钥仍在密钥文件中，可再次执行）") from None
    out.print(f"主密钥已更换为 {ring.current.key_id}，{count} 个通话的密钥已重新加密", highlight=False)
    out.print("  请更新离机保存的密钥副本；此前的数据备份仍须用旧密钥打开，旧副本与那些备份一并保管", soft_wrap=True)


@app.command()
def status(config: Config = None, as_json: Json = False) -> None:
    """Whether calls can be sealed, and what waits; exit status 1 where not."""
    settings = settings_of(config)
    keys = MasterKeys(settings.secrecy.key_file)
    with closing(Store(settings.store_url)) as store:
        acts = SealingActs(store, utc_now, keys)
        try:
            current, problem = keys.ring().current.key_id, ""
        except NoMasterKey as error:
            current, problem = "", _words(error)
        counts = acts.counts()
        foreign = len(acts.wrapped_before(current)) if current else 0
    if as_json:
        print_json({"ok": not problem, "key": current, "problem": problem, "calls": counts, "other_key": foreign})
    else:
        out.print(f"主密钥：{current}" if current else f"[red]没有可用的主密钥[/red]：{problem}", highlight=False)
        out.print(
            f"已密封 {counts['sealed']}，等待密封 {counts['waiting']}，已解除 {counts['lifted']}", highlight=False
        )
        if foreign:
            out.print(f"[yellow]注意[/yellow] {foreign} 个通话的密钥在旧主密钥之下：请执行 dutyline secrecy rotate")
    if problem:
        raise typer.Exit(1)


def _rewrap_all(settings: Settings, store: Store, keys: MasterKeys) -> int:
    """Until nothing is left under an older key, also of what the running service wraps meanwhile; how many."""
    from telephony.strongroom import Strongroom  # noqa: PLC0415

    acts, custody, done = SealingActs(store, utc_now, keys), Custody(store, utc_now), 0
    strongroom = Strongroom(settings.data.recordings, store, acts)
    while True:
        for call_id in acts.wrapped_before(keys.ring().current.key_id):
            wrapped, booked = acts.rewrap(call_id), custody.one(call_id)
            strongroom.rewrapped(booked.place if booked is not None else "", wrapped)
            done += 1
        time.sleep(SETTLE_S)
        if not acts.wrapped_before(keys.ring().current.key_id):
            return done


def _words(error: VaultError) -> str:
    return message_of(catalogue.load(), error)


def _named(path: Path | None) -> Path:
    if path is None:
        raise NoMasterKey("vault_no_key")
    return path
