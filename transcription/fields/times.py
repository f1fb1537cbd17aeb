"""When it happened: Chinese time expressions, relative to the call, in China's one time zone (UTC+8).

A text is read from left to right into days, parts of the day and clocks; a clock takes the day and the part of the day
that were said last before it, and a clock said anew after 呃 or 不对 takes the place of the one before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone

from transcription.normalise import number

CHINA = timezone(timedelta(hours=8), "Asia/Shanghai")

_N = r"[零〇一二两三四五六七八九十0-9]{1,3}"
_DAYS = {
    "大前天": -3,
    **dict.fromkeys(("前天", "前日", "前儿个", "前个儿", "前儿"), -2),
    **dict.fromkeys(("昨天", "昨日", "昨儿个", "昨个儿", "昨儿", "昨个", "夜儿个", "夜个"), -1),
    **dict.fromkeys(("今天", "今日", "今儿个", "今个儿", "今儿", "今个", "当天", "当日"), 0),
    **dict.fromkeys(("明天", "明日", "明儿个", "明儿"), 1),
    "后天": 2,
}
_SHORT = {
    "前晚": (-2, "晚上"),
    "前夜": (-2, "夜里"),
    "昨早": (-1, "早上"),
    "昨晚": (-1, "晚上"),
    "昨夜": (-1, "夜里"),
} | {
    "今早": (0, "早上"),
    "今晨": (0, "早上"),
    "今晚": (0, "晚上"),
    "今夜": (0, "夜里"),
    "明早": (1, "早上"),
    "明晚": (1, "晚上"),
}
_PARTS = {
    "凌晨": ("凌晨", "后半夜", "下半夜"),
    "早上": (
        *(
            "清晨",
            "清早",
            "大清早",
            "一大早",
            "大早上",
            "早晨",
            "早上",
            "早起",
            "清起",
            "天刚亮",
            "天不亮",
            "天没亮",
            "天快亮",
        ),
        *("天麻麻亮", "天蒙蒙亮", "麻麻亮", "蒙蒙亮"),
    ),
    "上午": ("上午", "前晌", "头晌", "前半晌"),
    "中午": ("中午", "正午", "晌午头", "晌午", "晌饭"),
    "下午": ("下午", "午后", "后晌", "后半晌", "过晌"),
    "傍晚": ("傍晚", "擦黑", "天黑", "黄昏", "快黑"),
    "晚上": ("晚上", "晚间", "黑了", "黑里", "前半夜", "上半夜"),
    "夜里": ("夜里", "夜间", "深夜", "半夜", "午夜"),
}
_PART_OF = {word: part for part, words in _PARTS.items() for word in words}


def _any(words: object) -> str:
    return "|".join(sorted(map(str, words), key=len, reverse=True))  # type: ignore[call-overload]


_FILLER = r"(?:的?时候|大概其?|大约摸?|约摸?|差不多|也就是?|应该|可能|就是|呃|嗯|那个|是|在|的|快到?|将近|不到|，|,)*"
_SOON = r"(?:[，,]|大概|大约|约|差不多|也就是?|快到?|将近|不到|是|的)*"
_CLOCK = (
    rf"(?<![零〇一二两三四五六七八九十百千第0-9.])(?:差(?P<before>{_N}|一刻)分?(?:钟)?(?:到)?)?(?P<hour>{_N})"
    rf"(?:(?:点钟|点儿|点|时(?!不时|候|常|段)|點)(?:过)?"
    rf"(?P<rest>整|半|一刻|三刻|差(?P<lack>{_N})分|(?P<minute>{_N})(?:分(?!钟|之)|(?![零〇一二两三四五六七八九十百千万个名人户辆头条度米台0-9])))?"
    rf"|[.:：](?P<written>[0-5][0-9])(?:分)?)"
    r"(?P<about>左右|前后|上下|许|多|来钟|出头|不到|光景)?"
)
_DATE = (
    rf"(?:(?P<year>[零〇一二三四五六七八九0-9]{{2,4}})年)?(?:(?P<month>{_N})月(?:份)?)?(?P<dom>{_N})[日号](?!楼|"
    rf"院|线|门|井|机|仓|炉|车|桥|闸|坝|库|地|厂|店|铺|摊|病)"
)
_WEEK = r"(?P<week>上上|上|这|本|下)?个?(?:周|星期|礼拜)(?P<weekday>[一二三四五六日天])(?![路年期岁])"
_TOKEN = re.compile(
    rf"(?P<clock>{_CLOCK})|(?P<date>{_DATE})|(?P<dated>{_WEEK})|(?P<day>{_any(_DAYS)})|"
    rf"(?P<short>{_any(_SHORT)})上?|(?P<part>{_any(_PART_OF)})"
)
_GAP = re.compile(_FILLER)
_AGAIN = re.compile(
    r"(?:[，。,]|呃|嗯|啊|哦|噢|哎|那个|不|不对|不是|错了|说错了?|我?记错了?|更正一下|更正|应该是?|准确[地点]?说?|确切[地点]?说?|是|"
    r"大概|一下|我看看?|等等?|吧|这个)*"
)
_AGO = re.compile(
    rf"(?P<about>大约|大概|约)?(?:有)?(?P<count>半|[一二两三四五六七八九]?十[来几多]|{_N})(?P<more>[多来])?(?:拉)?个?(?P<half>半)?(?:多)?"
    rf"(?P<unit>小时|钟头|分钟|刻钟|分|天)(?:多)?(?:之前|以前|前(?!后|往|面|方|赶)|了(?=，|。|吧|$)|的样子)"
)
_JUST_NOW = re.compile(r"刚刚|刚才")
_AFTERNOON = {"下午", "傍晚", "晚上"}
_DECIMAL = re.compile(
    r"[零〇一二三四五六七八九十百0-9]*(?:米|万|亿|元|公|%|倍|吨|度|亩|级|升|毫|千|平|分之|个|建议|意见|要求|问题)"
)
_SLACK = timedelta(minutes=5)
_NEAR = 30
"""Characters over which a day or a part of the day that was said still holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SaidTime:
    """A time said at ``start:end`` of a text; ``approximate`` for 左右 and its like; ``sure`` is 0..1; ``form`` is
    clock, ago or now; ``given`` says what of day, part of the day and minute the words themselves gave."""

    start: int
    end: int
    moment: datetime
    approximate: bool
    sure: float
    form: str = "clock"
    given: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class _Held:
    """What was said last: a day, a part of the day, where it began and ended; and the last clock."""

    day: date | None = None
    part: str = ""
    start: int = -1
    end: int = -100
    impossible: bool = False
    clock: SaidTime | None = None


