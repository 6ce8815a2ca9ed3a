"""The rules of a day's status: the models and the SQL of data quality have the same ones."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from django.db import connection

from tests.support.factories import SourceDayFactory, SourceFactory
from usage.data_quality import days as sql
from usage.models import DayState, SourceDay, Verification
from usage.models import day_status as model

pytestmark = pytest.mark.django_db
LOOK_BACK_DAYS = 3
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
STATES = (DayState.DUE, DayState.LOADED, DayState.PARTIAL, DayState.SUSPECT, DayState.FAILED)


@pytest.mark.parametrize("name", ["SUSPECT", "AWAITS_CLOSE"])
def test_the_models_and_the_sql_of_data_quality_agree_on_every_day(name: str) -> None:
    create_days()
    by_model = set(SourceDay.objects.filter(getattr(model, name)).values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT stored.id FROM usage_sourceday AS stored JOIN (SELECT id, look_back_days AS look_back "
            f"FROM usage_source) AS touched ON touched.id = stored.source_id WHERE {getattr(sql, name)}"
        )
        by_sql = {pk for (pk,) in cursor.fetchall()}
    assert by_model == by_sql
    assert 0 < len(by_sql) < SourceDay.objects.count()


def create_days() -> None:
    """Store a day of each combination that the constraints of the table allow."""
    source = SourceFactory(look_back_days=LOOK_BACK_DAYS)
    # From the end of the day on: never read, just before the look-back has ended, and at its end.
    waits = (None, timedelta(days=LOOK_BACK_DAYS, seconds=-1), timedelta(days=LOOK_BACK_DAYS))
    combinations = product(STATES, (None, {}), (None, []), Verification, (False, True), (False, True), waits)
    days = []
    for number, (state, suspicion, mismatch, verification, complete, final, wait) in enumerate(combinations):
        starts_at = FIRST + timedelta(days=number)
        ends_at = starts_at + timedelta(days=1)
        is_sound = complete and suspicion is None and mismatch is None and verification != Verification.UNVERIFIED
        if (complete and wait is None) or (final and not is_sound):
            continue
        loaded_at = None if wait is None else ends_at + wait
        days.append(
            SourceDay(
                source=source, day=starts_at.date(), starts_at=starts_at, ends_at=ends_at, state=state,
                suspicion=suspicion, mismatch=mismatch, verification=verification, complete=complete, final=final,
                loaded_at=loaded_at,
            )
        )  # fmt: skip
    SourceDay.objects.bulk_create(days)
    assert SourceDay.objects.filter(final=True).exists()


def test_the_status_of_an_accepted_day_has_the_reason() -> None:
    accepted = {"accepted_at": FIRST, "accepted_by": "sam", "accepted_reason": "Known at the vendor."}
    doubt = {
        "complete": True,
        "loaded_at": FIRST,
        "state": "loaded",
        "verification": "unverified",
        "findings": "f" * 32,
    }
    SourceDayFactory(day=FIRST.date(), restated_at=FIRST, **doubt, **accepted)

    status = SourceDay.objects.with_status().get().describe_status()

    assert status.endswith("; accepted: “Known at the vendor.”; restated 1 Jan 2026.")
