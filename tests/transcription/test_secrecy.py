"""Words that suggest a secret are noticed, also misheard; ordinary calls raise no false alarm (requirement 6.5-a)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from duty.domain.transcripts import Speaker
from duty.services.secrecy import Secrecy
from duty.store.database import Store
from duty.store.tables import AlarmRow, EventRow
from duty.vault.keyfile import MasterKeys
from tests.duty.room import Room
from transcription.evaluation.corpus import read_corpus
from transcription.live import LiveCaption
from transcription.secrecy import SecretLevel, load_secret_words, secret_words
from transcription.serve import CaptionWriter

CORPUS = Path(__file__).resolve().parents[1] / "corpus" / "duty_calls"
WORDS = load_secret_words()
pytestmark = pytest.mark.rule("6.5-a")


@pytest.mark.parametrize(
    ("said", "name", "level"),
    [
        ("我这儿有一份绝密文件要传给你们", "密级标志", SecretLevel.CLASSIFIED),
        ("机蜜文件收到了没有", "密级标志", SecretLevel.CLASSIFIED),
        ("明天有一级警卫任务", "警卫任务", SecretLevel.CLASSIFIED),
        ("明天下午有异级警位", "警卫任务", SecretLevel.CLASSIFIED),
        ("部 队 掉 动 的事", "军事", SecretLevel.CLASSIFIED),
        ("部隊調動經過你們區", "军事", SecretLevel.CLASSIFIED),
        ("今晚秘密抓捕，不要声张", "侦查办案", SecretLevel.INNER),
        ("省委书记的视察路线我念给你", "领导动向", SecretLevel.INNER),
    ],
)
def test_what_suggests_a_secret(said: str, name: str, level: SecretLevel) -> None:
    (found,) = WORDS.said(said)[:1]
    assert (found.name, found.level) == (name, level)
    assert said[found.start : found.end].strip()


@pytest.mark.parametrize(
    "said",
    [
        "此电话不得涉密",
        "请问这份文件是不是非涉密的",
        "调研路线不用报了，是社区自己的",
        "电脑密码忘了",
        "消防车调动了三台",
        "",
    ],
)
def test_what_does_not(said: str) -> None:
    assert WORDS.said(said) == []


def test_ordinary_duty_calls_raise_no_alarm() -> None:
    calls = read_corpus(CORPUS.glob("*.toml"))
    alarms = [(call.call_id, text) for call in calls for _, text in call.lines if WORDS.said(text)]
    assert alarms == []


@given(st.text(alphabet="绝密文件机 ，。不得涉a1绝", max_size=40))
def test_any_text_gives_spans_that_lie_in_it(text: str) -> None:
    for found in WORDS.said(text):
        assert 0 <= found.start < found.end <= len(text)


def test_a_rule_of_one_character_is_refused() -> None:
    with pytest.raises(ValueError, match="一个字"):
        secret_words([{"name": "x", "level": "inner", "say": ["密"]}])


def test_the_desk_is_warned_once_a_call_and_not_told_which_words(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'duty.db'}")
    store.migrate()
    room = Room(store)
    call_id = room.arrive()
    secrecy = Secrecy(store, room.clock, MasterKeys(None), opening=timedelta(minutes=30))
    writer = CaptionWriter(store, WORDS, secrecy)
    for said in ("您好", "我这儿有一份绝密文件", "绝密文件三页"):
        writer.write(
            LiveCaption(
                call_id=call_id, speaker=Speaker.CALLER, text=said, start_s=0.0, end_s=1.0, final=True, words=()
            )
        )
    with store.reading() as session:
        alarms = session.scalars(select(AlarmRow).where(AlarmRow.kind == "secrecy_suspected")).all()
        told = session.scalars(select(EventRow)).all()
    assert [alarm.call_id for alarm in alarms] == [call_id]
    assert "绝密" not in str(alarms[0].data) + alarms[0].subject
    assert not any("您好" in str(event.data) or "绝密" in str(event.data) for event in told)
    store.close()