def said_times(text: str, at: datetime) -> list[SaidTime]:
    """Every time in ``text``, as moments in UTC+8, for a call that began ``at`` (timezone-aware).

    Impossible ones (二十五点, 二月三十日) are left out, and so is one that was said again right after. A clock time
    without a day is the last one before the call.
    """
    now = at.astimezone(CHINA)
    found = _clocks(text, now)
    found += [
        said
        for match in _AGO.finditer(text)
        if (said := _ago(match, now)) is not None
        and all(match.end() <= c.start or match.start() >= c.end for c in found)
    ]
    found += [
        SaidTime(
            start=m.start(),
            end=m.end(),
            moment=now.replace(second=0, microsecond=0),
            approximate=True,
            sure=0.5,
            form="now",
        )
        for m in _JUST_NOW.finditer(text)
    ]
    return sorted(found, key=lambda said: said.start)


def written(said: SaidTime) -> str:
    """The moment in the entry's form: 2026年3月5日15时20分, with 许 where it is approximate."""
    moment = said.moment
    about = "许" if said.approximate else ""
    return f"{moment.year}年{moment.month}月{moment.day}日{moment.hour}时{moment.minute:02d}分{about}"


def _clocks(text: str, now: datetime) -> list[SaidTime]:
    found: list[SaidTime] = []
    held = _Held()
    for match in _TOKEN.finditer(text):
        if match["clock"] is None:
            _hold(match, held, now)
            continue
        said = _clock(match, held, now)
        if said is None:
            continue
        last = found[-1] if found else None
        if last is not None and said.start > last.end and _AGAIN.fullmatch(text, last.end, said.start):
            found.pop()
            said = replace(said, given=said.given | (last.given - {"minute"}))
        found.append(said)
        held.clock, held.start, held.end = said, -1, -100
    return found


def _hold(match: re.Match[str], held: _Held, now: datetime) -> None:
    """Take a day or a part of the day; one that does not follow the other forgets it."""
    joined = _GAP.fullmatch(match.string, held.end, match.start()) is not None if held.end >= 0 else False
    day, part = _day(match, now), _PART_OF.get(match["part"] or "", "")
    if match["short"]:
        shift, part = _SHORT[match["short"]]
        day = now.date() + timedelta(days=shift)
    fresh = not joined
    held.impossible = match["date"] is not None and day is None
    held.day = day if day is not None else (None if fresh and match.start() - held.end > _NEAR else held.day)
    held.part = part or ("" if day is not None else held.part)
    held.start, held.end = (match.start() if fresh else held.start), match.end()


def _day(match: re.Match[str], now: datetime) -> date | None:
    if match["day"]:
        return now.date() + timedelta(days=_DAYS[match["day"]])
    if match["weekday"]:
        return _weekday(match, now)
    return _dated(match, now) if match["date"] else None


def _weekday(match: re.Match[str], now: datetime) -> date:
    wanted = "一二三四五六日".index(match["weekday"].replace("天", "日"))
    monday = now.date() - timedelta(days=now.weekday())
    shift = {"上上": -14, "上": -7, "下": 7}.get(match["week"] or "", 0)
    return monday + timedelta(days=wanted + shift)


