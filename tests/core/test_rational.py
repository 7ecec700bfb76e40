"""Exact numbers from text."""

import doctest
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

import palm.rational
from palm.rational import parse_decimal


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/30", Fraction(4, 15)),
        ("0.2667", Fraction(2667, 10000)),
        ("1e-3", Fraction(1, 1000)),
        ("1E+2", Fraction(100)),
        (".5", Fraction(1, 2)),
        ("1.", Fraction(1)),
        ("-0.25", Fraction(-1, 4)),
        ("+3/4", Fraction(3, 4)),
    ],
)
def test_decimals_and_fractions_are_read_exactly(text: str, value: Fraction) -> None:
    assert parse_decimal(text) == value


@pytest.mark.parametrize(
    "text", ["", "abc", "nan", "inf", "1/0.5", "1 / 2", "1_000", "0x10", "1/2/3", "1e", "٣", "1/-2"]
)
def test_anything_else_is_refused_with_the_text_and_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number; expected a decimal") as caught:
        parse_decimal(text)
    assert repr(text) in str(caught.value)


def test_a_zero_denominator_is_refused() -> None:
    with pytest.raises(ValueError, match="'1/0' divides by zero"):
        parse_decimal("1/0")


@pytest.mark.parametrize("text", ["1e-1000000000", "1e999999999", "9" * 100_000])
def test_a_text_that_would_make_a_huge_number_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a number|has 100000 characters"):
        parse_decimal(text)


@given(st.fractions(max_denominator=10**9))
def test_what_a_fraction_prints_is_read_back(value: Fraction) -> None:
    assert parse_decimal(str(value)) == value


def test_the_examples_of_the_documentation_are_true() -> None:
    assert doctest.testmod(palm.rational) == doctest.TestResults(failed=0, attempted=1)
