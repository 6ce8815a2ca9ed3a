"""Formatting: numbers, quantities, dates and instants as people read them."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from time_machine import travel

from usage import formatting
from usage.formatting import Amount
from usage.units import UNITS, explain_units

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0, "0"),
        (1234567, "1,234,567"),
        (Decimal("1234.500"), "1,234.5"),
        (Decimal("1E+3"), "1,000"),
        (Decimal("12345678901234567890.123456789"), "12,345,678,901,234,567,890.123456789"),
    ],
)
def test_a_number_has_all_its_digits(value: Decimal | int | None, text: str) -> None:
    assert formatting.format_number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (12, "12"),
        (Decimal("1234.567"), "1,234.57"),
        (Decimal("0.00123456"), "0.00123"),
        (Decimal("-2.345"), "-2.34"),
        (Decimal("100.00"), "100"),
    ],
)
def test_a_rounded_number_has_two_places_or_three_digits(value: Decimal | int | None, text: str) -> None:
    assert formatting.format_rounded(value) == text


def test_a_signed_number_shows_plus_minus_or_both() -> None:
    texts = [formatting.format_signed(number) for number in (9, Decimal("-1204.50"), 0)]
    assert texts == ["+9", "−1,204.5", "±0"]


@pytest.mark.parametrize(
    ("share", "signed", "text"),
    [
        (None, False, "–"),
        (Decimal("0.125"), False, "12.5 %"),
        (Decimal("0.125"), True, "+12.5 %"),
        (Decimal("-0.5"), False, "−50.0 %"),
        (Decimal(0), True, "0.0 %"),
        (Decimal(12), False, "1,200.0 %"),
    ],
)
def test_a_percentage_has_one_decimal_place(share: Decimal | None, signed: bool, text: str) -> None:
    assert formatting.format_percent(share, signed=signed) == text


def test_a_count_agrees_with_its_noun() -> None:
    assert formatting.format_count(1, "day") == "1 day"
    assert formatting.format_count(1200, "day") == "1,200 days"
    assert formatting.format_count(0, "entry", "entries") == "0 entries"


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (9999, "9,999"), (12_000, "12.0k"), (123_456, "123k"), (3_400_000, "3.4M"), (2 * 10**9, "2.0G")],
)
def test_a_short_number_has_at_most_five_characters(number: int, text: str) -> None:
    assert formatting.format_short_number(number) == text
    assert len(text) <= 5


@pytest.mark.parametrize(("rate", "text"), [(0.42, "0.4"), (12.3, "12"), (3123.0, "3,100")])
def test_a_rate_has_two_digits(rate: float, text: str) -> None:
    assert formatting.format_rate(rate) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "seconds", "–"),
        (Decimal(86400), "seconds", "24 h"),
        (Decimal(90), "minutes", "1.5 h"),
        (Decimal(98300000000), "bytes", "98.3 GB"),
        (Decimal("0.5"), "GB", "500 MB"),
        (Decimal(12000), "GB", "12 TB"),
        (Decimal(999), "bytes", "999 bytes"),
        (Decimal(70500), "gbminutes", "1,175 GB·h"),
        (Decimal(3600), "GBS", "1 GB·h"),
        (Decimal(1_234_567), "tasks", "1,234,567 tasks"),
        (Decimal("12.3456"), "tokens", "12.35 tokens"),
    ],
)
def test_a_quantity_has_one_form_for_people(value: Decimal | None, unit: str, text: str) -> None:
    assert str(formatting.scale_amount(value, unit)) == text


def test_every_known_unit_is_explained() -> None:
    assert all(unit.meaning.endswith(".") for unit in UNITS.values())
    assert explain_units(["GBS", "bytes", "tokens"]) == {
        "GB·h (GBS)": UNITS["gbs"].meaning,
        "bytes": UNITS["bytes"].meaning,
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (Decimal("5.24"), "5.2 s"),
        (Decimal(725), "12 min 5 s"),
        (15120, "4 h 12 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: Decimal | int | None, text: str) -> None:
    assert formatting.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (Decimal(0), "0 h"),
        (Decimal("47407320.5"), "13,168.7 h"),
        (Decimal(3600), "1 h"),
        (Decimal(900), "0.25 h"),
        (Decimal(5), "0.0014 h"),
    ],
)
def test_runtime_is_given_in_hours(seconds: Decimal | None, text: str) -> None:
    assert formatting.format_hours(seconds) == text


def test_an_amount_is_scaled_and_keeps_its_exact_value() -> None:
    assert formatting.scale_amount(Decimal(5400), "seconds") == Amount("1.5", "h", "5,400 s")
    assert formatting.scale_amount(Decimal(1999), "bytes") == Amount("2", "kB", "1,999 bytes")
    assert formatting.scale_amount(Decimal(12), "tasks") == Amount("12", "tasks")
    assert str(formatting.scale_amount(None, "tasks")) == "–"


def test_dates_are_written_with_the_month_in_letters() -> None:
    day = date(2026, 11, 3)
    assert formatting.format_date(day) == formatting.format_date("2026-11-03") == "3 Nov 2026"
    assert formatting.format_long_date(day) == "3 November 2026"
    assert formatting.format_dates(day, day) == "3 Nov 2026"
    assert formatting.format_dates(day, date(2026, 12, 1)) == "3 Nov 2026 – 1 Dec 2026"


def test_instants_are_shown_in_utc() -> None:
    instant = datetime(2026, 11, 3, 1, 5, 9, 250_000, tzinfo=timezone(timedelta(hours=2)))
    assert (
        formatting.format_instant(instant) == formatting.format_instant(instant.isoformat()) == "2 Nov 2026 23:05 UTC"
    )
    assert formatting.format_timestamp(instant) == "2026-11-02 23:05:09"
    assert formatting.format_exact_timestamp(instant) == "2026-11-02 23:05:09.25 UTC"
    assert formatting.format_timestamp(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, "just now"), (60, "1 minute ago"), (7199, "1 hour ago"), (172_800, "2 days ago")],
)
def test_an_age_is_given_in_one_unit(seconds: int, text: str) -> None:
    with travel(NOW, tick=False):
        assert formatting.format_age(NOW - timedelta(seconds=seconds)) == text
        assert formatting.format_age(None) == "never"


def test_days_ahead_are_counted_by_dates() -> None:
    with travel(NOW, tick=False):
        texts = [formatting.format_days_ahead(NOW + timedelta(days=days)) for days in (0, 1, 5)]
    assert texts == ["today", "tomorrow", "in 5 days"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(30, "less than a minute"), (60, "about 1 minute"), (240, "about 4 minutes"), (7200, "about 2 hours")],
)
def test_a_remaining_time_is_an_estimate(seconds: int, text: str) -> None:
    assert formatting.format_remaining(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("label", "interval", "text"),
    [
        ("2026-11-03", "day", "2026-11-03 Tue"),
        ("2026-11-02", "week", "week of 2026-11-02"),
        ("2026-11-01", "month", "Nov 2026"),
        ("2026-10-01", "quarter", "Q4 2026"),
        ("2026-01-01", "year", "2026"),
        ("2026-11-03T10:00:00+01:00", "hour", "2026-11-03 10:00 +0100"),
    ],
)
def test_an_interval_is_named_by_its_length(label: str, interval: str, text: str) -> None:
    assert formatting.format_interval(label, interval) == text
