"""The page of coverage without a source, and with many."""

from datetime import date, timedelta

import pytest
import time_machine

from tests.support.coverage import LOADED, NOW, UNVERIFIED
from tests.support.factories import SourceFactory
from tests.support.source_days import copy_days
from tests.support.users import sign_in_as
from usage.days import Day
from usage.models import SourceDay

pytestmark = pytest.mark.django_db
COVERAGE = "/admin/coverage/"


@time_machine.travel(NOW, tick=False)
def test_fifty_sources_of_three_years_make_a_small_page_from_one_query_of_days(django_assert_max_num_queries) -> None:
    first = date(2024, 1, 1)
    sources = [SourceFactory.create(slug=f"source-{number}", backfill_from=first) for number in range(50)]
    spans = [Day.of(first + timedelta(days=number), "UTC") for number in range((NOW.date() - first).days + 1)]
    SourceDay.objects.bulk_create(
        SourceDay(
            source=sources[0], day=span.date, starts_at=span.start, ends_at=span.end, loaded_at=NOW,
            **LOADED | ({"verification": "verified"} if number % 100 else UNVERIFIED),
        )
        for number, span in enumerate(spans)
    )  # fmt: skip
    copy_days(sources[0], sources[1:])
    viewer = sign_in_as("viewer")

    with django_assert_max_num_queries(8):
        page = viewer.get(COVERAGE).content

    assert page.count(b"<svg") > 150
    assert len(page) < 150 * 2_200
    source_page = viewer.get(f"{COVERAGE}?source=source-7&year=2025").content
    assert len(source_page) < 90_000


def test_without_a_source_the_page_says_how_to_begin() -> None:
    assert "No source yet" in sign_in_as("viewer").get(COVERAGE).content.decode()