def _clock(match: re.Match[str], held: _Held, now: datetime) -> SaidTime | None:
    hour, minute = number(match["hour"]), _minute(match)
    text, at = match.string, match.start()
    touching = held.end >= 0 and _GAP.fullmatch(text, held.end, at) is not None
    holds = held.end >= 0 and (touching or at - held.end <= _NEAR)
    day, part = (held.day, held.part) if holds else (None, "")
    if hour is None or minute is None or (holds and held.impossible) or (not touching and _is_amount(match)):
        return None
    last = held.clock
    again = last is not None and not holds and _AGAIN.fullmatch(text, last.end, at) is not None
    if last is not None and not holds and (again or at - last.end <= _NEAR):
        moment = _following(last, hour, minute, now, again=again)
    else:
        moment = _moment(day or now.date(), hour, minute, part)
        if moment is not None and day is None:
            moment = _latest(moment, now, known_half=bool(part) or hour > 12)
    if moment is None:
        return None
    moment -= timedelta(minutes=15 if match["before"] == "一刻" else number(match["before"] or "0") or 0)
    given = {
        name for name, value in (("day", day), ("part", part), ("minute", match["rest"] or match["written"])) if value
    }
    return SaidTime(
        start=held.start if touching else at,
        end=match.end(),
        moment=moment,
        approximate=match["about"] is not None,
        sure=0.95 if day else 0.75 if part else 0.6,
        given=frozenset(given),
    )


def _following(last: SaidTime, hour: int, minute: int, now: datetime, *, again: bool) -> datetime | None:
    """A bare clock after another one: the nearest such moment to one that it corrects, else the next after it, unless
    that would lie ahead of the call."""
    bare = _moment(last.moment.date(), hour, minute, "")
    if bare is None:
        return None
    step = timedelta(hours=12) if hour <= 12 else timedelta(days=1)
    choices = [bare + step * k for k in range(-2, 3)]
    if again:
        return min(choices, key=lambda moment: abs(moment - last.moment))
    later = [moment for moment in choices if moment >= last.moment and (moment <= now + _SLACK or last.moment > now)]
    return min(later, default=_latest(bare, now, known_half=hour > 12))


def _is_amount(match: re.Match[str]) -> bool:
    """零点八米, 3.20 and 两点五倍 without any day or part of the day are amounts."""
    minute = match["minute"]
    one_digit = minute is not None and len(minute) == 1 and minute != "十" and not match.group().endswith("分")
    return (
        bool(match["written"] and "." in match.group())
        or one_digit
        or _DECIMAL.match(match.string, match.end()) is not None
    )


def _minute(match: re.Match[str]) -> int | None:
    if match["written"]:
        return int(match["written"])
    if match["lack"]:
        lack = number(match["lack"])
        return None if lack is None else -lack
    if match["minute"]:
        minute = number(match["minute"])
        return minute if minute is not None and minute < 60 else None
    return {"半": 30, "一刻": 15, "三刻": 45}.get(match["rest"] or "", 0)


def _dated(match: re.Match[str], now: datetime) -> date | None:
    dom = number(match["dom"])
    month = number(match["month"]) if match["month"] else now.month
    year = number(match["year"]) if match["year"] else now.year
    year = year + 2000 if year is not None and year < 100 else year
    try:
        found = date(year or 0, month or 0, dom or 0)
        past_year = not match["year"] and found > now.date() + timedelta(days=180)
        return found.replace(year=found.year - 1) if past_year else found
    except ValueError:
        return None


def _moment(day: date, hour: int, minute: int, part: str) -> datetime | None:
    evening = part == "夜里" and hour >= 6
    if hour < 12 and (part in _AFTERNOON or evening or (part == "中午" and hour in (1, 2, 3))):
        hour += 12
    elif hour == 12 and part in ("凌晨", "夜里", "晚上"):
        hour = 0
        day += timedelta(days=0 if part == "凌晨" else 1)
    if hour == 24 and minute == 0:
        hour, day = 0, day + timedelta(days=1)
    if hour > 23:
        return None
    return datetime(day.year, day.month, day.day, hour, 0, tzinfo=CHINA) + timedelta(minutes=minute)


def _latest(moment: datetime, now: datetime, *, known_half: bool) -> datetime:
    """The last moment before the call that shows this clock time, in either half of the day unless that is known."""
    step = timedelta(days=1) if known_half else timedelta(hours=12)
    while moment + step <= now + _SLACK:
        moment += step
    while moment > now + _SLACK:
        moment -= step
    return moment


def _ago(match: re.Match[str], now: datetime) -> SaidTime | None:
    said = match["count"]
    count = 0.5 if said == "半" else number(said.rstrip("来几多"))
    if count is None:
        return None
    count += 0.5 if match["half"] and said != "半" else 0
    hours = {"小时": 1.0, "钟头": 1.0, "天": 24.0, "刻钟": 0.25}.get(match["unit"], 1 / 60)
    moment = (now - timedelta(hours=count * hours)).replace(second=0, microsecond=0)
    return SaidTime(start=match.start(), end=match.end(), moment=moment, approximate=True, sure=0.8, form="ago")
