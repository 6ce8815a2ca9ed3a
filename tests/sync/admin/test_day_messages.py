"""What the panel of a day says in the rarer cases: a halted source, lost values, figures that the vendor lacks."""

from datetime import date
from typing import Any

import pytest
from django.test import RequestFactory
from django.utils import timezone

from sync.admin.coverage.day_tables import build_mismatch_table
from sync.admin.coverage.messages import DayMessage, describe_day
from sync.admin.coverage.panel import DayPanel, build_witness
from sync.admin.coverage.status import build_calendar_day
from sync.engine.guard import MISSING_MEASURE, Doubt
from tests.support.coverage import LOADED, UNVERIFIED, create_day
from tests.support.factories import SourceFactory
from usage.admin.display import render_number
from usage.formatting import NOTHING
from usage.models import DayState, Source, SourceDay

pytestmark = pytest.mark.django_db
ON = date(2026, 3, 2)


@pytest.fixture
def source() -> Source:
    source: Source = SourceFactory(slug="main", backfill_from=ON)
    return source


def describe(source: Source, **values: Any) -> DayMessage:
    """Return the message of a day with these values."""
    create_day(source, ON, **values)
    row = SourceDay.objects.with_status().get()
    return describe_day(source, build_calendar_day(source, ON, row), row)


def test_a_failed_day_of_a_halted_source_waits_for_the_source(source: Source) -> None:
    Source.objects.update(halted_at=timezone.now(), halt_reason="The key was refused.")
    source.refresh_from_db()
    message = describe(source, state=DayState.FAILED, loaded_at=None, covered_until=None)
    assert message.title == "The last sync failed"
    assert message.action == "It is not synced before that is resolved."
    assert "The key was refused." in message.reason
    assert "still stored" not in message.meaning


@pytest.mark.parametrize(
    ("code", "title", "meaning"),
    [
        (MISSING_MEASURE, "the vendor's response lacks values", "that the vendor no longer reports were kept"),
        ("total", "differs from the vendor's totals", "as the vendor lists them, but its totals differ"),
    ],
)
def test_an_accepted_day_says_what_was_accepted(source: Source, code: str, title: str, meaning: str) -> None:
    accepted = {"accepted_at": timezone.now(), "accepted_by": "ada", "accepted_reason": "Known.", "findings": "f" * 32}
    differences = [{"what": "total", "vendor": None, "portal": "5", "code": code}]
    message = describe(source, **LOADED | UNVERIFIED | accepted, differences=differences)
    assert message.title == f"Unverified, accepted: {title}"
    assert meaning in message.meaning


@pytest.mark.parametrize(
    ("doubt", "otherwise"),
    [
        (Doubt.FORGOTTEN, "If it has forgotten them, accept the findings with a reason"),
        (Doubt.SHRINK, "Otherwise a second equal sync decides."),
    ],
)
def test_a_suspect_day_says_whether_only_a_person_decides(source: Source, doubt: Doubt, otherwise: str) -> None:
    message = describe(source, **LOADED | {"final": False, "state": DayState.SUSPECT, "suspicion": {"doubt": doubt}})
    assert otherwise in message.action


def test_a_mismatch_without_a_stored_figure_has_a_dash() -> None:
    [row] = build_mismatch_table([{"code": "records", "stored": None, "expected": 5}]).rows
    assert row[1:] == [NOTHING, render_number(5)]


@pytest.mark.parametrize(
    ("witness", "vendor", "conclusion"),
    [
        ({"vendor": None}, "– seconds", "The vendor gave no figure, so nothing follows for the day."),
        ({"vendor": "7"}, "7 seconds", "They differ."),
        ({"vendor": "5", "agrees": True}, "5 seconds", "They agree, so the day is verified."),
    ],
)
def test_a_witness_says_what_follows_from_its_figure(witness: dict[str, Any], vendor: str, conclusion: str) -> None:
    figures = build_witness({"endpoint": "GetTotal", "unit": "seconds", "portal": "5", **witness})
    assert (figures.vendor, figures.portal) == (vendor, "5 seconds")
    assert figures.conclusion.startswith(conclusion)


def test_a_day_that_was_never_planned_has_neither_facts_nor_tables(source: Source) -> None:
    panel = DayPanel.build(RequestFactory().get("/"), source, ON)
    assert panel.row is None
    assert (list(panel.facts), list(panel.tables)) == ([], [])
