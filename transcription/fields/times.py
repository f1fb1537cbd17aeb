"""When it happened: Chinese time expressions, relative to the call, in China's one time zone (UTC+8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from transcription.normalise import number

CHINA = timezone(timedelta(hours=8), "Asia/Shanghai")

_N = r"[零〇一二两三四五六七八九十0-9]{1,3}"
_PERIODS = "凌晨|清晨|早晨|早上|上午|中午|下午|傍晚|晚上|晚间|夜里|夜间|深夜|半夜|午夜|今早|今晨|今晚|昨晚|昨夜"
_CLOCK = re.compile(
    rf"(?:(?P<year>[零〇一二三四五六七八九0-9]{{4}})年)?(?:(?P<month>{_N})月(?:份)?)?(?:(?P<dom>{_N})[日号])?"
    rf"(?P<day>大前天|前天|昨天|昨日|今天|今日|明天|明日|后天|当天|当日)?(?:的)?(?P<period>{_PERIODS})?"
    rf"[，,]?(?P<hour>{_N})(?:(?:点钟|点|时|點)(?P<rest>整|半|一刻|三刻|(?P<minute>{_N})分?)?|[.:：](?P<written>[0-5][0-9])(?:分)?)"
    r"(?P<about>左右|前后|许|多)?"
)
_AGO = re.compile(
    rf"(?P<about>大约|大概|约)?(?P<count>半|{_N})(?P<more>多)?个?(?P<half>半)?(?P<unit>小时|钟头|分钟|分|天)(?:之|以)?前"
)
_JUST_NOW = re.compile(r"刚刚|刚才")
_DAYS = {
    "大前天": -3,
    "前天": -2,
    "昨天": -1,
    "昨日": -1,
    "今天": 0,
    "今日": 0,
    "当天": 0,
    "当日": 0,
    "明天": 1,
    "明日": 1,
    "后天": 2,
}
_SHORT = {"今早": (0, "早上"), "今晨": (0, "清晨"), "今晚": (0, "晚上"), "昨晚": (-1, "晚上"), "昨夜": (-1, "晚上")}
_AFTERNOON = {"下午", "傍晚", "晚上", "晚间"}
_NIGHT = {"夜里", "夜间", "深夜", "半夜", "午夜"}
_DECIMAL = re.compile(r"[零〇一二三四五六七八九十百0-9]*(?:米|万|亿|元|公|%|倍|吨|度|亩|级|升|毫|千|平|分之|个)")
_SLACK = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidTime:
    """A time said at ``start:end`` of a text; ``approximate`` for 左右 and its like; ``sure`` is 0..1."""

    start: int
    end: int
    moment: datetime
    approximate: bool
    sure: float


def said_times(text: str, at: datetime) -> list[SaidTime]:
    """Every time in ``text``, as moments in UTC+8, for a call that began ``at`` (timezone-aware).

    Impossible ones (二十五点, 二月三十日) are left out. A clock time without a day is the last one before
    the call.
    """
    now = at.astimezone(CHINA)
    found = [said for match in _CLOCK.finditer(text) if (said := _clock(match, now)) is not None]
    found += [said for match in _AGO.finditer(text) if (said := _ago(match, now)) is not None]
    found += [
        SaidTime(start=m.start(), end=m.end(), moment=now.replace(second=0, microsecond=0), approximate=True, sure=0.5)
        for m in _JUST_NOW.finditer(text)
    ]
    return sorted(found, key=lambda said: said.start)


def written(said: SaidTime) -> str:
    """The moment in the entry's form: 2026年3月5日15时20分, with 许 where it is approximate."""
    moment = said.moment
    about = "许" if said.approximate else ""
    return f"{moment.year}年{moment.month}月{moment.day}日{moment.hour}时{moment.minute:02d}分{about}"


def _clock(match: re.Match[str], now: datetime) -> SaidTime | None:
    period = match["period"] or ""
    shift, period = _SHORT.get(period, (None, period))
    if match["day"]:
        shift = _DAYS[match["day"]]
    hour, minute = number(match["hour"]), _minute(match)
    dated = _dated(match, now)
    bare = not (match["day"] or match["dom"] or match["month"] or shift is not None or period)
    if hour is None or minute is None or (bare and _is_amount(match)):
        return None
    if dated is None and (match["month"] or match["dom"]):
        return None
    moment = _moment(dated or (now + timedelta(days=shift or 0)).date(), hour, minute, period)
    if moment is None:
        return None
    sure = 0.95
    if dated is None and shift is None:
        moment, sure = _latest(moment, now, known_half=bool(period) or hour > 12), 0.75 if period else 0.6
    about = match["about"] is not None
    return SaidTime(start=match.start(), end=match.end(), moment=moment, approximate=about, sure=sure)


def _is_amount(match: re.Match[str]) -> bool:
    """零点八米, 3.20 and 两点五倍 without any day or part of the day are amounts."""
    one_digit = match["minute"] is not None and len(match["minute"]) == 1 and not match.group().endswith("分")
    return bool(match["written"]) or one_digit or _DECIMAL.match(match.string, match.end()) is not None


def _minute(match: re.Match[str]) -> int | None:
    if match["written"]:
        return int(match["written"])
    if match["minute"]:
        minute = number(match["minute"])
        return minute if minute is not None and minute < 60 else None
    return {"半": 30, "一刻": 15, "三刻": 45}.get(match["rest"] or "", 0)


def _dated(match: re.Match[str], now: datetime) -> date | None:
    dom = number(match["dom"]) if match["dom"] else None
    if dom is None:
        return None
    month = number(match["month"]) if match["month"] else now.month
    year = number(match["year"]) if match["year"] else now.year
    try:
        found = date(year or 0, month or 0, dom)
        past_year = not match["year"] and found > now.date() + timedelta(days=180)
        return found.replace(year=found.year - 1) if past_year else found
    except ValueError:
        return None


def _moment(day: date, hour: int, minute: int, period: str) -> datetime | None:
    evening = period in _NIGHT and hour >= 6
    if hour < 12 and (period in _AFTERNOON or evening or (period == "中午" and hour in (1, 2))):
        hour += 12
    elif hour == 12 and period in ("凌晨", *_NIGHT):
        hour = 0
        day += timedelta(days=0 if period == "凌晨" else 1)
    if hour == 24 and minute == 0:
        hour, day = 0, day + timedelta(days=1)
    if hour > 23:
        return None
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=CHINA)


def _latest(moment: datetime, now: datetime, *, known_half: bool) -> datetime:
    """The last moment before the call that shows this clock time, in either half of the day unless that is known."""
    step = timedelta(days=1) if known_half else timedelta(hours=12)
    while moment + step <= now + _SLACK:
        moment += step
    while moment > now + _SLACK:
        moment -= step
    return moment


def _ago(match: re.Match[str], now: datetime) -> SaidTime | None:
    half = match["count"] == "半"
    count = 0.5 if half else number(match["count"])
    if count is None:
        return None
    count += 0.5 if match["half"] else 0
    hours = {"小时": 1.0, "钟头": 1.0, "天": 24.0}.get(match["unit"], 1 / 60)
    moment = (now - timedelta(hours=count * hours)).replace(second=0, microsecond=0)
    return SaidTime(start=match.start(), end=match.end(), moment=moment, approximate=True, sure=0.8)
