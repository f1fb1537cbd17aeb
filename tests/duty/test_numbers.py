"""Numbers as they are really written, displayed and dialled around Kaifeng, and what nobody should ever send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duty.domain.numbers import NumberPlan, mask, normalise, same_subscriber

PLAN = NumberPlan()
DESK = "+8637122595110"
MOBILE = "+8613800138000"


@pytest.mark.rule("6.1-c")
@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("22595110", DESK),
        ("2259 5110", DESK),
        ("037122595110", DESK),
        ("0371-22595110", DESK),
        ("(0371) 2259-5110", DESK),
        ("（0371）22595110", DESK),
        ("0371－22595110", DESK),
        ("0371—22595110", DESK),
        ("+8637122595110", DESK),
        ("+86 0371 22595110", DESK),
        ("+86(0)371-22595110", DESK),
        ("008637122595110", DESK),
        ("8637122595110", DESK),
        ("0378-2596660", "+863782596660"),
        ("037822596660", "+8637822596660"),
        ("01062345678", "+861062345678"),
        ("010-62345678", "+861062345678"),
        ("13800138000", MOBILE),
        ("138-0013-8000", MOBILE),
        ("138 0013 8000", MOBILE),
        ("013800138000", MOBILE),
        ("+8613800138000", MOBILE),
        ("8613800138000", MOBILE),
        ("008613800138000", MOBILE),
        ("１３８００１３８０００", MOBILE),
        ("22595110转801", f"{DESK};ext=801"),
        ("0371-22595110 转 801", f"{DESK};ext=801"),
        ("0371-22595110分机801", f"{DESK};ext=801"),
        ("0371-22595110-801", f"{DESK};ext=801"),
        ("2259 5110 - 801", f"{DESK};ext=801"),
        ("22595110,801", f"{DESK};ext=801"),
        ("22595110 ext. 801", f"{DESK};ext=801"),
        ("+8637122595110;ext=801", f"{DESK};ext=801"),
        ("400-820-8820", "+864008208820"),
        ("+85221234567", "+85221234567"),
        ("0014155552671", "+14155552671"),
        ("1001", "1001"),
        ("１００１", "1001"),
        ("801", "801"),
        ("110", "110"),
        ("119", "119"),
        ("120", "120"),
        ("12345", "12345"),
        ("95588", "95588"),
        ("*57*13800138000#", "*57*13800138000#"),
        ("", ""),
        ("   ", ""),
        ("anonymous", ""),
        ("Restricted", ""),
        ("未知", ""),
        ("+", ""),
        ("sip:1001@10.0.0.1", ""),
        ("'; DROP TABLE calls; --", ""),
        ("٣٤٥", ""),
        ("12\x0034", ""),
        ("9" * 40, "9" * 40),
    ],
)
def test_a_number_has_one_form(written: str, normalised: str) -> None:
    assert normalise(written, PLAN) == normalised


@pytest.mark.rule("10-a")
def test_the_plan_is_the_places_own() -> None:
    kaifeng = NumberPlan(area_code="0378", extension_digits=(6,))
    assert normalise("2596660", kaifeng) == "+863782596660"
    assert normalise("259666", kaifeng) == "259666"
    assert normalise("1001", kaifeng) != "+8637810001"


_FRAGMENTS = st.sampled_from(
    [
        "0371",
        "0378",
        "22595110",
        "13800138000",
        "+",
        "86",
        "00",
        "0",
        "-",
        " ",
        "转",
        ";ext=",
        "#",
        "*",
        "(",
        ")",
        "801",
    ]
)


@given(
    st.text(max_size=40) | st.lists(_FRAGMENTS, max_size=7).map("".join) | st.text("0123456789+*#-转,;", max_size=24)
)
def test_normalising_never_fails_and_is_settled_at_once(written: str) -> None:
    once = normalise(written, PLAN)
    assert normalise(once, PLAN) == once
    assert same_subscriber(once, once) is bool(once)
    assert len(mask(written)) == len(written)


def test_an_extension_given_by_one_side_only_does_not_matter() -> None:
    assert same_subscriber(DESK, f"{DESK};ext=801")
    assert not same_subscriber(f"{DESK};ext=801", f"{DESK};ext=802")
    assert not same_subscriber("", "")
    assert not same_subscriber(DESK, MOBILE)


@pytest.mark.rule("6.1-b")
@pytest.mark.parametrize(("number", "shown"), [("0371-22595000", "***********00"), ("12", "**"), ("", "")])
def test_a_masked_number_shows_two_digits_at_most(number: str, shown: str) -> None:
    assert mask(number) == shown
